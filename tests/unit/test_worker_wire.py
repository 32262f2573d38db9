"""The wire format: golden bytes that must never change within a version, round trips, and frames that are damaged."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.components import Bolt, Tuple
from pystorm.speed import pack_u64, unpack_u64
from pystorm.worker import wire
from pystorm.worker.channels import InBatch, frame_cost
from pystorm.worker.wire import WireError
from tests.harness import Feeder, Harness, Parts

U64 = st.integers(0, 2**64 - 1)
ROOT = st.one_of(st.none(), st.integers(1, 2**64 - 1), st.lists(U64, min_size=2, max_size=4).map(tuple))
VALUE: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.datetimes()
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def data_frame(kind: int, rows: list[Any], roots: list[Any], edges: list[int]) -> bytes:
    header = wire.pack_header(wire.VERSION, kind, 7, 1, 2, 3, len(rows))
    anchors = b""
    if kind == wire.SINGLE:
        anchors = pack_u64(roots) + pack_u64(edges)
    elif kind == wire.MULTI:
        anchors = wire.pack_multi_anchors(roots) + pack_u64(edges)
    return header + anchors + wire.pack_rows(rows)


def decode(kind: int, frame: bytes, count: int) -> InBatch:
    batch = InBatch(1, 3, count, 0, kind=kind, frame=frame)
    batch.decode()
    return batch


GOLDEN = {
    "plain": (
        data_frame(wire.PLAIN, ["a", None], [], []),
        "01 01 07000000 0100 0200 0300 02000000 | 92 a161 c0",
    ),
    "single": (
        data_frame(wire.SINGLE, [[1, True]], [0x0001000000000005], [0x1122334455667788]),
        "01 02 07000000 0100 0200 0300 01000000 | 0500000000000100 | 8877665544332211 | 91 92 01 c3",
    ),
    "multi": (
        data_frame(wire.MULTI, [1, 2, 3], [None, 9, (5, 6)], [1, 2, 3]),
        "01 03 07000000 0100 0200 0300 03000000 | 000000000100000002000000 | 0900000000000000 0500000000000000"
        "0600000000000000 | 0100000000000000 0200000000000000 0300000000000000 | 93 01 02 03",
    ),
    "big integer": (wire.pack_rows([2**70]), "91 c7 16 01 31313830353931363230373137343131333033343234"),
    "datetime": (
        wire.pack_rows([datetime.datetime(2020, 1, 2, 3, 4, 5)]),
        "91 c7 13 02 323032302d30312d30325430333a30343a3035",
    ),
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_bytes_of_version_1_never_change(name: str) -> None:
    frame, golden = GOLDEN[name]
    assert frame.hex() == golden.replace(" ", "").replace("|", "")


def test_the_numbers_of_the_frame_types_never_change() -> None:
    kinds = [wire.PLAIN, wire.SINGLE, wire.MULTI, wire.ACK, wire.FAIL, wire.TOUCH, wire.CREDIT, wire.BARRIER]
    assert kinds == [1, 2, 3, 4, 5, 6, 7, 8]
    assert wire.VERSION == 1
    assert wire.HEADER_BYTES == 16


@given(rows=st.lists(VALUE, max_size=20))
def test_rows_come_back_as_they_were(rows: list[Any]) -> None:
    assert wire.unpack_rows(wire.pack_rows(rows), len(rows)) == rows


@given(numbers=st.lists(U64))
def test_numbers_come_back_as_they_were(numbers: list[int]) -> None:
    packed = pack_u64(numbers)
    assert len(packed) == 8 * len(numbers)
    assert unpack_u64(packed) == numbers


@given(anchored=st.lists(st.tuples(ROOT, U64), min_size=1, max_size=20))
def test_anchors_come_back_as_they_were(anchored: list[tuple[Any, int]]) -> None:
    roots, edges = [root for root, _ in anchored], [edge for _, edge in anchored]
    rows = list(range(len(roots)))
    batch = decode(wire.MULTI, data_frame(wire.MULTI, rows, roots, edges), len(rows))
    assert (batch.roots, batch.rows) == (roots, rows)
    assert batch.edges is not None
    assert unpack_u64(batch.edges) == edges


def test_a_tuple_may_be_anchored_to_more_trees_than_16_bits_count() -> None:
    roots = [tuple(range(1, 70_001))]
    batch = decode(wire.MULTI, data_frame(wire.MULTI, [0], roots, [1]), 1)
    assert batch.roots == roots


@given(data=st.data(), kind=st.sampled_from([wire.PLAIN, wire.SINGLE, wire.MULTI]))
def test_a_truncated_batch_is_a_wire_error(data: st.DataObject, kind: int) -> None:
    frame = data_frame(kind, ["some", "words", "here"], [1, 2, 3], [4, 5, 6])
    cut = data.draw(st.integers(wire.HEADER_BYTES, len(frame) - 1))
    with pytest.raises(WireError):
        decode(kind, frame[:cut], 3)


@pytest.mark.parametrize("extra", [b"\x00", b"\x00" * 8])
def test_a_batch_with_something_behind_it_is_a_wire_error(extra: bytes) -> None:
    with pytest.raises(WireError):
        decode(wire.SINGLE, data_frame(wire.SINGLE, [1], [1], [1]) + extra, 1)


@pytest.mark.parametrize("count", [0, 2, 2**32 - 1])
def test_a_batch_that_announces_another_count_is_a_wire_error(count: int) -> None:
    for kind in (wire.PLAIN, wire.SINGLE, wire.MULTI):
        with pytest.raises(WireError):
            decode(kind, data_frame(kind, ["x"], [1], [1]), count)


class Sink(Bolt):
    def process(self, tup: Tuple) -> None:
        pass


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A worker with a spout (task 1) and a bolt (task 2) to throw frames at."""
    parts = Parts()
    parts.spout("1", Feeder)
    parts.bolt("2", Sink, reads=["1"])
    with Harness(parts.plan(workers=1), tmp_path_factory.mktemp("wire")) as h:
        h.settle()
        yield h.workers[0].runtime


