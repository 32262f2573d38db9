"""A topology's settings, read and checked through the table of configuration keys (`options`).

Theory of operation: `Settings` takes its defaults from the table's rows, `Settings.from_config` and `check_config` take
their rules from them. Three kinds of key are told apart: pystorm's own (the table), Storm's that have nothing to act on
here (`storm_keys`: accepted with a note), and the user's own, which components read from `conf`: any key without the
prefix "topology." or "pystorm.", unless it is nearly one of the table's.

Invariants: a `Settings` holds only values that its row allows.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pystorm.errors import ConfigError, Place, Problem
from pystorm.topology.options import OPTIONS, OPTIONS_BY_KEY, Guarantee, Option
from pystorm.topology.storm_keys import has_no_effect
from pystorm.topology.suggest import hint, nearest

__all__ = [
    "OPTIONS",
    "OPTIONS_BY_KEY",
    "RESERVED_PREFIXES",
    "Guarantee",
    "Option",
    "PlaceOf",
    "Settings",
    "check_component_config",
    "check_config",
    "is_config_key",
    "notes_on_config",
    "shown",
]

#: Keys with these prefixes are never the user's own.
RESERVED_PREFIXES = ("topology.", "pystorm.")

#: A key of the user's own that is this much like a known one is taken for a typing mistake.
_NEARLY_KNOWN = 0.85

#: Gives the place where a key was written, None if nobody knows.
PlaceOf = Callable[[str], "Place | None"]

_DEFAULTS = {option.attribute: option.default for option in OPTIONS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A topology's configuration, every default filled in; what a field means and may be: its row in `OPTIONS`."""

    workers: int | None = _DEFAULTS["workers"]
    guarantee: Guarantee = _DEFAULTS["guarantee"]
    max_spout_pending: int | None = _DEFAULTS["max_spout_pending"]
    message_timeout_s: float = _DEFAULTS["message_timeout_s"]
    message_timeouts_enabled: bool = _DEFAULTS["message_timeouts_enabled"]
    tick_freq_s: float | None = _DEFAULTS["tick_freq_s"]
    state_provider: str = _DEFAULTS["state_provider"]
    state_provider_config: dict[str, Any] = dataclasses.field(default_factory=dict)
    checkpoint_interval_ms: int = _DEFAULTS["checkpoint_interval_ms"]
    wait_replicas: int = _DEFAULTS["wait_replicas"]
    debug: bool = _DEFAULTS["debug"]
    max_parallelism: int = _DEFAULTS["max_parallelism"]
    bolt_on_error: str = _DEFAULTS["bolt_on_error"]
    spout_max_fails: int = _DEFAULTS["spout_max_fails"]
    recovery_max_attempts: int = _DEFAULTS["recovery_max_attempts"]
    spout_wait_ms: float = _DEFAULTS["spout_wait_ms"]
    batch_size: int = _DEFAULTS["batch_size"]
    channel_credits: int = _DEFAULTS["channel_credits"]
    load_aware_shuffle: bool = _DEFAULTS["load_aware_shuffle"]
    message_max_bytes: int = _DEFAULTS["message_max_bytes"]
    falls_back_on_pickle: bool = _DEFAULTS["falls_back_on_pickle"]
    log_level: str = _DEFAULTS["log_level"]
    log_max_bytes: int = _DEFAULTS["log_max_bytes"]
    log_backup_count: int = _DEFAULTS["log_backup_count"]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Settings:
        """The settings that a topology's `config` map asks for.

        Raises:
            ConfigError: a key of pystorm's is unknown or its value is not allowed; names the key.
        """
        return cls()._with(config, check_config(config, _nowhere))

    def for_component(self, component_config: Mapping[str, Any]) -> Settings:
        """These settings with what one component's own `config` map changes.

        Raises:
            ConfigError: as `from_config`, and for a key that only the whole topology can set.
        """
        return self._with(component_config, check_component_config(component_config, _nowhere))

    def with_value(self, option: Option, value: Any) -> Settings:
        """These settings with one value changed, which must be one that the option allows."""
        return dataclasses.replace(self, **{option.attribute: _convert(option, value)})

    def _with(self, config: Mapping[str, Any], problems: list[Problem]) -> Settings:
        if problems:
            raise ConfigError(problems[0].message, place=problems[0].place, hint=problems[0].hint)
        settings = self
        for key, value in config.items():
            if key in OPTIONS_BY_KEY:
                settings = settings.with_value(OPTIONS_BY_KEY[key], value)
        return settings


def check_config(
    config: Mapping[str, Any], place_of: PlaceOf, *, value_place_of: PlaceOf | None = None
) -> list[Problem]:
    """Everything wrong with a topology's `config` map.

    Args:
        config: the map as it was read.
        place_of: gives the place of a key.
        value_place_of: gives the place of a key's value; default: the key's.
    """
    problems = []
    for key, value in config.items():
        option = OPTIONS_BY_KEY.get(key)
        if option:
            complaint = _complaint(option, value)
            place = (value_place_of or place_of)(key)
            problems += [dataclasses.replace(complaint, place=place)] if complaint else []
        else:
            problems += _unknown(key, place_of)
    return problems


