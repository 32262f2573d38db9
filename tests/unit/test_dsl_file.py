"""A Python file with a Topology class is accepted wherever a YAML file is."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystorm.errors import Place, TopologyError
from pystorm.topology.loading import load_checked, read

#: Lines 1 to 18 of every file here.
PARTS = """\
from pystorm import Bolt, Grouping, Spout, Topology


class Words(Spout):
    outputs = ["word"]

    def __init__(self, path="a.txt"):
        self.path = path

    def next_tuple(self):
        self.finish()


class Count(Bolt):
    def process(self, tup):
        pass


"""

GOOD = """\
class WordCount(Topology):
    config = {"topology.workers": 2, "own": "x"}

    words = Words.spec(args={"path": "b.txt"})
    count = Count.spec(
        inputs={words: Grouping.fields("word")}, par={"prod": 8, "beta": 2}
    )
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the parts and a topology into a file; returns its path."""

    def write_file(text: str, name: str = "sample.py") -> Path:
        path = tmp_path / name
        path.write_text(PARTS + text, encoding="utf-8")
        return path

    return write_file


def complaints(path: Path, overrides: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(TopologyError) as caught:
        load_checked(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def test_a_python_file_loads_as_a_checked_topology(write: Write, tmp_path: Path) -> None:
    path = write(GOOD)
    topology = load_checked(path, {"env": "prod"}).topology
    assert (topology.name, topology.file, topology.directory) == ("sample", str(path), str(tmp_path))
    assert topology.components["words"].spec.class_name == "sample.Words"
    assert topology.components["count"].parallelism == 8
    assert topology.config == {"topology.workers": 2, "own": "x"}


def test_the_name_can_be_set_in_the_class(write: Write) -> None:
    assert load_checked(write(GOOD + '    name = "other"\n'), {"env": "beta"}).topology.name == "other"


def test_a_component_may_be_called_name(write: Write) -> None:
    path = write("class T(Topology):\n    name = Words.spec()\n    count = Count.spec(inputs=[name])\n")
    topology = load_checked(path).topology
    assert (topology.name, list(topology.components)) == ("sample", ["name", "count"])


def test_set_changes_configuration(write: Write) -> None:
    overrides = {"env": "beta", "topology.workers": 3, "own": [1], "topology.debug": True}
    config = load_checked(write(GOOD), overrides).topology.config
    assert config == {"topology.workers": 3, "own": [1], "topology.debug": True}


def test_the_topology_may_be_in_a_file_that_imports_it(write: Write, tmp_path: Path) -> None:
    write(GOOD)
    alias = tmp_path / "alias.py"
    alias.write_text("from sample import WordCount\n", encoding="utf-8")
    topology = load_checked(alias, {"env": "beta"}).topology
    assert (topology.name, topology.components["words"].spec.class_name) == ("alias", "sample.Words")


def test_a_streamparse_project_has_its_components_in_src(write: Write, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "topologies").mkdir()
    write("", "src/project_parts.py")
    path = tmp_path / "topologies" / "project.py"
    text = "from project_parts import Grouping, Topology, Words\n\n\nclass T(Topology):\n    words = Words.spec()\n"
    path.write_text(text, encoding="utf-8")
    assert load_checked(path).topology.components["words"].spec.class_name == "project_parts.Words"


def column(number: int) -> int:
    """A column that frames tell from Python 3.11 on; before, the line is all they know."""
    return number if sys.version_info >= (3, 11) else 1


def test_places_are_those_of_the_spec_calls(write: Write) -> None:
    path = write(GOOD)
    loaded, problems = read(path, {"env": "beta"})
    assert loaded is not None
    assert not problems
    words, count = Place(str(path), 22, column(13)), Place(str(path), 23, column(13))
    assert loaded.places["component", "words"] == words == loaded.topology.components["words"].place
    assert loaded.places["component", "count"] == count == loaded.topology.components["count"].place
    assert loaded.places["edge", "0"] == count
    assert loaded.places["name",] == Place(str(path), 19, 1)


def test_a_file_named_relative_to_the_folder_is_named_so_in_places(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("class T(Topology):\n    words = Words.spec(par=0)\n", "relative.py")
    monkeypatch.chdir(tmp_path)
    assert complaints(Path("relative.py")) == [f"relative.py:20:{column(13)}: Words: par must be at least 1, got 0"]


MISTAKES = {
    "no topology": ("", "sample.py: this is a Python file without a Topology class; write `class Name"),
    "two topologies": (
        "class One(Topology):\n    a = Words.spec()\n\n\nclass Two(Topology):\n    a = Words.spec()\n",
        "sample.py:23:1: the file has 2 topologies: One, Two; put each into a file of its own",
    ),
    "syntax": ("class T(Topology)\n    pass\n", "sample.py:19:18: not valid Python: expected ':'"),
    "exception": (
        "def f():\n    return 1 / 0\n\n\nf()\n",
        "sample.py:20:12: the file cannot be run: ZeroDivisionError: ",
    ),
    "exit": ("raise SystemExit(3)\n", "sample.py:19:1: the file cannot be run: SystemExit: 3"),
    "streamparse": (
        "import streamparse\n",
        "sample.py:19:1: the file cannot be run: ModuleNotFoundError: .*from pystorm",
    ),
    "missing module": (
        "import no_such_module\n",
        "No module named 'no_such_module'; it is looked for in .* and on Python",
    ),
    "misspelt name": ("from pystorm import Groupin\n", r"cannot import name 'Groupin' .*; did you mean 'Grouping'\?"),
    "spec": ("class T(Topology):\n    words = Words.spec(par=0)\n", r"sample.py:20:13: Words: par must be at least 1"),
    "class": (
        "class T(Topology):\n    words = Words.spec()\n    count = Count.spec()\n",
        r"sample.py:21:13: bolt Count 'count': it has no inputs; ",
    ),
    "config": (
        'class T(Topology):\n    config = {"topology.wrokers": 2}\n    words = Words.spec()\n',
        r"sample.py:19:1: unknown config key 'topology.wrokers'; did you mean 'topology.workers'\?",
    ),
    "component config": (
        'class T(Topology):\n    words = Words.spec(config={"topology.workers": 2})\n',
        r"sample.py:20:13: spout 'words': config key 'topology.workers' holds for the whole topology",
    ),
    "config of no plain data": (
        "class T(Topology):\n    config = {'own': {1}}\n    words = Words.spec()\n",
        r"sample.py:19:1: config must be plain data, got \{1\}",
    ),
    "argument": (
        'class T(Topology):\n    words = Words.spec(args={"pth": 1})\n',
        r"sample.py:20:13: spout 'words': Words\(path=...\) has no argument 'pth'; did you mean 'path'\?",
    ),
    "guarantee": (
        'class T(Topology):\n    config = {"topology.guarantee": "exactly-once"}\n    words = Words.spec()\n',
        r"sample.py:21:13: spout 'words': exactly-once needs spouts that can be read again",
    ),
    "grouping": (
        "class T(Topology):\n    words = Words.spec()\n    count = Count.spec(inputs={words: Grouping.DIRECT})\n",
        r"sample.py:21:13: stream words -> count: grouping DIRECT needs a direct stream",
    ),
    "class in a function": (
        "def f():\n    class Inner(Words):\n        pass\n    return Inner\n\n\n"
        "class T(Topology):\n    words = f().spec()\n",
        r"sample.py:26:13: spout Inner 'words': its class is written inside another class or a function",
    ),
    "java": (
        "from pystorm import JavaBolt\n\n\nclass T(Topology):\n    count = JavaBolt.spec(full_class_name='a.B')\n",
        r"sample.py:23:13: a JavaBolt cannot run here; there is no JVM here",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_place(write: Write, text: str, message: str) -> None:
    [found] = complaints(write(text))
    message = re.sub(r"(sample\.py:\d+):(1[23])", lambda match: f"{match[1]}:{column(int(match[2]))}", message)
    assert re.search(message, found), found


def test_a_name_that_nothing_uses_is_a_mistake(write: Write) -> None:
    [found] = complaints(write(GOOD), {"env": "beta", "path": "x"})
    assert found.startswith("--set path: nothing in the topology is named 'path'; to hand a value to components")


def test_an_environment_without_a_par_that_asks_for_it_is_a_mistake(write: Write) -> None:
    [found] = complaints(write("class T(Topology):\n    words = Words.spec()\n"), {"env": "prod"})
    assert found.startswith("--set env: nothing in the topology is named 'env'")


def test_a_bad_value_of_set_has_its_place(write: Write) -> None:
    [found] = complaints(write(GOOD), {"env": "beta", "topology.workers": 0})
    assert found.startswith("--set topology.workers: config key 'topology.workers' must be a whole number")


def test_a_file_named_like_a_module_of_python_is_refused(write: Write) -> None:
    [found] = complaints(write(GOOD, "json.py"))
    assert re.search(r"json\.py: Python has another module 'json'; give the file another name", found)


def test_a_file_whose_components_nobody_could_import_is_refused(write: Write) -> None:
    [found] = complaints(write(GOOD, "word-count.py"), {"env": "beta"})
    assert re.search(r"workers cannot import a module named 'word-count'; give the file a name of letters", found)


def test_a_python_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    [found] = complaints(tmp_path / "none.py")
    assert found.startswith(f"{tmp_path / 'none.py'}: there is no such file")


def test_a_yaml_file_cannot_include_a_python_file(write: Write, tmp_path: Path) -> None:
    write(GOOD)
    path = tmp_path / "top.yaml"
    path.write_text("name: top\nincludes: [{file: sample.py}]\n", encoding="utf-8")
    assert any("which a YAML file cannot include" in found for found in complaints(path))


def test_what_the_file_prints_does_not_go_to_standard_output(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    load_checked(write(GOOD + 'print("hello")\n'), {"env": "beta"})
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_the_example_of_the_reference_loads(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "reference" / "dsl.md"
    [example] = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "example.py"
    path.write_text(example, encoding="utf-8")
    topology = load_checked(path).topology
    assert [component.id for component in topology.components.values()] == ["words", "sort", "count", "long"]
    assert [component.parallelism for component in topology.components.values()] == [1, 1, 2, 1]
