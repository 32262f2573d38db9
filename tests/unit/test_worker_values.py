"""The codec of values beyond plain msgpack, and what it refuses."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.values import EXT_BIGINT, EXT_DATETIME, pack, unpack


@given(number=st.integers(-(2**200), 2**200))
def test_integers_of_any_size_come_back(number: int) -> None:
    assert unpack(pack(number)) == number


@given(moment=st.datetimes(timezones=st.none() | st.just(datetime.timezone.utc)))
def test_datetimes_come_back_with_their_zone(moment: datetime.datetime) -> None:
    back = unpack(pack(moment))
    assert back == moment
    assert back.tzinfo == moment.tzinfo


def test_what_never_changes() -> None:
    assert (EXT_BIGINT, EXT_DATETIME) == (1, 2)
    assert pack(2**64).hex() == "c71401" + b"18446744073709551616".hex()
    assert pack(True) != pack(1)


def test_an_unknown_extension_stays_as_it_is() -> None:
    strange = msgpack.ExtType(77, b"?")
    assert unpack(msgpack.packb(strange)) == strange


def test_map_keys_may_be_more_than_text() -> None:
    assert unpack(pack({1: "a", b"k": 2, None: 3})) == {1: "a", b"k": 2, None: 3}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "builtins.object"),
        ({1, 2}, "builtins.set"),
        (decimal.Decimal(1), "decimal.Decimal"),
        (datetime.date(2020, 1, 1), "datetime.date"),
        ([{"deep": [1j]}], "builtins.complex"),
        (print, "builtins.builtin_function_or_method"),
    ],
)
def test_other_types_are_refused_by_name(value: Any, kind: str) -> None:
    with pytest.raises(TypeError, match=kind):
        pack(value)
