"""Topologies of several files."""

from __future__ import annotations

import pytest

from pystorm.errors import TopologyError
from pystorm.topology import flux
from pystorm.topology.loading import load_checked
from tests.unit.topologies.marked import changed, write_marked


def write(folder, **files):
    """Files by name without suffix, `main` first; returns the path of `main`."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "main.yaml"


def test_included_definitions_are_added_to_any_depth_and_found_relative_to_their_file(tmp_path):
    path = write(
        tmp_path,
        main="name: deep\nincludes: [{file: sub/one.yaml}]\n",
        sub__one="includes: [{file: more/two.yaml}]\nspouts: [{id: s, className: parts.SeekableSpout}]\n",
        sub__more__two="bolts: [{id: b, className: parts.CountBolt}]\nstreams: [{from: s, to: b, grouping: all}]\n",
    )
    topology = flux.load(path)
    assert (list(topology.components), [(e.source, e.target) for e in topology.edges]) == (["s", "b"], [("s", "b")])


def test_the_including_file_stays_unless_the_include_overrides(tmp_path):
    files = {
        "main": "name: m\nconfig: {a: 1}\nincludes: [{file: o.yaml, override: OVER}]\n"
        "spouts: [{id: s, className: p.Main}]\nstreams: [{from: s, to: b, grouping: all}]\n",
        "o": "name: o\nconfig: {a: 2, c: 3}\nspouts: [{id: s, className: p.Other}]\n"
        "streams: [{from: s, to: c, grouping: all}]\n",
    }
    kept = flux.load(write(tmp_path, **{**files, "main": files["main"].replace("OVER", "false")}))
    assert (kept.name, kept.config, kept.components["s"].spec.class_name) == ("m", {"a": 1, "c": 3}, "p.Main")
    replaced = flux.load(write(tmp_path, **{**files, "main": files["main"].replace("OVER", "true")}))
    assert (replaced.name, replaced.config) == ("o", {"a": 2, "c": 3})
    assert replaced.components["s"].spec.class_name == "p.Other"
    assert [edge.target for edge in replaced.edges] == [edge.target for edge in kept.edges] == ["b", "c"]


def test_placeholders_see_the_config_of_all_files_and_the_top_files_folder(tmp_path):
    path = write(
        tmp_path,
        main="name: m\nconfig: {folder: sub, n: 3}\nincludes: [{file: '${folder}/i.yaml'}]\n",
        sub__i="config: {word: x}\nspouts: [{id: s, className: p.S, parallelism: ${n},"
        " constructorArgs: [${topology.dir}, ${word}]}]\n",
    )
    component = flux.load(path).components["s"]
    assert (component.parallelism, component.spec.args) == (3, [str(tmp_path), "x"])


def test_a_file_that_is_reached_twice_is_read_once(tmp_path):
    path = write(
        tmp_path,
        main="name: m\nincludes: [{file: a.yaml}, {file: b.yaml}]\nspouts: [{id: s, className: p.S}]\n",
        a="includes: [{file: shared.yaml}]\n",
        b="includes: [{file: shared.yaml}]\n",
        shared="streams: [{from: s, to: b, grouping: all}]\n",
    )
    assert len(flux.load(path).edges) == 1


def test_flux_resources_are_files(tmp_path):
    path = write(
        tmp_path,
        main="name: m\nincludes:\n"
        "  - {resource: true, file: /configs/a.yaml, override: false}\n"
        "  - {resource: configs/b.yaml}\n",
        configs__a="spouts: [{id: s, className: p.S}]\n",
        configs__b="bolts: [{id: b, className: p.B}]\n",
    )
    assert list(flux.load(path).components) == ["s", "b"]


MISTAKES = {
    "missing": ("§nope.yaml", "does not exist", ""),
    "near": ("§man.yaml", "does not exist", "did you mean 'main.yaml'?"),
    "no directory": ("§nowhere/x.yaml", "does not exist", "no directory"),
    "itself": ("§main.yaml", "includes go in a circle", "remove"),
    "no name at all": ('§"a\\0b"', "does not exist", ""),
    "number": ("§5", "must be text, got 5", "quotes"),
    "override is text": ("x.yaml, override: §maybe", "must be true or false", ""),
    "unknown key": ("x.yaml, §overide: true", "unknown key 'overide'", "'override'"),
    "broken": ("x.yaml", "not valid YAML", "close"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_include_is_a_problem_at_its_place(tmp_path, name):
    value, message, advice = MISTAKES[name]
    (tmp_path / "x.yaml").write_text("a: [1" if name == "broken" else "config: {}\n")
    text = f"name: m\nincludes:\n  - {{file: {value}}}\nspouts: [{{id: s, className: p.S}}]\n"
    path, place = write_marked(tmp_path, text, "main.yaml")
    with pytest.raises(TopologyError) as caught:
        flux.load(path)
    [problem] = caught.value.problems
    assert (message in problem.message, advice in problem.hint) == (True, True), problem
    if name == "broken":
        assert problem.place.file == str(tmp_path / "x.yaml")
    else:
        assert problem.place == place


def test_a_circle_of_includes_names_the_chain(tmp_path):
    path = write(
        tmp_path,
        main="name: m\nincludes: [{file: a.yaml}]\n",
        a="includes: [{file: b.yaml}]\n",
        b="includes: [{file: a.yaml}]\n",
    )
    with pytest.raises(TopologyError) as caught:
        flux.load(path)
    [problem] = caught.value.problems
    assert f"{tmp_path}/main.yaml -> {tmp_path}/a.yaml -> {tmp_path}/b.yaml -> {tmp_path}/a.yaml" in problem.message
    assert (problem.place.file, problem.place.line, problem.place.column) == (str(tmp_path / "b.yaml"), 1, 19)


def test_problems_in_an_included_file_carry_its_name_and_come_after_the_top_files(tmp_path):
    (tmp_path / "inc.yaml").write_text("bolts:\n  - {id: extra, className: parts.CountBolt, paralelism: 2}\n")
    text = "includes: [{file: inc.yaml}]\n" + changed(("parallelism: 4", "parallelism: x"))
    path, _ = write_marked(tmp_path, text)
    with pytest.raises(TopologyError) as caught:
        load_checked(path)
    places = [(problem.place.file, problem.place.line) for problem in caught.value.problems]
    assert places == [(str(path), 15), (str(tmp_path / "inc.yaml"), 2), (str(tmp_path / "inc.yaml"), 2)]
