"""The yardstick: word count in three processes, written by hand without a framework.

It does the job that pystorm does, as fast as plain Python does it: source -> split -> count over ZeroMQ PUSH/PULL,
every word its own tracked tuple with its own edge id, a dict for the counts.

Theory: a sentence opens a tuple tree. Root id = its sequence number; its edge id is a random 64-bit number. Split draws
one edge id per word and acks the sentence with (sentence's edge XOR its words' edges); count acks each word with its
edge. Acks are merged by XOR per root per batch, then travel straight to the source, whose ledger maps each open root to
the XOR of all that it saw: zero means that every tuple of the tree was acked, in whatever order the acks came. The
source keeps at most `MAX_PENDING` trees open, which is all the flow control there is.

A batch is one msgpack value: ids as packed 64-bit arrays, then the list of strings. One packb per batch.
The clock runs from the first send, with all processes up and connected, to the last tree's completion; without acks, to
the arrival of count's word that it is done. Edge ids are never 0: a tuple with edge 0 would count as acked unseen.

Source: N. Marz's acker, https://storm.apache.org/releases/current/Guaranteeing-message-processing.html
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import chain, islice, repeat
from multiprocessing.connection import Connection, wait
from operator import xor
from typing import Any

import msgpack
import zmq

from benchmarks.workload import FULL_SIZE, difference, reference_counts, sentence_file

#: sentences per message; 250 and 500 were the fastest of 50 to 1,000, within a few percent of each other
BATCH_SIZE = 250
#: open trees, the same as topology.max.spout.pending of bench_wordcount.yaml
MAX_PENDING = 20_000
#: what ends a stream
STOP = b""
READY, DONE = b"ready", b"done"
#: a process that hears nothing for so long takes the run for stalled: a lost ack would otherwise hang it for ever
STALL_MS = 20_000

Role = Callable[["Wires"], dict[str, Any]]


class Wires:
    """One process's sockets and its settings. The address book is the directory of the ipc sockets."""

    def __init__(self, directory: str, path: str, tracked: bool, batch_size: int) -> None:
        self.directory, self.path, self.tracked, self.batch_size = directory, path, tracked, batch_size
        self.context = zmq.Context()
        self.context.setsockopt(zmq.RCVTIMEO, STALL_MS)

    def pull(self, name: str) -> zmq.Socket[bytes]:
        """The inbound socket of that name, bound."""
        socket: zmq.Socket[bytes] = self.context.socket(zmq.PULL)
        socket.bind(f"ipc://{self.directory}/{name}")
        return socket

    def push(self, name: str) -> zmq.Socket[bytes]:
        """An outbound socket, connected to that name."""
        socket: zmq.Socket[bytes] = self.context.socket(zmq.PUSH)
        socket.connect(f"ipc://{self.directory}/{name}")
        return socket


def random_ids(count: int) -> array[int]:
    """`count` random 64-bit ids, none of them 0."""
    ids = array("Q", os.urandom(8 * count))
    while 0 in ids:
        ids[ids.index(0)] = int.from_bytes(os.urandom(8), "little")
    return ids


def unpack_ids(data: bytes) -> array[int]:
    """The inverse of array.tobytes."""
    return array("Q", data)


def pack_acks(roots: Iterable[int], values: Iterable[int]) -> bytes:
    """The ack message of one batch: root ids, and beside them the XOR of the acks of each."""
    packed: bytes = msgpack.packb((array("Q", roots).tobytes(), array("Q", values).tobytes()))
    return packed


def settle(ledger: dict[int, int], message: bytes) -> None:
    """Apply one ack message to the ledger and drop the trees that it completes."""
    roots, values = msgpack.unpackb(message)
    for root, value in zip(unpack_ids(roots), unpack_ids(values), strict=True):
        rest = ledger[root] ^ value
        if rest:
            ledger[root] = rest
        else:
            del ledger[root]


def open_trees(ledger: dict[int, int], first: int, sentences: list[str]) -> bytes:
    """Enter a batch of sentences into the ledger; the message that carries them to split."""
    roots = array("Q", range(first, first + len(sentences)))
    edges = random_ids(len(sentences))
    ledger.update(zip(roots, edges, strict=True))
    packed: bytes = msgpack.packb((roots.tobytes(), edges.tobytes(), sentences))
    return packed


