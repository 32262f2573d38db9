"""Messages between the controller and its workers: msgpack maps with a `type`, over one DEALER-ROUTER pair.

To a worker: `assign` (a new generation: what to run, from which checkpoint), `start`, `checkpoint`, `committed`,
`drain`, `dry`, `stop`. From a worker: `hello`, `assigned`, `ready`, `prepared`, `moved`, `dry`, `idle`, `stats`, `log`,
`user_error`, `unavailable`, `available`, `stale`, `rollback`, `give_up`, `crash`, `stopped`. All but `hello` and `log`
carry the generation they belong to; a message of another generation is ignored.
"""

from __future__ import annotations

from typing import Any

from pystorm.values import pack, unpack


def encode(message: dict[str, Any]) -> bytes:
    """A control message as bytes."""
    return pack(message)


def decode(data: bytes) -> dict[str, Any]:
    """The inverse of `encode`.

    Raises:
        ValueError: not a control message.
    """
    message = unpack(data)
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError(f"not a control message: {message!r:.100}")
    return message
