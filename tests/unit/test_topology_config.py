"""The table of configuration keys, settings, and what is said about wrong ones."""

from __future__ import annotations

import dataclasses

import pytest

from pystorm.errors import ConfigError, Place
from pystorm.topology.config import (
    OPTIONS,
    Guarantee,
    Settings,
    check_component_config,
    check_config,
    is_config_key,
    notes_on_config,
)


def place_of(key):
    return Place("topology.yaml", 3, len(str(key)))


def test_every_row_of_the_table_is_a_field_of_settings_with_the_rows_default():
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields == {option.attribute for option in OPTIONS}
    assert {option.attribute: option.default for option in OPTIONS} == dataclasses.asdict(Settings())


def test_keys_and_attributes_are_unique_and_documented():
    assert len({option.key for option in OPTIONS}) == len({option.attribute for option in OPTIONS}) == len(OPTIONS)
    assert all(option.doc.endswith(".") for option in OPTIONS)


def test_every_default_is_a_value_that_its_row_allows():
    assert check_config({option.key: option.default for option in OPTIONS}, place_of) == []


def test_settings_carry_what_the_config_says():
    settings = Settings.from_config(
        {
            "topology.workers": 3,
            "topology.guarantee": "exactly-once",
            "topology.max.spout.pending": 5000,
            "topology.message.timeout.secs": 5,
            "topology.state.checkpoint.interval.ms": 100,
            "topology.state.provider.config": {"url": "redis://localhost"},
            "pystorm.log.level": "WARN",
            "my.own.key": [1, 2],
        }
    )
    assert settings.workers == 3
    assert settings.guarantee is Guarantee.EXACTLY_ONCE
    assert settings.max_spout_pending == 5000
    assert (settings.message_timeout_s, type(settings.message_timeout_s)) == (5.0, float)
    assert settings.checkpoint_interval_ms == 100
    assert settings.state_provider_config == {"url": "redis://localhost"}
    assert settings.log_level == "warning"


def test_null_means_the_default_where_the_default_is_null():
    assert Settings.from_config({"topology.workers": None, "topology.tick.tuple.freq.secs": None}) == Settings()


def test_the_provider_config_may_be_a_json_text_as_in_storm():
    settings = Settings.from_config({"topology.state.provider.config": '{"keyClass": "x", "n": 1}'})
    assert settings.state_provider_config == {"keyClass": "x", "n": 1}


def test_an_enum_member_is_as_good_as_its_text():
    assert Settings.from_config({"topology.guarantee": Guarantee.AT_MOST_ONCE}).guarantee is Guarantee.AT_MOST_ONCE


WRONG_VALUES = [
    ("topology.workers", 0, "at least 1, or null, got 0"),
    ("topology.workers", "3", "got text '3'; write the number without quotes"),
    ("topology.workers", True, "a whole number, at least 1, or null, got true"),
    ("topology.workers", 2.0, "got 2.0"),
    ("topology.guarantee", "exactly_once", "got text 'exactly_once'; did you mean 'exactly-once'?"),
    ("topology.guarantee", 1, "must be one of at-most-once, at-least-once, exactly-once, got 1"),
    ("topology.max.parallelism", 40000, "from 1 to 32768"),
    ("topology.state.checkpoint.interval.ms", 99, "at least 100"),
    ("topology.state.checkpoint.interval.ms", None, "got nothing"),
    ("topology.message.timeout.secs", 0, "at least 0.001"),
    ("topology.message.timeout.secs", float("nan"), "must be a number"),
    ("topology.message.timeout.secs", float("inf"), "must be a number"),
    ("topology.debug", "yes", "must be true or false, got text 'yes'"),
    ("topology.debug", 1, "must be true or false, got 1"),
    ("topology.state.provider", "rediss", "did you mean 'redis'?"),
    ("topology.state.provider.config", "{", "is not JSON"),
    ("topology.state.provider.config", "[1]", "must be a JSON object, got a list"),
    ("topology.state.provider.config", [1], "got a list"),
    ("topology.bolt.on.error", "crahs", "did you mean 'crash'?"),
    ("pystorm.log.max_bytes", {}, "got a map"),
    ("topology.state.provider", "x" * 500, "..."),
]


@pytest.mark.parametrize(("key", "value", "expected"), WRONG_VALUES)
def test_a_wrong_value_is_one_problem_that_names_key_value_and_what_is_wanted(key, value, expected):
    [problem] = check_config({key: value}, place_of)
    assert problem.place == place_of(key)
    assert repr(key) in problem.message
    assert expected in str(problem)
    assert len(str(problem)) < 300
    with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
        Settings.from_config({key: value})


UNKNOWN_KEYS = [
    ("topology.wrkers", "did you mean 'topology.workers'?"),
    ("topology.max.spout.pendng", "did you mean 'topology.max.spout.pending'?"),
    ("Topology.Workers", "did you mean 'topology.workers'?"),
    ("toplogy.workers", "did you mean 'topology.workers'?"),
    ("pystorm.log.levl", "did you mean 'pystorm.log.level'?"),
    ("topology.qqqq", "unknown config key"),
    (5, "must be text"),
]


@pytest.mark.parametrize(("key", "expected"), UNKNOWN_KEYS)
def test_an_unknown_key_is_a_problem_with_the_nearest_known_one(key, expected):
    [problem] = check_config({key: 1}, place_of)
    assert expected in str(problem)
    assert problem.place == place_of(key)


@pytest.mark.parametrize("key", ["redis.url", "wordcount.limit", "path", "workers", "debug"])
def test_a_users_own_key_is_nobodys_business(key):
    assert check_config({key: object()}, place_of) == []
    assert not is_config_key(key)


@pytest.mark.parametrize(
    "key", ["topology.acker.executors", "nimbus.seeds", "worker.childopts", "topology.kryo.register"]
)
def test_a_storm_key_without_meaning_here_is_accepted_with_a_note(key):
    assert check_config({key: 1}, place_of) == []
    [note] = notes_on_config({key: 1}, place_of)
    assert (note.place, key in note.message, "no effect" in note.message) == (place_of(key), True, True)
    Settings.from_config({key: 1})


def test_all_problems_of_a_config_are_reported():
    assert len(check_config({"topology.workers": 0, "topology.debug": 3, "topology.x": 1}, place_of)) == 3


def test_values_are_placed_on_their_own_where_their_places_are_known():
    [problem] = check_config({"topology.workers": 0}, place_of, value_place_of=lambda key: Place("v", 1, 2))
    assert problem.place == Place("v", 1, 2)


def test_a_component_overrides_what_a_component_can():
    settings = Settings.from_config({"topology.debug": True, "topology.workers": 2})
    own = settings.for_component(
        {
            "topology.tick.tuple.freq.secs": 1,
            "topology.bolt.on.error": "crash",
            "topology.debug": False,
            "topology.max.spout.pending": 7,
            "mine": 3,
        }
    )
    assert (own.tick_freq_s, own.bolt_on_error, own.debug, own.max_spout_pending) == (1.0, "crash", False, 7)
    assert own.workers == 2
    assert settings.for_component({}) == settings


def test_a_component_cannot_set_what_holds_for_the_whole_topology():
    [problem] = check_component_config({"topology.workers": 3}, place_of)
    assert "whole topology" in problem.message
    assert "topology.bolt.on.error" in problem.hint
    with pytest.raises(ConfigError, match="whole topology"):
        Settings().for_component({"topology.workers": 3})