def split_tracked(message: bytes) -> tuple[bytes, bytes]:
    """A batch of sentences: the batch of their words for count, and the sentences' acks for the source."""
    root_bytes, edge_bytes, sentences = msgpack.unpackb(message)
    roots, edges = unpack_ids(root_bytes), unpack_ids(edge_bytes)
    parts = [sentence.split() for sentence in sentences]
    sizes = [len(part) for part in parts]
    word_edges = random_ids(sum(sizes))
    word_roots = array("Q", chain.from_iterable(map(repeat, roots, sizes)))
    values = []
    start = 0
    for edge, size in zip(edges, sizes, strict=True):
        values.append(reduce(xor, word_edges[start : start + size], edge))
        start += size
    words = list(chain.from_iterable(parts))
    return msgpack.packb((word_roots.tobytes(), word_edges.tobytes(), words)), pack_acks(roots, values)


def count_tracked(counts: dict[str, int], message: bytes) -> bytes:
    """Count a batch of words; the words' acks for the source."""
    root_bytes, edge_bytes, words = msgpack.unpackb(message)
    acks: dict[int, int] = {}
    ack_of, count_of = acks.get, counts.get
    for word, root, edge in zip(words, unpack_ids(root_bytes), unpack_ids(edge_bytes), strict=True):
        counts[word] = count_of(word, 0) + 1
        acks[root] = ack_of(root, 0) ^ edge
    return pack_acks(acks.keys(), acks.values())


def run_source(wires: Wires) -> dict[str, Any]:
    """The first process: read, send, and with acks keep the ledger. It also holds the clock."""
    acks = wires.pull("acks")
    for _ in range(2):
        acks.recv()  # one READY from each of the others
    out = wires.push("sentences")
    feed = feed_tracked if wires.tracked else feed_untracked
    with open(wires.path) as lines:
        cpu_before, started = time.process_time(), time.monotonic()
        sent = feed(lines, out, acks, wires.batch_size)
        finished = time.monotonic()
        out.send(STOP)
        if acks.recv() != DONE:
            raise RuntimeError("floor: an ack came after the last tree had completed")
        if not wires.tracked:
            finished = time.monotonic()
    return {"sent": sent, "seconds": finished - started, "cpu_s": time.process_time() - cpu_before}


def feed_untracked(lines: Iterable[str], out: zmq.Socket[bytes], _acks: zmq.Socket[bytes], batch_size: int) -> int:
    """Send every sentence and forget it; ZeroMQ's own high-water mark is the flow control."""
    lines, sent = iter(lines), 0
    while batch := list(islice(lines, batch_size)):
        out.send(msgpack.packb(batch))
        sent += len(batch)
    return sent


def feed_tracked(lines: Iterable[str], out: zmq.Socket[bytes], acks: zmq.Socket[bytes], batch_size: int) -> int:
    """Send every sentence as a tree of its own, and return when all trees are complete."""
    lines, sent = iter(lines), 0
    ledger: dict[int, int] = {}
    while batch := list(islice(lines, batch_size)):
        out.send(open_trees(ledger, sent, batch))
        sent += len(batch)
        while acks.poll(0) or len(ledger) > MAX_PENDING - batch_size:
            settle(ledger, acks.recv())
    while ledger:
        settle(ledger, acks.recv())
    return sent


def run_split(wires: Wires) -> dict[str, Any]:
    """The second process: sentences in, words out."""
    inbound, out, acks = wires.pull("sentences"), wires.push("words"), wires.push("acks")
    acks.send(READY)
    cpu_before = time.process_time()
    while message := inbound.recv():
        if wires.tracked:
            words, ack = split_tracked(message)
            out.send(words)
            acks.send(ack)
        else:
            out.send(msgpack.packb([word for sentence in msgpack.unpackb(message) for word in sentence.split()]))
    out.send(STOP)
    return {"cpu_s": time.process_time() - cpu_before}


