"""The table of every configuration key of pystorm's own.

One row per key: its types, range, unit, default and meaning. Whoever needs a default or a limit reads it here (`config`
does for settings and checks, the reference page is generated), so none is written twice.

Source: names and defaults follow apache/storm conf/defaults.yaml wherever the meaning is the same.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Guarantee(str, enum.Enum):
    """What becomes of a tuple's effects when something dies."""

    #: no acks: a tuple may be lost, none is processed twice
    AT_MOST_ONCE = "at-most-once"
    #: a tuple that failed is emitted again: none is lost, some are processed twice
    AT_LEAST_ONCE = "at-least-once"
    #: state rolls back with the spouts: every source record's effect is in state once
    EXACTLY_ONCE = "exactly-once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One configuration key: what it takes and what it means."""

    key: str
    #: the attribute of `Settings` that carries it
    attribute: str
    #: types that a value may have; bool never passes for a number, a whole number passes for float
    types: tuple[type, ...]
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    doc: str
    #: whether one component's own `config` may set it
    per_component: bool = False

    @property
    def wanted(self) -> str:
        """What a value must be, in words.

        >>> OPTIONS_BY_KEY["topology.workers"].wanted
        'a whole number, at least 1, or null'
        """
        if self.choices:
            text = "one of " + ", ".join(self.choices)
        else:
            text = " or ".join(_TYPE_NAMES[kind] for kind in self.types)
        if self.minimum is not None and self.maximum is not None:
            text += f" from {self.minimum:g} to {self.maximum:.10g}"
        elif self.minimum is not None:
            text += f", at least {self.minimum:g}"
        if self.unit:
            text += f" ({self.unit})"
        return f"{text}, or null" if self.default is None else text


_TYPE_NAMES: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    dict: "a map",
}

