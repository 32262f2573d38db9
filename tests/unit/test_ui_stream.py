"""Writing to readers that are slow or gone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from pystorm.ui.stream import PatientStream


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """Read end and write end; a test that closes one takes it out of the list."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        os.close(end)


def fill(stream: PatientStream) -> int:
    """Write lines until one takes long because nobody reads; how many were written before it."""
    for number in range(10_000):
        before_s = time.monotonic()
        stream.write("x" * 999 + "\n")
        if time.monotonic() - before_s > 0.1:
            return number
    raise AssertionError("a pipe without end")


def drain(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    found = b""
    while True:
        try:
            found += os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return found.decode()


def test_a_slow_reader_costs_patience_once_and_learns_what_it_missed(pipe: list[int]) -> None:
    stream = PatientStream(pipe[1])
    written = fill(stream)
    before_s = time.monotonic()
    for _ in range(100):
        stream.write("lost\n")
    assert time.monotonic() - before_s < 0.1
    text = drain(pipe[0])
    assert "lost" not in text
    assert text.count("\n") == written
    stream.write("again\n")
    assert drain(pipe[0]) == "(101 messages left out: they were not read in time)\nagain\n"


def test_a_text_larger_than_the_pipe_is_written_as_far_as_it_fits(pipe: list[int]) -> None:
    stream = PatientStream(pipe[1])
    stream.write("y" * 1_000_000)
    assert set(drain(pipe[0])) == {"y"}


def test_a_reader_that_is_gone_is_forgotten(pipe: list[int]) -> None:
    os.close(pipe.pop(0))
    stream = PatientStream(pipe[0])
    stream.write("to nobody")
    stream.write("and again")
    assert os.write(pipe[0], b"others can write on too") == 23


def test_a_descriptor_that_does_not_block_is_waited_for_as_well(pipe: list[int]) -> None:
    os.set_blocking(pipe[1], False)
    stream = PatientStream(pipe[1])
    fill(stream)
    drain(pipe[0])
    stream.write("later\n")
    assert drain(pipe[0]).endswith("later\n")


def test_characters_that_the_encoding_lacks_are_escaped(pipe: list[int]) -> None:
    PatientStream(pipe[1], "ascii").write("Phænomena\n")
    assert drain(pipe[0]) == "Ph\\xe6nomena\n"


def test_a_closed_standard_error_is_a_stream_to_nowhere() -> None:
    stream = PatientStream(None)
    assert stream.write("text") == 4
    assert not stream.isatty()