def throw(live: Any, frame: bytes) -> None:
    """Let the runtime take a frame in, and the bolt decode what came."""
    live._on_frame(frame)
    for item in live.bolts[2].queue:
        if isinstance(item, InBatch):
            item.decode()


FRAMES = [
    data_frame(wire.SINGLE, ["a"], [1], [1]),
    wire.pack_header(wire.VERSION, wire.ACK, 1, 2, 1, 0, 2) + pack_u64([1, 2, 3, 4]),
    wire.pack_header(wire.VERSION, wire.FAIL, 1, 2, 1, 0, 1) + wire.pack_rows([[5, "why"]]),
    wire.pack_header(wire.VERSION, wire.TOUCH, 1, 2, 1, 0, 2) + pack_u64([1, 2]),
    wire.pack_header(wire.VERSION, wire.CREDIT, 1, 2, 1, 0, 9),
]


def taken_or_refused(live: Any, frame: bytes) -> None:
    try:
        throw(live, frame)
    except WireError:
        pass
    finally:
        live.bolts[2].queue.clear()


@given(data=st.data(), frame=st.sampled_from(FRAMES))
def test_a_truncated_frame_is_taken_or_is_a_wire_error(live: Any, data: st.DataObject, frame: bytes) -> None:
    taken_or_refused(live, frame[: data.draw(st.integers(0, len(frame)))])


@given(
    kind=st.integers(0, 12),
    source=st.integers(0, 4),
    destination=st.integers(0, 4),
    stream=st.integers(0, 9),
    count=st.integers(0, 3) | st.just(2**32 - 1),
    body=st.binary(max_size=64) | st.lists(VALUE, max_size=3).map(wire.pack_rows),
)
def test_garbage_with_a_good_header_is_taken_or_is_a_wire_error(
    live: Any, kind: int, source: int, destination: int, stream: int, count: int, body: bytes
) -> None:
    taken_or_refused(live, struct.pack("<BBIHHHI", 1, kind, 1, source, destination, stream, count) + body)


@given(frame=st.binary(max_size=80))
def test_noise_is_dropped_or_is_a_wire_error(live: Any, frame: bytes) -> None:
    taken_or_refused(live, frame)


def test_a_frame_of_another_version_is_dropped(live: Any) -> None:
    before = live.dropped_frames
    throw(live, struct.pack("<BBIHHHI", 2, wire.PLAIN, 1, 1, 2, 0, 0))
    assert live.dropped_frames == before + 1


@given(count=st.integers(1, 1000), size=st.integers(0, 10**8))
def test_large_values_cost_by_their_size_and_small_ones_by_their_number(count: int, size: int) -> None:
    assert frame_cost(count, size) == max(count, size // 512)


def test_a_batch_that_cannot_be_packed_as_a_whole_is_no_endless_loop(tmp_path: Path) -> None:
    """A bolt joins 70,000 trees in one tuple."""

    class Join(Bolt):
        outputs = ["n"]
        auto_ack = False

        def initialize(self, conf: Any, context: Any) -> None:
            self.seen: list[Tuple] = []

        def process(self, tup: Tuple) -> None:
            self.seen.append(tup)
            if len(self.seen) == 70_000:
                self.emit([1], anchors=self.seen)
                for seen in self.seen:
                    self.ack(seen)

    class Many(Feeder):
        sent = 0

        def next_tuple(self) -> None:
            if self.sent < 70_000:
                self.sent += 1
                self.emit([self.sent], self.sent)

    parts = Parts()
    parts.spout("1", Many)
    parts.bolt("2", Join, reads=["1"])
    parts.bolt("3", Sink, reads=["2"])
    with Harness(parts.plan(), tmp_path) as h:
        h.settle()
        assert len(h.instance("1").acked) == 70_000
