"""The JSON Schema of topology files accepts what the loader accepts, and refuses what it can tell is wrong.

To bring the stored schema up to date: `python -m tests.unit.test_schema_topology` from the checkout.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner

from pystorm.cli.schema import schema
from pystorm.errors import TopologyError
from pystorm.topology import flux, validation
from pystorm.topology.loading import load_checked
from pystorm.topology.model import GroupingType
from pystorm.topology.options import OPTIONS, Option
from pystorm.topology.schema import topology_schema
from pystorm.topology.storm_keys import NO_EFFECT_KEYS
from pystorm.topology.yaml_source import parse_yaml, value_of
from tests.unit import test_topology_flux, test_topology_validation
from tests.unit.topologies.marked import GOOD, changed, write_marked

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "docs" / "reference" / "topology.schema.json"
SCHEMA = topology_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def stored_form() -> str:
    return json.dumps(SCHEMA, indent=2) + "\n"


def complaints(text: str) -> list[str]:
    """What the schema says to a file, read as the loader reads it."""
    node = parse_yaml(text, "file.yaml", [])
    assert node is not None
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message:.200}" for e in VALIDATOR.iter_errors(value_of(node))]


def loads(folder: Path, text: str) -> bool:
    path, _ = write_marked(folder, text)
    try:
        load_checked(path)
    except TopologyError:
        return False
    return True


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_stored_schema_is_up_to_date() -> None:
    assert STORED.read_text(encoding="utf-8") == stored_form(), "run python -m tests.unit.test_schema_topology"


def test_the_command_prints_the_schema() -> None:
    assert CliRunner().invoke(schema).output == stored_form()


# what loads is accepted


SHIPPED = sorted([*(ROOT / "topologies").glob("*.yaml"), *(ROOT / "tests").rglob("*.yaml")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_topology_file_of_the_checkout_is_accepted(path: Path) -> None:
    assert complaints(path.read_text(encoding="utf-8")) == []


PAGES = sorted((ROOT / "docs").rglob("*.md"))
EXAMPLES = [
    (page.name, found)
    for page in PAGES
    for found in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    if found.startswith("name:")
]


@pytest.mark.parametrize("text", [text for _, text in EXAMPLES], ids=[name for name, _ in EXAMPLES])
def test_every_topology_in_the_documentation_is_accepted(text: str) -> None:
    assert complaints(text) == []


PLACEHOLDERS = """\
name: "p-${a}"
config: {a: 1, n: 2, all: [], topology.workers: "${n}", topology.debug: "${d}", topology.guarantee: "${g}"}
includes: [{file: "${a}.yaml"}, {file: a.yaml, resource: true, override: true}, {resource: /b.yaml}]
spouts: ${spouts}
bolts:
  - ${bolt}
  - {id: "${a}", className: "m.${a}", constructorArgs: "${all}", parallelism: ${n}, config: ${c}, properties: ${all}}
streams:
  - {from: a, to: b, grouping: ${g}}
  - {from: a, to: b, grouping: {type: "${g}", args: ${all}, streamId: "${s}"}}
