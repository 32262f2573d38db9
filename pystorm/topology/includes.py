"""A topology file and the files that it includes, as one document.

Theory of operation: every file is read on its own; then the `config` of all of them is merged, so that placeholders in
any file see it; then placeholders are replaced in every file; then the sections are merged. Merging follows Flux: an
included definition is added, unless the including file has one of the same id (or config key), which stays, or with
`override: true` gives way to it. Streams have no id and are always added. Unlike Flux, includes nest to any depth, and
a file that is reached on two ways is read once.

Source: Flux's includes (apache/storm docs/flux.md, FluxParser.java).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pystorm.errors import Place, Problem
from pystorm.topology.config import is_config_key, shown
from pystorm.topology.node_reader import Entries, NodeReader
from pystorm.topology.substitution import Substitution, name_hint
from pystorm.topology.suggest import hint
from pystorm.topology.yaml_source import MapNode, Node, ScalarNode, node_of, read_yaml, value_of

#: Sections whose entries are lists of definitions with an id.
DEFINITIONS = ("components", "spouts", "bolts")
TOP_KEYS = ("name", "config", "includes", *DEFINITIONS, "streams")
_NOT_SUPPORTED = {
    "topologySource": "not supported: give the Python file with the Topology class in place of the YAML file",
    "workerHooks": "not supported: do the work in a component's initialize and cleanup",
}

Entry = tuple[ScalarNode, Node]


@dataclass(slots=True)
class SourceFile:
    """One file of a topology, its includes read."""

    root: MapNode
    #: the included files, each with its `override`
    includes: list[tuple[SourceFile, bool]] = field(default_factory=list)

    def section(self, name: str) -> Node | None:
        """A top-level entry."""
        return self.root.get(name)


@dataclass(slots=True)
class Document:
    """All the files of a topology merged, placeholders replaced."""

    #: where the topology begins
    place: Place
    name: Node | None = None
    config: dict[str, Entry] = field(default_factory=dict)
    #: the items of `components`, `spouts` and `bolts`
    definitions: dict[str, list[Node]] = field(default_factory=lambda: {kind: [] for kind in DEFINITIONS})
    streams: list[Node] = field(default_factory=list)


def read_document(
    path: Path, overrides: Mapping[str, Any], env: Mapping[str, str], problems: list[Problem]
) -> Document | None:
    """The merged document of a topology file, or None if not even its outline can be read.

    Args:
        path: the topology file.
        overrides: what the command line set; keys of configuration go to `config`, others stand for placeholders.
        env: the environment, for `${ENV-NAME}`.
        problems: gets what is wrong.
    """
    directory = os.path.abspath(path.parent)
    files = _FileReader(NodeReader(problems), overrides, env, directory)
    top = files.read(path, ())
    if top is None:
        return None
    config = _merged_config(top, files.reader)
    values = dict(overrides)
    for key in [key for key in overrides if is_config_key(key) or key in config]:
        place = Place(f"--set {key}")
        config[key] = (ScalarNode(place, key, key), node_of(values.pop(key), place))
    nodes = {key: value for key, (_, value) in config.items() if isinstance(key, str)}
    substitution = Substitution(values=values, config=nodes, env=env, directory=directory, problems=problems)
    document = _merged(_substituted(top, substitution), files.reader)
    document.config = {key: (name, substitution.apply(value)) for key, (name, value) in config.items()}
    _report_unused(values, substitution.used | files.used, config, problems)
    return document


class _FileReader:
    """Reads a file and, depth first, the files that it includes."""

    def __init__(
        self, reader: NodeReader, overrides: Mapping[str, Any], env: Mapping[str, str], directory: str
    ) -> None:
        self.reader = reader
        self._overrides = overrides
        self._env = env
        self._directory = directory
        self._seen: set[str] = set()
        self.used: set[str] = set()

    def read(self, path: Path, chain: tuple[Path, ...]) -> SourceFile | None:
        """The file at `path`, included by the files of `chain` from the top down."""
        self._seen.add(_real(path))
        root = read_yaml(path, self.reader.problems)
        if root is None:
            return None
        if not isinstance(root, MapNode):
            self.reader.report("a topology file must be a map", root.place, "begin it with `name: ...`")
            return None
        self._check_keys(root)
        source = SourceFile(root)
        for item in self.reader.items(root.get("includes"), "includes", "write `- file: other.yaml`"):
            self._include(source, item, (*chain, path))
        return source

    def _check_keys(self, root: MapNode) -> None:
        names = (*TOP_KEYS, *_NOT_SUPPORTED)
        self.reader.entries(root, "topology file", names)
        for key, _ in root.entries:
            if key.value in _NOT_SUPPORTED:
                self.reader.report(f"{key.value} is {_NOT_SUPPORTED[key.value]}", key.place)

    def _include(self, source: SourceFile, item: Node, chain: tuple[Path, ...]) -> None:
        fields = self.reader.entries(
            self._substitution(source).apply(item), "include", ("file", "resource", "override")
        )
        override = self.reader.boolean(fields["override"][1], "override", False) if "override" in fields else False
        name, is_resource = self._target(fields, item.place)
        if not name:
            return
        target = self._find(name[0], chain[-1].parent, is_resource)
        real = _real(target)
        if real in {_real(path) for path in chain}:
            names = " -> ".join(str(path) for path in (*chain, target))
            self.reader.report(f"includes go in a circle: {names}", name[1], "remove one of them")
        elif real not in self._seen:
            if not os.path.isfile(target):
                self.reader.report(f"the included file {str(target)!r} does not exist", name[1], _near(target))
                return
            included = self.read(target, chain)
            if included:
                source.includes.append((included, override))

    def _target(self, fields: Entries, place: Place) -> tuple[tuple[str, Place] | None, bool]:
        """The included file's name with its place, and whether it is one of Flux's resources.

        Flux has `file: name` and `resource: true`, which says that the name is looked up on the class path; a name
        under `resource` is what people try.
        """
        resource = fields.get("resource")
        is_resource = resource is not None
        if resource and not (isinstance(resource[1], ScalarNode) and isinstance(resource[1].value, bool)):
            if "file" in fields:
                self.reader.report("an include has either `file` or `resource`", resource[0], "remove one of them")
            node = resource[1]
        elif "file" in fields:
            node = fields["file"][1]
            is_resource = bool(resource and isinstance(resource[1], ScalarNode) and resource[1].value)
        else:
            self.reader.report("an include needs `file`", place, "write `- file: other.yaml`")
            return None, False
        name = self.reader.text(node, "the included file's name")
        return ((name, node.place) if name else None), is_resource

    def _find(self, name: str, folder: Path, is_resource: bool) -> Path:
        """Where an included file is: beside the file that includes it; a resource also beside the top file."""
        if not is_resource:
            return folder / name
        relative = name.lstrip("/")
        beside = folder / relative
        return (
            beside if beside.is_file() else next((p for p in [Path(self._directory) / relative] if p.is_file()), beside)
        )

    def _substitution(self, source: SourceFile) -> Substitution:
        """What placeholders in the names of included files can see: the including file's own config."""
        own = source.section("config")
        entries = own.entries if isinstance(own, MapNode) else ()
        config = {key.value: value for key, value in entries if isinstance(key.value, str)}
        substitution = Substitution(
            values=self._overrides,
            config=config,
            env=self._env,
            directory=self._directory,
            problems=self.reader.problems,
        )
        substitution.used = self.used
        return substitution


