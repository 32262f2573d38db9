"""The codec of values beyond plain msgpack, and what it refuses."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import pickle
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystorm.errors import ComponentError
from pystorm.registered import UnreadableValue, register_type, set_type_importer
from pystorm.state.codec import EntryPacker, canonical, decode_entry, to_jsonable
from pystorm.topology.keygroups import key_group
from pystorm.values import EXT_BIGINT, EXT_DATETIME, EXT_PICKLE, allow_pickle, pack, unpack
from pystorm.worker import wire

UTC = datetime.timezone.utc


@register_type
class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@register_type(name="access")
class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 3


class Shade(str, enum.Enum):
    DARK = "dark"


@register_type
@dataclasses.dataclass
class Line:
    item: str
    price: decimal.Decimal = decimal.Decimal(0)
    tags: set[str] = dataclasses.field(default_factory=set)
    total: int = dataclasses.field(init=False, default=7)


@register_type
@dataclasses.dataclass(frozen=True)
class Order:
    __slots__ = ("colour", "line")
    line: Line
    colour: Colour


@register_type
class Point(NamedTuple):
    x: int
    y: int


class Corner(NamedTuple):
    x: int


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)


register_type(Money, name="money", encode=lambda money: money.cents, decode=Money)


@dataclasses.dataclass
class Unknown:
    number: int


@dataclasses.dataclass
class Late:
    number: int


@pytest.fixture
def pickles() -> Iterator[None]:
    allow_pickle(True)
    yield
    allow_pickle(False)


@given(number=st.integers(-(2**200), 2**200))
def test_integers_of_any_size_come_back(number: int) -> None:
    assert unpack(pack(number)) == number


@given(moment=st.datetimes(timezones=st.none() | st.just(UTC)))
def test_datetimes_come_back_with_their_zone(moment: datetime.datetime) -> None:
    back = unpack(pack(moment))
    assert back == moment
    assert back.tzinfo == moment.tzinfo


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
EXACT = (
    PLAIN
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.complex_numbers(allow_nan=False)
)
HASHABLE = st.recursive(EXACT, lambda inner: st.frozensets(inner, max_size=4) | st.tuples(inner, inner), max_leaves=8)
VALUES = st.recursive(
    HASHABLE | st.sets(HASHABLE, max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(HASHABLE, inner, max_size=4),
    max_leaves=12,
)


def shape(value: Any) -> Any:
    """A value with the types of everything in it."""
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    if isinstance(value, dict):
        return dict, [(shape(key), shape(item)) for key, item in value.items()]
    return type(value), value


@given(value=VALUES)
def test_values_come_back_with_their_types_however_they_are_nested(value: Any) -> None:
    back = unpack(pack(value))
    assert back == value
    assert shape(back) == shape(value)


@given(value=HASHABLE)
def test_keys_of_states_come_back_equal(value: Any) -> None:
    packer = EntryPacker()
    field, written = packer.field(value)
    key, stored = decode_entry(field, packer.value(("v", 1)) + written)
    assert (key, stored, type(stored)) == (value, ("v", 1), tuple)


@given(first=HASHABLE, second=HASHABLE)
def test_keys_share_a_field_exactly_when_they_are_equal(first: Any, second: Any) -> None:
    packer = EntryPacker()
    assert (packer.field(first)[0] == packer.field(second)[0]) == (first == second)


@pytest.mark.parametrize(
    "equal",
    [
        (1, 1.0, True, decimal.Decimal("1.0"), 1 + 0j),
        (0.5, decimal.Decimal("0.50"), 0.5 + 0j),
        (decimal.Decimal("0.1"), decimal.Decimal("0.1000")),
        (decimal.Decimal("1E+3"), 1000),
        (float("inf"), decimal.Decimal("Infinity")),
        (Level.LOW, 3),
        (Shade.DARK, "dark"),
        (frozenset({1, 2}), frozenset({2.0, True})),
        (Corner(1), (1,)),
    ],
    ids=str,
)
def test_equal_keys_of_several_types_are_one_entry(equal: tuple[Any, ...]) -> None:
    assert len(set(equal)) == 1
    assert len({EntryPacker().field(key)[0] for key in equal}) == 1


def test_equal_sets_have_equal_bytes() -> None:
    forwards, backwards = set(), set()
    for number in range(0, 4000, 100):
        forwards.add(number)
        backwards.add(3900 - number)
    assert pack(forwards) == pack(backwards)
    assert key_group([frozenset(forwards)], 128) == key_group([frozenset(backwards)], 128)


def test_what_never_changes() -> None:
    assert (EXT_BIGINT, EXT_DATETIME) == (1, 2)
    assert pack(2**64).hex() == "c71401" + b"18446744073709551616".hex()
    assert pack(True) != pack(1)
    golden = {
        datetime.date(2024, 5, 1): "c70a03" + b"2024-05-01".hex(),
        datetime.time(1, 2): "d704" + b"01:02:00".hex(),
        datetime.timedelta(days=1, seconds=2): "d60593010200",
        decimal.Decimal("1.50"): "d606" + b"1.50".hex(),
        uuid.UUID(int=1): "d807" + "00" * 15 + "01",
        frozenset({"b", 1}): "d60992" + "01a162",
        ("a", 1): "d60a92" + "a16101",
        1j: "d80b" + "00" * 8 + "000000000000f03f",
        Money(3): "d70c92a56d6f6e657903",
    }
    assert {value: pack(value).hex() for value in golden} == golden


def test_an_unknown_extension_stays_as_it_is() -> None:
    strange = msgpack.ExtType(77, b"?")
    assert unpack(msgpack.packb(strange)) == strange


def test_map_keys_may_be_more_than_text() -> None:
    assert unpack(pack({1: "a", b"k": 2, None: 3, (1, 2): 4})) == {1: "a", b"k": 2, None: 3, (1, 2): 4}


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (Level.LOW, 3),
        (Shade.DARK, "dark"),
        (type("Text", (str,), {})("x"), "x"),
        (type("Big", (int,), {})(2**70), 2**70),
        (type("Row", (list,), {})([1]), [1]),
        (type("Bag", (frozenset,), {})([1]), frozenset([1])),
        (type("Day", (datetime.date,), {})(2024, 5, 1), datetime.date(2024, 5, 1)),
        (Corner(1), (1,)),
        (bytearray(b"x"), b"x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_derived_from_a_plain_type_travels_as_it(value: Any, plain: Any) -> None:
    back = unpack(pack([value]))[0]
    assert (back, type(back)) == (plain, type(plain))


def test_a_zone_becomes_its_offset() -> None:
    class Summer(datetime.tzinfo):
        def utcoffset(self, _: datetime.datetime | None) -> datetime.timedelta:
            return datetime.timedelta(hours=2)

    moment = datetime.datetime(2024, 5, 1, 12, tzinfo=Summer())
    back = unpack(pack(moment))
    assert back == moment
    assert back.tzinfo == datetime.timezone(datetime.timedelta(hours=2))


# -- registered types -------------------------------------------------------------------------------------------------

ORDER = Order(Line("tea", decimal.Decimal("2.50"), {"hot"}), Colour.BLUE)


@pytest.mark.parametrize(
    "value", [Colour.RED, Access.READ | Access.WRITE, Line("x"), ORDER, Point(1, 2), Money(3), {"m": (Money(4), ORDER)}]
)
def test_registered_types_come_back(value: Any) -> None:
    back = unpack(pack(value))
    assert back == value
    assert type(back) is type(value)


def test_a_field_that_a_dataclass_gains_later_gets_its_default_and_one_that_it_loses_is_left_out() -> None:
    old = pack(msgpack.ExtType(12, msgpack.packb([f"{__name__}.Line", {"item": "tea", "gone": 1}])))
    assert unpack(old) == Line("tea")
    bare = pack(msgpack.ExtType(12, msgpack.packb([f"{__name__}.Line", {}])))
    with pytest.raises(AttributeError, match="has no field 'item'; give the field a default"):
        _ = unpack(bare).item


def test_a_value_of_a_type_that_nobody_registered_says_so_when_it_is_used_and_can_be_passed_on() -> None:
    packed = msgpack.packb(msgpack.ExtType(12, msgpack.packb(["shop.Cart", {"n": 1}])))
    value = unpack(packed)
    assert isinstance(value, UnreadableValue)
    assert pack(value) == packed
    assert value == unpack(packed)
    assert len({value, unpack(packed)}) == 1
    with pytest.raises(AttributeError, match=r"'total' of a value that cannot be read: no type is registered as 'shop"):
        _ = value.total
    assert "shop.Cart" in to_jsonable(value)


def test_the_modules_of_the_topology_are_imported_once_before_a_name_counts_as_unknown() -> None:
    calls: list[int] = []

    def import_modules() -> None:
        calls.append(1)
        register_type(Late, name="late")

    set_type_importer(import_modules)
    packed = msgpack.packb(msgpack.ExtType(12, msgpack.packb(["late", {"number": 5}])))
    assert unpack(packed) == Late(5)
    assert isinstance(unpack(packed.replace(b"late", b"lost")), UnreadableValue)
    assert calls == [1]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: register_type(3), "register_type takes a class, got 3"),  # type: ignore[type-var]
        (lambda: register_type(type("Plain", (), {})), "no enum, dataclass or named tuple; give encode="),
        (lambda: register_type(type("Half", (), {}), encode=str), "give both encode and decode, or neither"),
        (lambda: register_type(type("Cash", (), {}), name="money", encode=str, decode=str), "'money' is taken by"),
    ],
)
def test_a_registration_that_makes_no_sense_is_refused(call: Any, complaint: str) -> None:
    with pytest.raises(ComponentError, match=complaint):
        call()


def test_errors_of_a_types_own_functions_name_the_type() -> None:
    def bad(_: Any) -> Any:
        raise KeyError("oops")

    sour = register_type(type("Sour", (), {}), name="sour", encode=bad, decode=bad)
    with pytest.raises(TypeError, match="encode of the registered type 'sour' raised KeyError"):
        pack(sour())
    value = unpack(msgpack.packb(msgpack.ExtType(12, msgpack.packb(["sour", None]))))
    with pytest.raises(AttributeError, match="decode of the registered type 'sour' raised KeyError"):
        _ = value.anything


# -- refused, unless pickled ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (object(), r"builtins\.object cannot travel$"),
        ([{"deep": [Unknown(1)]}], r"Unknown cannot travel: register it, pystorm\.register_type\(Unknown\)"),
        (enum.Enum("Odd", "A").A, r"Odd cannot travel: register it, pystorm\.register_type\(Odd\)"),  # type: ignore[attr-defined]
        (collections.deque([1]), r"deque cannot travel: register it, .* or set topology.fall.back.on.pickle: true"),
        (print, r"builtin_function_or_method cannot travel"),
        ("\ud800", "surrogates"),
    ],
)
def test_other_types_are_refused_by_name(value: Any, complaint: str) -> None:
    with pytest.raises((TypeError, ValueError), match=complaint):
        pack(value)


@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: (value,), lambda value: {"k": value}])
def test_values_that_contain_themselves_are_refused(wrap: Any) -> None:
    inner: list[Any] = []
    inner.append(wrap(inner))
    with pytest.raises(ValueError, match=r"recursion|nested too deeply"):
        pack(inner)


@pytest.mark.usefixtures("pickles")
def test_with_pickle_on_everything_else_is_pickled() -> None:
    value = {"queue": collections.deque([Unknown(1)]), "plain": (1, {2})}
    assert unpack(pack(value)) == value
    with pytest.raises(TypeError, match=r"function cannot be pickled: "):
        pack(lambda: 1)


@pytest.mark.usefixtures("pickles")
def test_keys_are_never_pickled() -> None:
    with pytest.raises(TypeError, match="Unknown cannot travel"):
        key_group([Unknown(1)], 128)
    with pytest.raises(TypeError, match="deque cannot travel as a key"):
        key_group([frozenset(), collections.deque()], 128)
    with pytest.raises(TypeError, match="cannot travel"):
        EntryPacker().field(frozenset({print}))


class Bomb:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('unpickled')",)


def test_a_pickle_is_not_read_unless_pickle_is_on() -> None:
    packed = msgpack.packb(msgpack.ExtType(EXT_PICKLE, pickle.dumps(Bomb())))
    value = unpack(packed)
    with pytest.raises(AttributeError, match=r"it is pickled, and topology\.fall\.back\.on\.pickle is not true here"):
        _ = value.anything
    assert pack(value) == packed


# -- numpy ------------------------------------------------------------------------------------------------------------


def test_numpy_scalars_and_arrays_come_back() -> None:
    np = pytest.importorskip("numpy")
    for value in (
        np.int64(-5),
        np.float32(1.5),
        np.bool_(True),
        np.datetime64("2024-05-01"),
        np.str_("ä"),
        np.str_(""),
    ):
        back = unpack(pack([value]))[0]
        assert (back, type(back), back.dtype) == (value, type(value), value.dtype)
    for array in (np.arange(6).reshape(2, 3), np.zeros((0, 4)), np.array(3), np.array(["a", "bc"]), np.arange(9)[::2]):
        back = unpack(pack({"a": array}))["a"]
        assert np.array_equal(back, array)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)
    with pytest.raises(TypeError, match="holds Python objects"):
        pack(np.array([object()]))
    assert canonical(np.int64(3)) == canonical(3)
    assert EntryPacker().field(np.float64(3))[0] == EntryPacker().field(3)[0]
    assert to_jsonable({"a": np.arange(2)}) == {"a": [0, 1]}


# -- rows on the wire -------------------------------------------------------------------------------------------------


def test_tuples_inside_rows_stay_tuples_on_the_wire() -> None:
    rows = [["a", (1, [2, (3,)])], [("k",), {"t": (1,)}]]
    assert shape(wire.unpack_rows(wire.pack_rows(rows), 2)) == shape(rows)


def test_what_json_lacks_is_shown_as_text_or_lists() -> None:
    value = {
        "set": {2, 1}, "date": datetime.date(2024, 5, 1), "time": datetime.time(1), "delta": datetime.timedelta(1),
        "id": uuid.UUID(int=1), "money": decimal.Decimal("1.50"), "colour": Colour.RED, "line": Line("x"), ("a", 1): 1j,
    }  # fmt: skip
    assert to_jsonable(value) == {
        "set": [1, 2], "date": "2024-05-01", "time": "01:00:00", "delta": "1 day, 0:00:00",
        "id": "00000000-0000-0000-0000-000000000001", "money": "1.50", "colour": "RED",
        "line": {"item": "x", "price": "0", "tags": [], "total": 7}, "['a', 1]": "1j",
    }  # fmt: skip