def check_component_config(
    config: Mapping[str, Any], place_of: PlaceOf, *, value_place_of: PlaceOf | None = None
) -> list[Problem]:
    """Everything wrong with one component's own `config` map; arguments as in `check_config`."""
    problems = check_config(config, place_of, value_place_of=value_place_of)
    for key in config:
        option = OPTIONS_BY_KEY.get(key)
        if option and not option.per_component:
            allowed = ", ".join(o.key for o in OPTIONS if o.per_component)
            problems.append(
                Problem(
                    f"config key {key!r} holds for the whole topology, one component cannot set it",
                    place_of(key),
                    f"move it to the topology's config; a component may set {allowed}",
                )
            )
    return problems


def notes_on_config(config: Mapping[str, Any], place_of: PlaceOf) -> list[Problem]:
    """One note for each key of Storm's that is accepted and does nothing. Not mistakes: for people to read."""
    return [
        Problem(f"config key {key!r} has no effect here", place_of(key))
        for key in config
        if isinstance(key, str) and key not in OPTIONS_BY_KEY and has_no_effect(key)
    ]


def is_config_key(key: str) -> bool:
    """Whether a key belongs in `config` even if no file mentions it: pystorm's and Storm's keys, misspelt ones too."""
    return key.startswith(RESERVED_PREFIXES) or key in OPTIONS_BY_KEY or has_no_effect(key)


def _nowhere(_key: str) -> Place | None:
    return None


def _unknown(key: Any, place_of: PlaceOf) -> list[Problem]:
    if not isinstance(key, str):
        return [Problem(f"config keys must be text, got {key!r}", place_of(key), "put it in quotes")]
    if has_no_effect(key):
        return []
    if key.startswith(RESERVED_PREFIXES):
        close = nearest(key, OPTIONS_BY_KEY)
        return [Problem(f"unknown config key {key!r}", place_of(key), f"did you mean {close!r}?" if close else "")]
    close = nearest(key, OPTIONS_BY_KEY, likeness=_NEARLY_KNOWN)
    return [Problem(f"unknown config key {key!r}", place_of(key), f"did you mean {close!r}?")] if close else []


def _complaint(option: Option, value: Any) -> Problem | None:
    """What is wrong with a value, or None."""
    if value is None and option.default is None:
        return None
    message = f"config key {option.key!r} must be {option.wanted}, got {shown(value)}"
    if not _has_type(option, value):
        return Problem(message, hint=_type_hint(option, value))
    if option.choices and str(_text_of(value)).lower() not in option.choices:
        return Problem(message, hint=hint(str(value), option.choices) if nearest(str(value), option.choices) else "")
    if option.minimum is not None and not option.minimum <= value <= (option.maximum or math.inf):
        return Problem(message)
    return _json_complaint(option, value) if dict in option.types and isinstance(value, str) else None


def _has_type(option: Option, value: Any) -> bool:
    if isinstance(value, bool):
        return bool in option.types
    if isinstance(value, int):
        return int in option.types or float in option.types
    if isinstance(value, float):
        return float in option.types and math.isfinite(value)
    return isinstance(value, option.types)


def _type_hint(option: Option, value: Any) -> str:
    if isinstance(value, str) and bool not in option.types and value.replace(".", "", 1).isdigit():
        return "write the number without quotes"
    return ""


def _json_complaint(option: Option, text: str) -> Problem | None:
    try:
        value = json.loads(text)
    except ValueError as exc:
        return Problem(f"config key {option.key!r} must be a map or a JSON text, and this text is not JSON: {exc}")
    if isinstance(value, dict):
        return None
    return Problem(f"config key {option.key!r} must be a JSON object, got {shown(value)}")


def _convert(option: Option, value: Any) -> Any:
    """A checked value as `Settings` carries it."""
    if value is None:
        return None
    if option.attribute == "guarantee":
        return Guarantee(_text_of(value).lower())
    if dict in option.types:
        return json.loads(value) if isinstance(value, str) else dict(value)
    if option.choices:
        chosen = _text_of(value).lower()
        return "warning" if chosen == "warn" else chosen
    return float(value) if option.types == (float,) else value


def _text_of(value: Any) -> str:
    return value.value if isinstance(value, enum.Enum) else str(value)


def shown(value: Any) -> str:
    """A value as an error message shows it: as in YAML, its kind clear, never longer than a line."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, list):
        return "a list"
    text = repr(_text_of(value) if isinstance(value, str) else value)
    # 60 characters keep the message on one line together with its place and hint.
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"text {text}" if isinstance(value, str) else text
