"""The ack ledger: a tree is complete exactly when every edge was reported twice, in whatever order reports come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.errors import InternalError
from pystorm.speed import pack_u64
from pystorm.worker.channels import EdgeIds
from pystorm.worker.ledger import SEQUENCE_BITS, AckLedger, spout_task_of

TASK = 3


def edges(*numbers: int) -> bytes:
    return pack_u64(list(numbers))


def apply(ledger: AckLedger, root: int, xor: int, task: int = 9) -> list[int]:
    return ledger.apply([root], edges(xor), task)


def close_all(ledger: AckLedger, roots: list[int]) -> None:
    for root in roots:
        ledger.close(root)


@st.composite
def trees(draw: st.DrawFn) -> tuple[int, list[int]]:
    """The reports about one random tree: the spout's first edges, and per tuple the XOR of itself and its children."""
    ids = iter(draw(st.lists(st.integers(1, 2**64 - 1), min_size=12, max_size=12, unique=True)))
    sent = 0
    reports: list[int] = []
    level = []
    for _ in range(draw(st.integers(1, 3))):
        edge = next(ids)
        sent ^= edge
        level.append(edge)
    for _ in range(2):
        following = []
        for edge in level:
            report = edge
            for _ in range(draw(st.integers(0, 1))):
                child = next(ids)
                report ^= child
                following.append(child)
            reports.append(report)
        level = following
    reports += level
    return sent, reports


def opened(sent: int) -> tuple[AckLedger, int]:
    ledger = AckLedger(TASK)
    root = ledger.open("message")
    ledger.add_edges([root], edges(sent))
    assert ledger.seal() == []
    return ledger, root


@given(tree=trees(), data=st.data())
def test_a_tree_completes_with_its_last_report_and_not_before(tree: tuple[int, list[int]], data: st.DataObject) -> None:
    sent, reports = tree
    ledger, root = opened(sent)
    for number, report in enumerate(data.draw(st.permutations(reports)), 1):
        assert apply(ledger, root, report) == ([root] if number == len(reports) else [])


@given(tree=trees(), data=st.data())
def test_reports_may_be_merged_before_they_arrive(tree: tuple[int, list[int]], data: st.DataObject) -> None:
    sent, reports = tree
    ledger, root = opened(sent)
    cut = data.draw(st.integers(0, len(reports) - 1))
    merged = 0
    for report in reports[cut:]:
        merged ^= report
    complete = [apply(ledger, root, report) for report in [*reports[:cut], merged]]
    assert complete[-1] == [root]
    assert not any(complete[:-1])


@given(tree=trees(), data=st.data())
def test_a_tree_with_a_lost_report_never_completes(tree: tuple[int, list[int]], data: st.DataObject) -> None:
    sent, reports = tree
    ledger, root = opened(sent)
    lost = data.draw(st.integers(0, len(reports) - 1))
    for number, report in enumerate(reports):
        if number != lost:
            assert apply(ledger, root, report) == []
    assert len(ledger) == 1


@given(tree=trees(), data=st.data())
def test_a_report_that_comes_twice_counts_as_none(tree: tuple[int, list[int]], data: st.DataObject) -> None:
    """XOR is not idempotent, so links deliver each report at most once. A repeat delays, it never completes."""
    sent, reports = tree
    ledger, root = opened(sent)
    twice = data.draw(st.integers(0, len(reports) - 1))
    again = [*reports, reports[twice]]
    for report in data.draw(st.permutations(again)):
        if root not in ledger.values:
            break
        if apply(ledger, root, report):
            ledger.close(root)
    # it completes only if all reports were in once before the repeat arrived
    if root in ledger.values:
        assert ledger.values[root] == reports[twice]


def test_a_tree_completes_when_ack_overtakes_its_parent() -> None:
    ledger, root = opened(10)
    assert apply(ledger, root, 7) == []  # the child's ack
    assert apply(ledger, root, 10 ^ 7) == [root]  # the parent's, which names the child


def test_a_fast_ack_of_the_first_copy_does_not_complete_a_tree_whose_second_copy_waits() -> None:
    ledger = AckLedger(TASK)
    root = ledger.open("message")
    ledger.add_edges([root], edges(5))
    assert apply(ledger, root, 5) == []
    ledger.add_edges([root], edges(6))
    assert ledger.seal() == []
    assert apply(ledger, root, 6) == [root]


