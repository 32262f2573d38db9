"""The barrier aligner: an epoch is aligned when every input's barrier is in, and never twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.errors import InternalError
from pystorm.worker.aligner import BarrierAligner


@given(inputs=st.sets(st.integers(1, 9), min_size=1), data=st.data(), hold=st.booleans())
def test_the_last_barrier_aligns_whatever_the_order(inputs: set[int], data: st.DataObject, hold: bool) -> None:
    aligner = BarrierAligner(inputs, hold=hold)
    for epoch in (1, 2, 5):
        order = data.draw(st.permutations(sorted(inputs)))
        for number, source in enumerate(order, 1):
            assert aligner.on_barrier(source, epoch) is (number == len(order))
            behind = set(order[number:])
            assert aligner.missing == sorted(behind)
            for other in inputs:
                assert aligner.holds(other) is (hold and bool(behind) and other not in behind)
        assert aligner.last_epoch == epoch


@pytest.mark.parametrize(
    ("barriers", "complaint"),
    [
        ([(9, 1)], "which is no input"),
        ([(1, 1), (1, 1)], "second barrier 1 from task 1"),
        ([(1, 1), (2, 2)], "barrier 2 from task 2 while aligning 1"),
        ([(1, 2), (2, 2), (1, 2)], "after barrier 2 was aligned"),
        ([(1, 2), (2, 2), (1, 1)], "after barrier 2 was aligned"),
    ],
)
def test_a_barrier_out_of_place_is_named(barriers: list[tuple[int, int]], complaint: str) -> None:
    aligner = BarrierAligner([1, 2], hold=True)
    *first, last = barriers
    for source, epoch in first:
        aligner.on_barrier(source, epoch)
    with pytest.raises(InternalError, match=complaint):
        aligner.on_barrier(*last)
