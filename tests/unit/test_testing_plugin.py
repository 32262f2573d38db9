"""The pytest plugin: fixtures in a test run of its own, and nothing loaded that nobody asked for."""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

TESTS = """
from pystorm import Bolt, ReplayableSpout
from pystorm.testing import TICK


class Upper(Bolt):
    outputs = ["word"]

    def process(self, tup):
        self.emit([tup.values[0].upper()])


class Letters(ReplayableSpout):
    outputs = ["letter"]

    def seek(self, partition, position):
        self.next = position or 0

    def next_tuple(self):
        if self.next == 3:
            self.finish()
            return
        self.next += 1
        self.emit(["abc"[self.next - 1]], position=self.next)


def test_bolt(run_bolt, check_bolt):
    assert run_bolt(Upper, [["a"]]).emitted == [["A"]]
    check_bolt(Upper, [["a"], ["b"]])


def test_spout(run_spout, check_spout):
    assert run_spout(Letters).emitted == [["a"], ["b"], ["c"]]
    check_spout(Letters)


def test_topology(topology_tester):
    t = topology_tester("upper.yaml", inputs={"letters": [["x"]]})
    t.run()
    t.assert_emitted("upper", [["X"]])


def test_it_fails(topology_tester):
    t = topology_tester("upper.yaml")
    t.run()
    t.assert_emitted("upper", [["A"], ["B"], ["D"]])
"""

TOPOLOGY = """
name: upper
spouts: [{id: letters, className: test_fixtures.Letters}]
bolts: [{id: upper, className: test_fixtures.Upper}]
streams: [{from: letters, to: upper, grouping: shuffle}]
"""


def plugin_options() -> list[str]:
    """pytest's options for the plugin, where the installed pystorm is older than its entry point."""
    installed = {entry.value for entry in importlib.metadata.entry_points(group="pytest11")}
    return [] if "pystorm.testing.plugin" in installed else ["-p", "pystorm.testing.plugin"]


def pytest_in(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin_options(), *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_fixtures_do_what_the_functions_do_and_failures_show_both_sides(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "upper.yaml").write_text(TOPOLOGY)
    (tmp_path / "test_fixtures.py").write_text(TESTS)

    done = pytest_in(tmp_path, str(tmp_path))

    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert "! ['D']    | ['C']" in done.stdout


def test_the_plugin_is_an_entry_point_that_can_be_imported() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    [line] = config["options.entry_points"]["pytest11"].strip().splitlines()
    name, _, module = line.partition(" = ")
    assert name == "pystorm"
    assert inspect.ismodule(importlib.import_module(module))


def test_loading_the_plugin_loads_neither_the_engine_nor_its_libraries() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import pystorm.testing.plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout
    assert "pystorm.testing.plugin" in loaded
    for name in ("zmq", "redis", "yaml", "rich", "'pystorm.worker", "'pystorm.testing.tester"):
        assert name not in loaded, name
