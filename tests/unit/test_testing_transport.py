"""The queues in memory behave as ZeroMQ's inproc sockets do: the same tests over both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from pystorm.testing.clock import Clock, virtual_time
from pystorm.testing.transport import MemoryContext


class Sockets:
    """Makes sockets and closes them all at the end."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.made: list[Any] = []

    def socket(self, kind: int) -> Any:
        self.made.append(self.context.socket(kind))
        return self.made[-1]

    def close(self) -> None:
        for socket in self.made:
            socket.close(linger=0)
        self.context.destroy(linger=0)


@pytest.fixture(params=[MemoryContext, zmq.Context], ids=["memory", "zeromq"])
def context(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = Sockets(request.param())
    yield made
    made.close()


def pull(context: Any, endpoint: str) -> Any:
    socket = context.socket(zmq.PULL)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.bind(endpoint)
    return socket


def push(context: Any, endpoint: str) -> Any:
    socket = context.socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.connect(endpoint)
    return socket


def test_frames_of_one_sender_arrive_at_once_and_in_order(context: Any) -> None:
    inbound = pull(context, "inproc://a")
    outbound = push(context, "inproc://a")
    for number in range(2000):
        outbound.send(b"%d" % number, zmq.NOBLOCK, True)
    assert [inbound.recv(zmq.NOBLOCK) for _ in range(2000)] == [b"%d" % number for number in range(2000)]


def test_an_empty_socket_says_again(context: Any) -> None:
    inbound = pull(context, "inproc://a")
    with pytest.raises(zmq.Again):
        inbound.recv(zmq.NOBLOCK)


def test_events_tell_whether_a_frame_waits(context: Any) -> None:
    inbound = pull(context, "inproc://a")
    assert not inbound.getsockopt(zmq.EVENTS) & zmq.POLLIN
    push(context, "inproc://a").send(b"x", zmq.NOBLOCK)
    assert inbound.getsockopt(zmq.EVENTS) & zmq.POLLIN


def raises_before_long(call: Callable[[], object]) -> bool:
    """ZeroMQ closes sockets in a thread of its own; what is sent until then is lost."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            call()
        except zmq.Again:
            return True
    return False


def test_a_peer_that_is_gone_takes_nothing(context: Any) -> None:
    inbound = pull(context, "inproc://a")
    outbound = push(context, "inproc://a")
    inbound.close(linger=0)
    assert raises_before_long(lambda: outbound.send(b"x", zmq.NOBLOCK))


def test_a_name_is_bound_once(context: Any) -> None:
    pull(context, "inproc://a")
    with pytest.raises(zmq.ZMQError):
        pull(context, "inproc://a")


def test_a_socket_without_a_peer_does_not_send(context: Any) -> None:
    outbound = context.socket(zmq.PUSH)
    with pytest.raises(zmq.Again):
        outbound.send(b"x", zmq.NOBLOCK)


def test_virtual_time_ends_with_its_block() -> None:
    from pystorm.worker import runtime

    clock = Clock()
    with virtual_time(clock):
        assert vars(runtime)["time"] is clock
        inner = Clock()
        with virtual_time(inner):
            assert vars(runtime)["time"] is inner
        assert vars(runtime)["time"] is clock
    assert vars(runtime)["time"] is time


def test_sleep_moves_the_clock_and_what_it_does_not_know_is_real() -> None:
    clock = Clock()
    before = clock.time(), clock.perf_counter_ns()
    clock.sleep(1.5)
    assert clock.time() - before[0] == 1.5
    assert clock.perf_counter_ns() - before[1] == 1_500_000_000
    assert clock.strftime("%Y", clock.gmtime(clock.time())) == "2024"