def test_a_tree_whose_acks_are_all_in_completes_when_it_is_sealed() -> None:
    ledger = AckLedger(TASK)
    root = ledger.open("message")
    ledger.add_edges([root], edges(5))
    assert apply(ledger, root, 5) == []
    assert ledger.seal() == [root]


def test_a_message_that_went_to_nobody_completes_when_it_is_sealed() -> None:
    ledger = AckLedger(TASK)
    root = ledger.open("message")
    assert ledger.seal() == [root]
    assert ledger.close(root) == "message"


def test_roots_never_repeat_and_say_whose_they_are() -> None:
    ledger = AckLedger(TASK)
    roots = []
    for _ in range(100):
        root = ledger.open(None)
        roots.append(root)
        ledger.close(root)
    assert len(set(roots)) == 100
    assert {spout_task_of(root) for root in roots} == {TASK}
    assert all(root >> SEQUENCE_BITS == TASK for root in roots)


def test_news_of_a_tree_that_has_ended_changes_nothing() -> None:
    ledger, root = opened(5)
    ledger.close(root)
    assert apply(ledger, root, 5) == []
    ledger.add_edges([root], edges(5))
    ledger.touch([root], 1.0)
    assert len(ledger) == 0
    assert ledger.last_seen == {}


def test_a_tree_ends_once() -> None:
    ledger, root = opened(5)
    ledger.close(root)
    with pytest.raises(InternalError, match="is not open"):
        ledger.close(root)


def test_dropping_everything_gives_the_messages_by_age_and_leaves_nothing() -> None:
    ledger = AckLedger(TASK)
    roots = [ledger.open(text) for text in "abc"]
    ledger.close(roots[1])
    assert ledger.drop_all() == [(roots[0], "a"), (roots[2], "c")]
    assert len(ledger) == 0
    assert ledger.seal() == []


# -- timeouts ----------------------------------------------------------------------------------------------------------


def expired_at(ledger: AckLedger, times: list[float], timeout_s: float) -> dict[int, float]:
    found: dict[int, float] = {}
    for now_s in times:
        for root in ledger.expire(now_s, timeout_s):
            found[root] = now_s
            ledger.close(root)
    return found


@given(
    opens=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=10), timeout_s=st.sampled_from([1.0, 5.0])
)
def test_a_tree_times_out_after_its_time_and_before_a_tenth_more(opens: list[float], timeout_s: float) -> None:
    ledger = AckLedger(TASK)
    events: list[tuple[float, bool]] = sorted(
        [(at, True) for at in opens] + [(step * timeout_s / 10, False) for step in range(600)]
    )
    opened_at: dict[int, float] = {}
    for now_s, is_open in events:
        if is_open:
            opened_at[ledger.open(None)] = now_s
            continue
        for root in ledger.expire(now_s, timeout_s):
            ledger.close(root)
            age_s = now_s - opened_at.pop(root)
            assert timeout_s - 1e-6 <= age_s <= timeout_s * 1.2 + 1e-6
    assert not opened_at


def test_a_touched_tree_gets_its_time_anew_and_still_times_out_in_the_end() -> None:
    ledger = AckLedger(TASK)
    ledger.expire(0.0, 10)
    first, second = ledger.open("slow"), ledger.open("stuck")
    for now_s in range(1, 9):
        ledger.expire(float(now_s), 10)
    ledger.touch([first], 8.0)
    found = expired_at(ledger, [float(now_s) for now_s in range(9, 40)], 10)
    assert (found[second], found[first]) == (11.0, 18.0)


def test_the_marks_of_the_timeouts_do_not_pile_up() -> None:
    ledger = AckLedger(TASK)
    for step in range(10_000):
        ledger.open(None)
        close_all(ledger, ledger.expire(step * 0.1, 1.0))
    assert len(ledger._marks) < 20
    assert len(ledger) < 20


# -- edge ids ---------------------------------------------------------------------------------------------------------


def test_edge_ids_differ_and_are_never_zero() -> None:
    from pystorm.speed import unpack_u64

    numbers = unpack_u64(EdgeIds().take(50_000))
    assert len(set(numbers)) == 50_000
    assert 0 not in numbers


def test_a_zero_among_the_edge_ids_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = EdgeIds()
    drawn = iter([b"\x01" * 8 + b"\x00" * 8, b"\x02" * 16])

    class Fixed:
        def randbytes(self, _count: int) -> bytes:
            return next(drawn)

    stand_in: Any = Fixed()
    monkeypatch.setattr(ids, "_random", stand_in)
    assert ids.take(2) == b"\x02" * 16
