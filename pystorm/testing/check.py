"""check_bolt and check_spout: is all that a component remembers in what a checkpoint saves?

Theory of operation: the component gets its inputs twice. Once undisturbed; once with a checkpoint after every input and
a new object afterwards, which knows nothing but the checkpoint. If both do the same, nothing that matters is kept
outside. Plain data in its class and its module is put back at every restore, because in production the new object may
live in another process.

Source: Hazelcast Jet's TestSupport, which snapshots and restores a processor between every two items
(hazelcast-jet-core/src/test/java/com/hazelcast/jet/core/test/TestSupport.java).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pystorm import values
from pystorm.components import Bolt, ReplayableSpout
from pystorm.errors import ConfigError, TopologyFailed
from pystorm.testing.compare import side_by_side
from pystorm.testing.feed import FeedSpout
from pystorm.testing.inputs import Fields, Given, Input, Pause, Tick, read_inputs, streams_in
from pystorm.testing.leaks import Surroundings, attributes_of, changed_attributes, shown
from pystorm.testing.single import TICK_FREQ_S, _Sink, one_call
from pystorm.testing.stage import Args, bolt_topology, spec_of, split_config, spout_topology
from pystorm.testing.tester import TopologyTester, states_of

_EXACTLY_ONCE = {"topology.guarantee": "exactly-once", "topology.enable.message.timeouts": False}
_ADVICE = "keep it in a KeyValueState that is declared on the class"


@dataclasses.dataclass
class _Step:
    """What one input led to."""

    #: stream and values of what was emitted
    emitted: list[list[Any]]
    state: dict[str, dict[Any, Any]]


@dataclasses.dataclass
class _Story:
    """What a bolt did with all inputs, and what about it changed that is no state."""

    steps: list[_Step]
    changes: list[str]


class _NotWrittenBack(Exception):
    """A value of a state was changed in place."""


def check_bolt(
    bolt: Any,
    inputs: Iterable[Given],
    *,
    fields: Fields = None,
    args: Args = (),
    config: Mapping[str, Any] | None = None,
    group_by: Sequence[str] = (),
) -> None:
    """Check that a bolt keeps all that it remembers in its state. Arguments are those of `run_bolt`.

    Finds attributes, class attributes and module globals that carry something from tuple to tuple, and values of a
    state that were changed in place and not written back. An instance is copied for every new start.

    Raises:
        AssertionError: it does not; the message names what was changed, and shows both runs side by side.
        Whatever `process` raises.
    """
    given = read_inputs(inputs)
    sources = streams_in(given, fields)
    pristine = bolt if isinstance(bolt, type) else copy.deepcopy(bolt)
    spec, cls = spec_of(bolt, args, Bolt, lambda: copy.deepcopy(pristine))
    own, whole = split_config(config)
    if any(isinstance(item, Tick) for item in given):
        own.setdefault("topology.tick.tuple.freq.secs", TICK_FREQ_S)
    topology = bolt_topology(spec, sources, FeedSpout, group_by, own, {**_EXACTLY_ONCE, **whole})
    surroundings = Surroundings(cls)
    name = f"check_bolt({cls.__qualname__})"
    try:
        expected = _tell(topology, given, list(sources), surroundings, restores=False)
        surroundings.put_back()
        got = _tell(topology, given, list(sources), surroundings, restores=True)
    except _NotWrittenBack as found:
        raise AssertionError(f"{name}: {found}") from None
    finally:
        surroundings.put_back()
    _compare(name, given, expected, got)


def _tell(topology: Any, given: list[Any], sources: list[str], around: Surroundings, *, restores: bool) -> _Story:
    """Let all inputs happen; with `restores` the bolt is made anew after each."""
    steps: list[_Step] = []
    with TopologyTester(topology, inputs=dict.fromkeys(sources, ())) as tester:
        before = attributes_of(tester.instance("bolt"))
        for item in given:
            seen = len(_emitted(tester))
            try:
                _happen(tester, item)
            except TopologyFailed:
                if not tester.errors:
                    raise
            if tester.errors:  # an exception of the bolt says more than the failure that it led to
                raise tester.errors[0]
            tester.checkpoint()
            bolt = tester.instance("bolt")
            state = states_of(bolt)
            _check_written_back(tester, item, state)
            steps.append(_Step(_emitted(tester)[seen:], copy.deepcopy(state)))
            if restores:
                around.put_back()
                tester.restart()
        changes = changed_attributes(before, attributes_of(tester.instance("bolt")))
    return _Story(steps, [*changes, *around.changes()])


def _happen(tester: TopologyTester, item: Input | Pause | Tick) -> None:
    if isinstance(item, Input):
        tester.feed(item.component, list(item.values), stream=item.stream)
    elif isinstance(item, Pause):
        tester.advance(item.seconds)
    else:
        clock = tester.driver.clock
        clock.now_s = max(clock.now_s, tester.driver.executors("bolt")[0].next_tick_s)
        tester.driver.settle()


def _emitted(tester: TopologyTester, component: str = "bolt") -> list[list[Any]]:
    """What was emitted to all streams, in order: the stream, then the values."""
    return [[stream, *row] for stream, row in tester.emitted_rows(component)]


def _check_written_back(tester: TopologyTester, item: Any, state: dict[str, dict[Any, Any]]) -> None:
    """What the bolt has in memory is what the checkpoint saved."""
    for name, entries in state.items():
        saved = tester.committed("bolt", name)
        for key, value in entries.items():
            as_saved = values.unpack(values.pack(value))
            if key not in saved or saved[key] != as_saved:
                lines = side_by_side([value], [saved[key]] if key in saved else [])
                raise _NotWrittenBack(
                    f"state {name!r}, key {key!r}: the value was changed in place and not written back, so the "
                    f"checkpoint after {shown_input(item)} has not saved it (left: in memory, right: saved)\n"
                    + "\n".join(lines)
                    + f"\n  write self.{name}[{key!r}] = value after the change, or fetch the value by setdefault"
                )


def _compare(name: str, given: list[Any], expected: _Story, got: _Story) -> None:
    for number, (item, left, right) in enumerate(zip(given, expected.steps, got.steps, strict=True), start=1):
        if left.emitted == right.emitted and left.state == right.state:
            continue
        what, one, other = "emitted", left.emitted, right.emitted
        if left.emitted == right.emitted:
            what, one, other = "state", _entries(left.state), _entries(right.state)
        where = f"input {number} of {len(given)}, {shown_input(item)}"
        lines = [
            f"{name}: from {where} on, a bolt that is restored from checkpoints differs from one that is not",
            f"  {what}, with the stream first" if what == "emitted" else f"  {what}",
            *side_by_side(one, other),
            *_suspects(expected.changes),
        ]
        raise AssertionError("\n".join(lines))


def _entries(state: dict[str, dict[Any, Any]]) -> list[list[Any]]:
    return [[name, key, value] for name, entries in state.items() for key, value in entries.items()]


def _suspects(changes: list[str]) -> list[str]:
    if not changes:
        return ["  no attribute or global changed; does it remember by a file, a closure, an object of another module?"]
    return ["  changed while it worked, and not saved:", *(f"    {change}" for change in changes), f"  {_ADVICE}"]


def shown_input(item: Any) -> str:
    """An input, for messages."""
    return shown(list(item.values)) if isinstance(item, Input) else repr(item)


def check_spout(spout: Any, *, max_tuples: int = 100, args: Args = (), config: Mapping[str, Any] | None = None) -> None:
    """Check that a ReplayableSpout reads on from any of its positions as if nothing had happened.

    Emits up to `max_tuples` tuples undisturbed, and again with a checkpoint and a new object after every call of
    `next_tuple`, which gets only `seek` with the position. An instance is copied for every new start.

    Raises:
        AssertionError: the tuples differ; the message shows both runs side by side.
    """
    pristine = spout if isinstance(spout, type) else copy.deepcopy(spout)
    spec, cls = spec_of(spout, args, ReplayableSpout, lambda: copy.deepcopy(pristine))
    own, whole = split_config(config)
    topology = spout_topology(spec, cls, _Sink, own, {**_EXACTLY_ONCE, **whole})
    if not max_tuples > 0:
        raise ConfigError(f"max_tuples must be positive, got {max_tuples}")
    surroundings = Surroundings(cls)
    try:
        expected, _ = _read(topology, max_tuples, surroundings, restores=False)
        surroundings.put_back()
        got, position = _read(topology, min(max_tuples, len(expected) + 1), surroundings, restores=True)
    finally:
        surroundings.put_back()
    if expected == got:
        return
    same = next((i for i, pair in enumerate(zip(expected, got)) if pair[0] != pair[1]), min(len(expected), len(got)))
    raise AssertionError(
        f"check_spout({cls.__qualname__}): a spout that seeks to its position after every tuple reads something else "
        f"from tuple {same + 1} on; the position of a tuple must be the one from which the next tuple is read "
        f"(last positions: {shown(position)})\n" + "\n".join(side_by_side(expected, got))
    )


def _read(topology: Any, most: int, around: Surroundings, *, restores: bool) -> tuple[list[list[Any]], dict[str, Any]]:
    """What a spout emits, and where it stands then; with `restores` it is made anew after each call."""
    with TopologyTester(topology) as tester:
        silent = 0
        while len(_emitted(tester, "spout")) < most and silent < 100:
            before = len(_emitted(tester, "spout"))
            executor = tester.driver.executors("spout")[0]
            one_call(tester, executor)
            if executor.is_done:
                break
            silent = 0 if len(_emitted(tester, "spout")) > before else silent + 1
            if restores and not silent:
                executor.wake_s = math.inf  # no more from it before the checkpoint
                tester.driver.checkpoint()
                around.put_back()
                tester.restart()
        return _emitted(tester, "spout")[:most], dict(tester.driver.executors("spout")[0].positions)