OPTIONS: tuple[Option, ...] = (
    Option(
        key="topology.workers",
        attribute="workers",
        types=(int,),
        default=None,
        minimum=1,
        doc="How many worker processes run the tasks; null: one per task.",
    ),
    Option(
        key="topology.guarantee",
        attribute="guarantee",
        types=(str,),
        default=Guarantee.AT_LEAST_ONCE,
        choices=tuple(g.value for g in Guarantee),
        doc="What becomes of a tuple's effects when something dies. exactly-once needs replayable spouts.",
    ),
    Option(
        key="topology.max.spout.pending",
        attribute="max_spout_pending",
        types=(int,),
        default=None,
        minimum=1,
        unit="tuple trees per spout task",
        per_component=True,
        doc="How many tuple trees of one spout task may be open before it waits; null: credits alone hold it back.",
    ),
    Option(
        key="topology.message.timeout.secs",
        attribute="message_timeout_s",
        types=(float,),
        default=30.0,
        minimum=0.001,
        unit="seconds",
        doc="A tuple tree that is not complete after this time has failed.",
    ),
    Option(
        key="topology.enable.message.timeouts",
        attribute="message_timeouts_enabled",
        types=(bool,),
        default=True,
        doc="Whether tuple trees time out at all.",
    ),
    Option(
        key="topology.tick.tuple.freq.secs",
        attribute="tick_freq_s",
        types=(float,),
        default=None,
        minimum=0.001,
        unit="seconds",
        per_component=True,
        doc="How often a bolt's process_tick is called; null: never.",
    ),
    Option(
        key="topology.state.provider",
        attribute="state_provider",
        types=(str,),
        default="redis",
        choices=("redis", "memory"),
        doc="Where state lives. With memory there are no checkpoints and no recovery: for trying things out.",
    ),
    Option(
        key="topology.state.provider.config",
        attribute="state_provider_config",
        types=(dict, str),
        default={},
        doc="Settings of the state provider, like {url: redis://host:6379/0}; a map, or as in Storm a JSON text.",
    ),
    Option(
        key="topology.state.checkpoint.interval.ms",
        attribute="checkpoint_interval_ms",
        types=(int,),
        default=1000,
        minimum=100,
        unit="milliseconds",
        doc="Time from the start of one checkpoint to the start of the next.",
    ),
    Option(
        key="topology.state.wait.replicas",
        attribute="wait_replicas",
        types=(int,),
        default=0,
        minimum=0,
        unit="replicas",
        doc="How many Redis replicas must have a commit record before the commit counts.",
    ),
    Option(
        key="topology.debug",
        attribute="debug",
        types=(bool,),
        default=False,
        per_component=True,
        doc="Log every tuple that is emitted.",
    ),
    Option(
        key="topology.max.parallelism",
        attribute="max_parallelism",
        types=(int,),
        default=128,
        minimum=1,
        maximum=32768,
        unit="key groups",
        doc="Number of key groups: the most tasks of a bolt with FIELDS grouping; fixed once there is state.",
    ),
    Option(
        key="topology.bolt.on.error",
        attribute="bolt_on_error",
        types=(str,),
        default="fail",
        choices=("fail", "dead-letter", "crash"),
        per_component=True,
        doc="What an exception in process does: fail the tuple, send it to stream dead_letter, or kill the worker.",
    ),
    Option(
        key="topology.spout.max.fails",
        attribute="spout_max_fails",
        types=(int,),
        default=10,
        minimum=0,
        unit="failures of one message",
        doc="How often one message of a replayable spout may fail before the run ends with the cause.",
    ),
    Option(
        key="topology.recovery.max.attempts",
        attribute="recovery_max_attempts",
        types=(int,),
        default=8,
        minimum=0,
        unit="recoveries",
        doc="How many recoveries in a row without progress there may be before the run gives up.",
    ),
    Option(
        key="topology.sleep.spout.wait.strategy.time.ms",
        attribute="spout_wait_ms",
        types=(float,),
        default=1.0,
        minimum=0,
        unit="milliseconds",
        doc="How long a spout rests after a next_tuple call that emitted nothing.",
    ),
    Option(
        key="topology.transfer.batch.size",
        attribute="batch_size",
        types=(int,),
        default=2048,
        minimum=1,
        unit="tuples",
        doc="The most tuples that travel to another worker in one batch.",
    ),
    Option(
        key="topology.channel.credits",
        attribute="channel_credits",
        types=(int,),
        default=32768,
        minimum=1,
        unit="tuples",
        doc="How many tuples may be in flight from one task to another; bounds the memory that channels hold.",
    ),
    Option(
        key="topology.grouping.load.aware",
        attribute="load_aware_shuffle",
        types=(bool,),
        default=True,
        doc="Whether SHUFFLE gives less to a task that is slower than the others; false: all get equally much.",
    ),
    Option(
        key="topology.message.max.bytes",
        attribute="message_max_bytes",
        types=(int,),
        default=256 * 1024 * 1024,
        minimum=1024,
        unit="bytes",
        doc="The largest batch, so the largest tuple, that may travel between workers.",
    ),
    Option(
        key="topology.fall.back.on.pickle",
        attribute="falls_back_on_pickle",
        types=(bool,),
        default=False,
        doc="Whether values that nothing else can carry are pickled. Whoever can send data can then run code.",
    ),
    Option(
        key="pystorm.log.level",
        attribute="log_level",
        types=(str,),
        default="info",
        choices=("debug", "info", "warn", "warning", "error", "critical"),
        doc="The least severe log record that is written.",
    ),
    Option(
        key="pystorm.log.max_bytes",
        attribute="log_max_bytes",
        types=(int,),
        default=10 * 1024 * 1024,
        minimum=1024,
        unit="bytes",
        doc="Size at which a log file is rotated.",
    ),
    Option(
        key="pystorm.log.backup_count",
        attribute="log_backup_count",
        types=(int,),
        default=3,
        minimum=0,
        unit="files",
        doc="How many rotated log files are kept.",
    ),
)

OPTIONS_BY_KEY: Mapping[str, Option] = {option.key: option for option in OPTIONS}