def run_count(wires: Wires) -> dict[str, Any]:
    """The third process: words in, counts kept."""
    inbound, acks = wires.pull("words"), wires.push("acks")
    acks.send(READY)
    counts: dict[str, int] = {}
    count_of = counts.get
    cpu_before = time.process_time()
    while message := inbound.recv():
        if wires.tracked:
            acks.send(count_tracked(counts, message))
        else:
            for word in msgpack.unpackb(message):
                counts[word] = count_of(word, 0) + 1
    acks.send(DONE)
    return {"cpu_s": time.process_time() - cpu_before, "counts": counts}


ROLES: dict[str, Role] = {"source": run_source, "split": run_split, "count": run_count}


def peak_rss_mb() -> float:
    """This process's largest resident size so far, MB. Not getrusage: that survives exec, so it tells the parent's."""
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError("/proc/self/status has no VmHWM line; the benchmarks need Linux")


def child_main(role: str, report: Connection, settings: tuple[str, str, bool, int]) -> None:
    """What each of the three processes runs."""
    try:
        figures = ROLES[role](Wires(*settings))
    except zmq.Again:
        raise RuntimeError(
            f"floor: {role} heard nothing for {STALL_MS / 1000:g} s, a message or an ack is lost"
        ) from None
    report.send(figures | {"peak_rss_mb": peak_rss_mb()})


def run_children(settings: tuple[str, str, bool, int]) -> dict[str, dict[str, Any]]:
    """Start the three processes and collect what each reports.

    Raises:
        RuntimeError: one of them died; the others were stopped.
    """
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit the parent's peak memory
    reports: dict[str, dict[str, Any]] = {}
    children, roles = [], {}
    for role in ROLES:
        ours, theirs = spawn.Pipe(duplex=False)
        child = spawn.Process(target=child_main, args=(role, theirs, settings), name=f"floor-{role}", daemon=True)
        child.start()
        theirs.close()
        children.append(child)
        roles[ours] = role
    try:
        while roles:
            for ready in wait(list(roles)):
                assert isinstance(ready, Connection)
                role = roles.pop(ready)
                reports[role] = ready.recv()
    except EOFError:
        raise RuntimeError(f"floor: process {role!r} died; its error is printed above") from None
    finally:
        for child in children:
            if roles:
                child.terminate()
            child.join()
    return reports


def run_floor(count: int, *, tracked: bool = True, batch_size: int = BATCH_SIZE) -> dict[str, Any]:
    """One whole run.

    Args:
        count: sentences.
        tracked: with XOR acking; otherwise nothing is acked.
        batch_size: sentences per message, 1 to MAX_PENDING / 2.

    Returns:
        The figures as in the JSON line: seconds, words and sentences per second, CPU seconds and peak RSS per process.

    Raises:
        RuntimeError: a process died, or the counts are wrong.
    """
    if not 1 <= batch_size <= MAX_PENDING // 2:
        raise ValueError(f"the batch size must be 1..{MAX_PENDING // 2} sentences, got {batch_size}")
    path = sentence_file(count)
    reference = reference_counts(path)
    directory = tempfile.mkdtemp(prefix="floor-")
    try:
        reports = run_children((directory, str(path), tracked, batch_size))
    finally:
        shutil.rmtree(directory)
    wrong = difference(reports["count"].pop("counts"), reference)
    if wrong:
        raise RuntimeError(f"floor: {wrong}")
    source = reports["source"]
    seconds, sent = source.pop("seconds"), source.pop("sent")
    return {
        "benchmark": "floor",
        "guarantee": "at-least-once" if tracked else "none",
        "sentences": sent,
        "words": sum(reference.values()),
        "batch_size": batch_size,
        "seconds": round(seconds, 3),
        "words_per_s": round(sum(reference.values()) / seconds),
        "sentences_per_s": round(sent / seconds),
        "processes": {role: {key: round(value, 3) for key, value in reports[role].items()} for role in ROLES},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description="The hand-written word count.")
    parser.add_argument("--guarantee", choices=["at-least-once", "none"], default="at-least-once")
    parser.add_argument("--sentences", type=int, default=FULL_SIZE, metavar="N")
    parser.add_argument("--batch", type=int, default=BATCH_SIZE, metavar="N", help="sentences per message")
    options = parser.parse_args()
    tracked = options.guarantee == "at-least-once"
    print(json.dumps(run_floor(options.sentences, tracked=tracked, batch_size=options.batch)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
