"""One bolt or spout by itself, with plain lists in and out.

Theory of operation: the component runs in its real executor, inside a topology of two that `TopologyTester` drives, so
anchoring, acking, streams, ticks and state are those of production. Inputs go in one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pystorm.components import Bolt, ReplayableSpout, Spout
from pystorm.components.stream import DEFAULT_STREAM
from pystorm.testing.compare import assert_entries, assert_rows
from pystorm.testing.inputs import Fields, Given, Input, Pause, Tick, read_inputs, streams_in
from pystorm.testing.stage import Args, Sender, bolt_topology, spec_of, split_config, spout_topology
from pystorm.testing.tester import TopologyTester, states_of

Row = list[Any]

#: How often `TICK` is due if nothing says how often ticks come, in seconds.
TICK_FREQ_S = 1.0
_TICK_KEY = "topology.tick.tuple.freq.secs"


@dataclasses.dataclass(kw_only=True)
class _Emitted:
    """What a component emitted, and said."""

    #: by stream, every declared stream is there
    streams: dict[str, list[Row]]
    #: lines of the component's log
    logs: list[str]

    @property
    def emitted(self) -> list[Row]:
        """The values emitted to the default stream."""
        return self.streams.get(DEFAULT_STREAM, [])

    def assert_emitted(
        self, expected: Iterable[Sequence[Any]], stream: str = DEFAULT_STREAM, *, any_order: bool = False
    ) -> None:
        """Compare what was emitted to a stream; a failure shows both side by side."""
        assert_rows(self.streams.get(stream, []), expected, f"emitted to stream {stream!r}", any_order=any_order)


@dataclasses.dataclass(kw_only=True)
class BoltResult(_Emitted):
    """What a bolt did with its inputs."""

    #: inputs whose tuple tree is complete, failed, or neither (the bolt still holds them)
    acked: list[Row]
    failed: list[Row]
    pending: list[Row]
    #: why the failed ones failed, in their order
    reasons: list[str]
    #: by name, as plain dicts
    state: dict[str, dict[Any, Any]]
    #: exceptions of `process` and `process_tick`
    errors: list[Exception]
    bolt: Any

    def assert_state(self, state: str, expected: Mapping[Any, Any]) -> None:
        """Compare a state; a failure shows the keys that differ side by side."""
        assert_entries(self.state.get(state, {}), expected, f"state {state!r}")


@dataclasses.dataclass(kw_only=True)
class SpoutResult(_Emitted):
    """What a spout did."""

    #: whether it has called `finish`
    finished: bool
    #: messages that it was told of, by `ack` and by `fail`; only spouts with message ids
    acked: int
    failed: int
    #: of a ReplayableSpout: position of every partition
    positions: dict[str, Any]
    spout: Any


def run_bolt(
    bolt: Any,
    inputs: Iterable[Given],
    *,
    fields: Fields = None,
    args: Args = (),
    config: Mapping[str, Any] | None = None,
    group_by: Sequence[str] = (),
    raises: bool = True,
) -> BoltResult:
    """Give a bolt its inputs, one after the other, and return what it did.

    Args:
        bolt: a Bolt class, or an instance.
        inputs: lists of values, `Input(values, component=, stream=)`, `TICK`, `Pause(seconds)`.
        fields: names of the input's fields; with several origins a map by component, or by (component, stream).
        args: constructor arguments of a class: a list, or a map by name.
        config: configuration of the topology and of the bolt; what `conf` has.
        group_by: fields that the input is FIELDS-grouped by. The bolt's state then belongs to keys, and can be written
            in `process` only. Default: a SHUFFLE grouping.
        raises: whether an exception of `process` surfaces here; else it is in `errors`, and its input in `failed`.

    >>> class Double(Bolt):
    ...     outputs = ["number"]
    ...     def process(self, tup): self.emit([2 * tup.values.number])
    >>> run_bolt(Double, [[1], [2]], fields=["number"]).emitted
    [[2], [4]]
    """
    given = read_inputs(inputs)
    sources = streams_in(given, fields)
    spec, _ = spec_of(bolt, args, Bolt)
    own, whole = split_config(config)
    if any(isinstance(item, Tick) for item in given):
        own.setdefault(_TICK_KEY, TICK_FREQ_S)
    topology = bolt_topology(spec, sources, Sender, group_by, own, {"topology.enable.message.timeouts": False} | whole)
    with TopologyTester(topology, checkpoints=False) as tester:
        for number, item in enumerate(given):
            step(tester, item, number)
            if raises and tester.errors and own.get("topology.bolt.on.error") != "dead-letter":
                raise tester.errors[0]
        return _bolt_result(tester, given, list(sources))


def step(tester: TopologyTester, item: Input | Pause | Tick, number: int) -> None:
    """Let one input happen."""
    driver = tester.driver
    if isinstance(item, Pause):
        tester.advance(item.seconds)
    elif isinstance(item, Tick):
        driver.clock.now_s = max(driver.clock.now_s, driver.executors("bolt")[0].next_tick_s)
        driver.settle()
    else:
        executor = driver.executors(item.component)[0]
        executor.spout.waiting.append((number, item.stream, list(item.values)))
        executor.wake_s = 0.0
        driver.settle()


def _bolt_result(tester: TopologyTester, given: list[Any], sources: list[str]) -> BoltResult:
    senders = [tester.instance(source) for source in sources]
    acked = sorted(number for sender in senders for number in sender.acked)
    reasons = {number: reason for sender in senders for number, reason in sender.failed.items()}
    inputs = {number: list(item.values) for number, item in enumerate(given) if isinstance(item, Input)}
    bolt = tester.instance("bolt")
    return BoltResult(
        streams=_streams(tester, "bolt"),
        logs=tester.logs("bolt"),
        acked=[inputs[number] for number in acked],
        failed=[inputs[number] for number in sorted(reasons)],
        pending=[values for number, values in inputs.items() if number not in acked and number not in reasons],
        reasons=[reasons[number] for number in sorted(reasons)],
        state=states_of(bolt),
        errors=list(tester.errors),
        bolt=bolt,
    )


def _streams(tester: TopologyTester, component: str) -> dict[str, list[Row]]:
    names = [name for owner, name in tester.driver.plan.stream_of if owner == component]
    return {name: tester.emitted(component, name) for name in names}


class _Sink(Bolt):
    """Acks everything, but for what the test wants to fail."""

    refuses: Callable[[Row], bool] | None = None

    def process(self, tup: Any) -> None:
        refuses = type(self).refuses
        if refuses is not None and refuses(list(tup.values)):
            self.fail(tup, "the test failed it")


def run_spout(
    spout: Any,
    *,
    max_tuples: int = 1000,
    args: Args = (),
    config: Mapping[str, Any] | None = None,
    fail: Callable[[Row], bool] | None = None,
    idle_s: float = 10.0,
) -> SpoutResult:
    """Ask a spout for tuples and return what it did.

    It ends when the spout has finished and all its messages are done, after the call of `next_tuple` that reaches
    `max_tuples`, or when nothing was emitted for `idle_s` seconds of virtual time.

    Args:
        spout: a Spout class, or an instance.
        max_tuples: emits after which to stop.
        args: constructor arguments of a class: a list, or a map by name.
        config: configuration of the topology and of the spout; what `conf` has.
        fail: says which tuples (lists of values) the reader fails; default: all are acked.
        idle_s: virtual time without an emit after which to stop, in seconds.
    """
    spec, cls = spec_of(spout, args, Spout)
    own, whole = split_config(config)
    sink = type("_Sink", (_Sink,), {"refuses": staticmethod(fail) if fail else None})
    with TopologyTester(spout_topology(spec, cls, sink, own, whole), checkpoints=False) as tester:
        executor = tester.driver.executors("spout")[0]
        emitted_s = tester.now_s
        emitted = 0
        while executor.emitted < max_tuples and tester.now_s - emitted_s < idle_s and not executor.is_done:
            one_call(tester, executor)
            if executor.emitted != emitted:
                emitted, emitted_s = executor.emitted, tester.now_s
        return SpoutResult(
            streams=_streams(tester, "spout"),
            logs=tester.logs("spout"),
            finished=executor.is_finished,
            acked=executor.acked,
            failed=executor.failed,
            positions=dict(executor.positions) if isinstance(executor.spout, ReplayableSpout) else {},
            spout=executor.spout,
        )


def one_call(tester: TopologyTester, executor: Any) -> None:
    """Let a spout's `next_tuple` be called once, and all that follows from it be done."""
    driver = tester.driver
    executor._burst = 1  # the executor would call it until a millisecond has passed
    before = executor.emitted
    for _ in range(50):
        moved = driver.round()
        executor._burst = 1
        if not moved and not driver.has_frames:
            break
        if executor.emitted != before:
            executor.wake_s = driver.clock.now_s + 1e-6  # not yet again: what was emitted comes first
    driver.clock.now_s = max(driver.next_wake_s(), driver.clock.now_s + 1e-6)
