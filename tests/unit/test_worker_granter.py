"""How a receiver sizes the windows of its sources."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pystorm.worker.credits import INITIAL_WINDOW, TARGET_S, CreditGranter, initial_window


def test_a_channel_starts_small_or_smaller() -> None:
    assert (initial_window(16_384), initial_window(3)) == (INITIAL_WINDOW, 3)


def test_the_window_of_a_fast_bolt_doubles_with_every_batch_up_to_the_whole() -> None:
    granter = CreditGranter([1], 16_384)
    assert granter.on_batch(1, INITIAL_WINDOW, 20e-6) == 2 * INITIAL_WINDOW
    for _ in range(9):
        granter.on_batch(1, INITIAL_WINDOW, 20e-6)
    assert granter.granted == {1: 16_384}


def test_a_slow_bolt_keeps_about_the_target_waiting() -> None:
    granter = CreditGranter([1], 16_384)
    for _ in range(50):
        granter.on_batch(1, 10, 10 * 0.002)
    assert 0.7 * TARGET_S / 0.002 <= granter.granted[1] <= 1.3 * TARGET_S / 0.002


def test_a_bolt_that_turns_slow_gets_less_and_less_in_advance() -> None:
    granter = CreditGranter([1], 16_384)
    for _ in range(10):
        granter.on_batch(1, 16, 16e-6)
    before = granter.granted[1]
    returned = [granter.on_batch(1, 500, 500 * 0.01) for _ in range(33)]
    assert sum(returned) < 33 * 500
    assert granter.granted[1] < before / 100


def test_the_sources_of_a_task_share_the_time() -> None:
    granter = CreditGranter([1, 2, 3, 4], 16_384)
    for _ in range(50):
        granter.on_batch(1, 10, 10 * 0.001)
    assert 0.7 * TARGET_S / 0.001 / 4 <= granter.granted[1] <= 1.3 * TARGET_S / 0.001 / 4


@given(
    window=st.integers(1, 500),
    batches=st.lists(st.tuples(st.integers(1, 700), st.floats(0, 10)), max_size=60),
)
def test_credit_is_neither_lost_nor_made_and_a_source_can_always_go_on(
    window: int, batches: list[tuple[int, float]]
) -> None:
    granter = CreditGranter([1], window)
    credit = initial_window(window)
    for wish, took_s in batches:
        assert credit > 0, "everything is worked off and the source has no credit"
        cost = wish  # one batch may cost more than the credit that is left
        credit -= cost
        credit += granter.on_batch(1, cost, took_s)
        assert credit + granter.owed[1] == granter.granted[1]
        assert 1 <= granter.granted[1] <= window