def _real(path: Path) -> str:
    """What makes two paths one file. A name with a NUL character is nobody's."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return str(path)


def _near(path: Path) -> str:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if entry.suffix in {".yaml", ".yml"})
    except (OSError, ValueError):
        return f"there is no directory {str(path.parent)!r} either"
    return hint(path.name, names)


def _merged_config(source: SourceFile, reader: NodeReader) -> dict[str, Entry]:
    own = source.section("config")
    config: dict[str, Entry] = {}
    if isinstance(own, MapNode):
        config = {key.value: (key, value) for key, value in own.entries}
    elif own is not None and value_of(own) is not None:
        reader.report(f"config must be a map, got {shown(value_of(own))}", own.place, "write `key: value` lines")
    for included, override in source.includes:
        for name, entry in _merged_config(included, reader).items():
            if override or name not in config:
                config[name] = entry
    return config


def _substituted(source: SourceFile, substitution: Substitution) -> SourceFile:
    """A file with placeholders replaced, but for its config and includes, which are done on their own."""
    entries = tuple(
        (key, node if key.value in ("config", "includes") else substitution.apply(node))
        for key, node in source.root.entries
    )
    includes = [(_substituted(included, substitution), override) for included, override in source.includes]
    return SourceFile(MapNode(source.root.place, entries), includes)


def _merged(source: SourceFile, reader: NodeReader) -> Document:
    document = Document(name=source.section("name"), place=source.root.place)
    for kind in DEFINITIONS:
        document.definitions[kind] = list(reader.items(source.section(kind), kind, "write `- id: ...`"))
    document.streams = list(reader.items(source.section("streams"), "streams", "write `- {from: ..., to: ...}`"))
    for included, override in source.includes:
        other = _merged(included, reader)
        if other.name and (override or document.name is None):
            document.name = other.name
        for kind in DEFINITIONS:
            _merge_definitions(document.definitions[kind], other.definitions[kind], override)
        document.streams += other.streams
    return document


def _merge_definitions(own: list[Node], included: list[Node], override: bool) -> None:
    """Add the included definitions; of two with one id, the including file's stays unless `override`."""
    index_by_id = {_id_of(item): index for index, item in enumerate(own) if _id_of(item)}
    for item in included:
        index = index_by_id.get(_id_of(item))
        if index is None:
            own.append(item)
        elif override:
            own[index] = item


def _id_of(item: Node) -> str | None:
    found = item.get("id") if isinstance(item, MapNode) else None
    return found.value if isinstance(found, ScalarNode) and isinstance(found.value, str) else None


def _report_unused(
    values: Mapping[str, Any], used: set[str], config: Mapping[str, Entry], problems: list[Problem]
) -> None:
    """A name that was set and that nothing asks for is a typing mistake."""
    for name in values:
        if name not in used and not any(asked.startswith(f"{name}[") for asked in used):
            known = {asked for asked in used if not asked.startswith("ENV-")} | set(map(str, config))
            advice = name_hint(name, known) or "to hand a value to components, declare it under config first"
            problems.append(Problem(f"no placeholder ${{{name}}} uses it", Place(f"--set {name}"), advice))
