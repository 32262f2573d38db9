"""What bolts hold and what spouts have read survives, however odd the moment."""

from __future__ import annotations

from tests.integration.support import Lab, kill, wait_until

MODULE = """\
import os

from pystorm import Bolt, KeyValueState, ReplayableSpout


class Numbers(ReplayableSpout):
    outputs = ["n"]

    def seek(self, partition, position):
        self.n = position or 0

    def next_tuple(self):
        if self.n == 60:
            self.finish()
            return
        self.n += 1
        self.emit([self.n], position=self.n)


class Holder(Bolt):
    outputs = ["n"]
    auto_ack = False

    def initialize(self, conf, context):
        self.held = []
        self.gate = conf["gate." + self.component_name]

    def process(self, tup):
        self.held.append(tup)

    def process_tick(self, tup):
        if os.path.exists(self.gate):
            for held in self.held:
                self.work_off(held)
                self.ack(held)
            self.held.clear()

    def work_off(self, tup):
        self.emit([tup.values.n], anchors=[tup])


class Counter(Holder):
    outputs = []
    counts = KeyValueState()

    def work_off(self, tup):
        self.counts[tup.values.n] = self.counts.get(tup.values.n, 0) + 1


class Parts(ReplayableSpout):
    outputs = ["line"]

    def __init__(self, folder):
        self.folder = folder

    def partitions(self):
        return sorted(name for name in os.listdir(self.folder) if name.endswith(".txt"))

    def initialize(self, conf, context):
        self.lines = {}

    def seek(self, partition, position):
        with open(os.path.join(self.folder, partition)) as file:
            self.lines[partition] = [(n, line) for n, line in enumerate(file, 1) if n > (position or 0)]

    def next_tuple(self):
        for partition, lines in self.lines.items():
            if lines:
                number, line = lines.pop(0)
                self.emit([line.strip()], position=number, partition=partition)
                return
        self.finish()


class Lines(Bolt):
    counts = KeyValueState()

    def process(self, tup):
        self.counts[tup.values.line] = self.counts.get(tup.values.line, 0) + 1
"""

HELD_YAML = """\
name: held
config:
  topology.guarantee: exactly-once
  topology.state.checkpoint.interval.ms: 100
  topology.tick.tuple.freq.secs: 0.05
  topology.message.timeout.secs: 60
  gate.first: "{folder}/open-first"
  gate.second: "{folder}/open-second"
spouts: [{{id: numbers, className: holding.Numbers}}]
bolts: [{{id: first, className: holding.Holder}}, {{id: second, className: holding.Counter}}]
streams:
  - {{from: numbers, to: first, grouping: shuffle}}
  - {{from: first, to: second, grouping: {{type: GLOBAL}}}}
"""

PARTS_YAML = """\
name: parts
config: {{topology.guarantee: exactly-once}}
spouts: [{{id: files, className: holding.Parts, constructorArgs: ["{folder}/parts"]}}]
bolts: [{{id: lines, className: holding.Lines}}]
streams: [{{from: files, to: lines, grouping: {{type: FIELDS, args: [line]}}}}]
"""


def test_a_run_does_not_end_while_tuples_made_after_a_rollback_are_held(lab: Lab) -> None:
    """Redelivered tuples belong to no tree, so neither do those that a bolt makes of them."""
    lab.write("holding.py", MODULE)
    run = lab.start(lab.write("held.yaml", HELD_YAML.format(folder=lab.folder)))
    run.wait_for_commit(position=59)
    assert kill(run.worker_of("second-0"))
    run.wait_for_workers(3, generation=2)
    run.wait_for_commit(after=run.wait_for_commit().epoch)
    lab.write("open-first", "")
    wait_until("the run to wait for the second bolt", lambda: "waiting for 60 tuples" in run.errors)
    lab.write("open-second", "")
    summary = run.wait()

    assert summary["outcome"] == "finished"
    assert lab.counts("held", "second") == dict.fromkeys(range(1, 61), 1)


def test_a_partition_that_is_missing_for_one_run_goes_on_where_it_was(lab: Lab) -> None:
    lab.write("holding.py", MODULE)
    file = lab.write("parts.yaml", PARTS_YAML.format(folder=lab.folder))
    folder = lab.folder / "parts"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.txt").write_text(f"{name}1\n{name}2\n")
    lab.run(file)
    (folder / "a.txt").rename(folder / "a.away")
    with (folder / "b.txt").open("a") as more:
        more.write("b3\n")
    lab.run(file)
    (folder / "a.away").rename(folder / "a.txt")
    lab.run(file)

    assert lab.counts("parts", "lines") == {"a1": 1, "a2": 1, "b1": 1, "b2": 1, "b3": 1}