"""

FORMS = {
    "all of Flux": test_topology_flux.FULL,
    "sections without content": "name: x\nconfig:\nspouts:\nbolts:\nstreams:\nincludes:\n",
    "placeholders": PLACEHOLDERS,
    "custom grouping": changed(
        ("{type: SHUFFLE}", "{type: custom, customClass: {className: parts.ByLength, constructorArgs: [3]}}")
    ),
    "no args": changed(("{type: SHUFFLE}", "{type: SHUFFLE, args: }")),
    "a part of a file": "bolts:\n  - {id: a, className: m.A}\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_that_the_loader_reads_is_accepted(text: str) -> None:
    assert complaints(text) == []


@pytest.mark.parametrize("kind", [kind for kind in GroupingType if kind is not GroupingType.CUSTOM])
@pytest.mark.parametrize("form", ["{}", "{{type: {}}}", "{{type: {}, args: [word]}}"])
def test_a_grouping_is_accepted_if_and_only_if_the_loader_takes_its_form(tmp_path: Path, kind: Any, form: str) -> None:
    for name in (kind.value, kind.value.lower(), kind.value.title().replace("_", "-")):
        text = changed(("{type: FIELDS, args: [word]}", form.format(name)))
        # Whether a stream is direct is not the grouping's form.
        is_free = kind is GroupingType.DIRECT and "args" not in form
        assert (complaints(text) == []) == (is_free or loads(tmp_path, text)), name


# what is wrong is refused


#: Mistakes that need more than the file to be seen: Python, ids, a second look at the whole file.
UNSEEN = {
    "no name", "name with a slash", "duplicate key", "unknown ref", "misspelt prefix",
    "class misspelt", "module misspelt", "no module", "Java class", "no class", "bolt among spouts",
    "neither spout nor bolt", "no process", "malformed outputs", "unknown argument", "missing argument", "no arguments",
    "too many arguments", "arguments for none", "unknown method", "method's arguments", "unseekable spout",
    "parallelism of a keyed bolt", "unknown from", "unknown field", "unknown stream",
    "no dead letters", "declared twice", "direct grouping of a plain stream",
    "plain grouping of a direct stream", "custom class misspelt",
}  # fmt: skip


@pytest.mark.parametrize("name", test_topology_validation.MISTAKES)
def test_a_mistake_that_the_loader_finds_is_refused_if_the_file_shows_it(name: str) -> None:
    old, new, *_ = test_topology_validation.MISTAKES[name]
    text = changed((old, new)).replace("§", "")
    assert bool(complaints(text)) == (name not in UNSEEN), (
        f"{name}: if the file alone does not show it, add it to UNSEEN"
    )


UNKNOWN_KEYS = {
    "top": ("streams:", "strems:"),
    "spout": ("constructorArgs:", "constructorArg:"),
    "bolt": ("parallelism: 2", "paralelism: 2"),
    "stream": ("{from: split, to", "{form: split, to"),
    "grouping": ("args: [word]", "arguments: [word]"),
    "property": ("parallelism: 2", "properties: [{name: a, values: 1}]"),
    "method": ("parallelism: 2", "configMethods: [{name: a, arg: []}]"),
    "component": ("spouts:", "components: [{id: a, className: parts.Store, parallelism: 2}]\nspouts:"),
    "include": ("spouts:", "includes: [{file: a.yaml, overide: true}]\nspouts:"),
    "config": ("topology.workers: 2", "topology.worker: 2"),
    "pystorm config": ("topology.workers: 2", "pystorm.log.levl: info"),
    "component config": ("parallelism: 2", "config: {topology.tick.freq.secs: 2}"),
    "topology's config in a component": ("parallelism: 2", "config: {topology.workers: 2}"),
    "custom class": ("{type: SHUFFLE}", "{type: CUSTOM, customClass: {class: parts.ByLength}}"),
}


@pytest.mark.parametrize("name", UNKNOWN_KEYS)
def test_an_unknown_key_is_refused_by_the_loader_and_by_the_schema(tmp_path: Path, name: str) -> None:
    assert complaints(GOOD) == []
    text = changed(UNKNOWN_KEYS[name])
    assert complaints(text)
    assert not loads(tmp_path, text)


# configuration


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_a_configuration_key_takes_the_same_values_in_both(tmp_path: Path, option: Option) -> None:
    default = getattr(option.default, "value", option.default)
    values = [default, None, True, 0, -1, 1, 2.5, 10**9, "x", "", [1], {"a": 1}, *option.choices]
    values += [choice.upper() for choice in option.choices]
    values += [limit + step for limit in (option.minimum, option.maximum) if limit is not None for step in (-1, 0, 1)]
    for value in values:
        if dict in option.types and isinstance(value, str):
            continue  # a JSON text; the schema does not read it
        config = yaml.safe_dump({option.key: value}, default_flow_style=True).strip()
        text = GOOD.replace("config:\n  topology.workers: 2", f"config: {config}")
        path = tmp_path / "words.yaml"
        path.write_text(text, encoding="utf-8")
        problems = [p for p in check_config_of(path) if option.key in p]
        assert bool(complaints(text)) == bool(problems), (value, problems, complaints(text))


def check_config_of(path: Path) -> list[str]:
    loaded, problems = flux.read(path)
    assert loaded is not None
    assert not problems
    return [problem.message for problem in validation.check(loaded.topology) if "config key" in problem.message]


@pytest.mark.parametrize("key", sorted(NO_EFFECT_KEYS | {"nimbus.seeds", "own.key", "own"}))
def test_keys_that_mean_nothing_here_are_accepted(key: str) -> None:
    assert complaints(f"name: x\nconfig: {{{key}: [1]}}\n") == []


def test_every_key_tells_editors_what_it_means() -> None:
    config = SCHEMA["$defs"]["config"]["properties"]
    assert set(config) == {option.key for option in OPTIONS}
    assert all(entry["description"] and "default" in entry for entry in config.values())
    assert all("description" in entry for entry in SCHEMA["properties"].values())


if __name__ == "__main__":
    STORED.write_text(stored_form(), encoding="utf-8")
