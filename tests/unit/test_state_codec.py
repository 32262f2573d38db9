"""Keys and values of states as bytes: what Python calls equal is one field, and comes back as it was written."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from pystorm.errors import ConfigError
from pystorm.state.codec import EntryPacker, decode_entry, split_packed_list, to_jsonable
from pystorm.state.record import CheckpointRecord, unpack_record
from pystorm.values import pack

UTC = datetime.timezone.utc
NOON = datetime.datetime(2024, 5, 1, 12, tzinfo=UTC)
NOON_ELSEWHERE = NOON.astimezone(datetime.timezone(datetime.timedelta(hours=5)))

KEYS: list[Any] = [
    None, True, False, 0, 1, -1, 2**70, 1.0, 0.5, -0.0, float("inf"), "", "a", b"a", (), ("a", 1), (True, (2.0, b"")),
    NOON, NOON_ELSEWHERE, datetime.datetime(2024, 5, 1),
]  # fmt: skip


def stored(key: Any, value: Any) -> tuple[bytes, bytes]:
    packer = EntryPacker()
    field, written_key = packer.field(key)
    return field, packer.value(value) + written_key


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_keys_come_back_as_they_were_written(key: Any) -> None:
    found, value = decode_entry(*stored(key, ["v", 1]))
    assert (found, type(found), repr(found)) == (key, type(key), repr(key))
    assert value == ["v", 1]


@pytest.mark.parametrize("key", KEYS, ids=repr)
def test_two_keys_share_a_field_exactly_when_a_dict_calls_them_equal(key: Any) -> None:
    for other in KEYS:
        assert (stored(key, 1)[0] == stored(other, 1)[0]) == (key == other), other


def test_a_value_with_tuples_for_keys_can_be_read_again() -> None:
    value = {("a", (1, 2)): [{("x",): 1}], "plain": 2}
    assert decode_entry(*stored("k", value)) == ("k", value)


def test_a_packed_list_is_split_into_its_packed_elements() -> None:
    values: list[Any] = [None, 1, "x" * 1000, [1, [2]], {"a": {}}, NOON, 2**70, b"b" * 70000]
    assert split_packed_list(pack(values)) == [pack(value) for value in values]
    assert split_packed_list(pack([])) == []


def test_what_json_lacks_becomes_text() -> None:
    assert to_jsonable({1: (b"abc", b"\xff"), "t": NOON}) == {"1": ["abc", "ff"], "t": "2024-05-01T12:00:00+00:00"}


RECORD = CheckpointRecord(
    epoch=7, generation=2, wall_time=1700000000.5, duration_ms=12.5, keys=3, bytes=99,
    positions={"lines": {"": 4711, "p1": b"\x01"}}, tasks={"lines": 1, "count": 2}, final=True, topology_digest="d1",
)  # fmt: skip


def test_a_record_survives_packing_and_shows_as_json() -> None:
    assert unpack_record(RECORD.pack()) == RECORD
    assert RECORD.to_json()["positions"] == {"lines": {"": 4711, "p1": "\x01"}}


def test_a_record_of_a_later_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"format version 2.*reads version 1"):
        unpack_record(pack({"v": 2, "epoch": 1}))
