"""Writing for people from a process that has more important work: the controller neither dies nor waits for a reader.

Theory of operation. Text goes straight to the descriptor, in pieces that a pipe takes without blocking when poll(2)
says it is writable at all. A reader that is slow (a pager, a terminal stopped with Ctrl-S) gets `PATIENCE_S`, once;
from then on what does not fit is left out and counted, until it reads again. A reader that is gone is replaced by
/dev/null.

What does not work: more pieces than fit in the reader's buffer are cut in the middle of a line.

Source: pipe(7) on PIPE_BUF, poll(2).
"""

from __future__ import annotations

import io
import os
import select

#: What a writable pipe takes at once without blocking, in bytes: Linux has 4096, POSIX promises 512.
PIECE_BYTES = getattr(select, "PIPE_BUF", 512)
#: How long a write waits for a slow reader before it gives up, in seconds.
PATIENCE_S = 0.2


class PatientStream(io.TextIOBase):
    """A text stream to a descriptor that never raises and never waits for long.

    Args:
        descriptor: where to write; None: nowhere.
    """

    def __init__(self, descriptor: int | None, encoding: str = "utf-8") -> None:
        self._descriptor = descriptor
        self._encoding = encoding
        self._patience_s: float | None = PATIENCE_S
        self._is_slow = False
        self._left_out = 0
        self._poll = select.poll()
        if descriptor is not None:
            self._poll.register(descriptor, select.POLLOUT)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the text."""
        return self._encoding

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._descriptor is not None and os.isatty(self._descriptor)

    def fileno(self) -> int:
        """The descriptor."""
        if self._descriptor is None:
            raise OSError("this stream leads nowhere")
        return self._descriptor

    def writable(self) -> bool:
        """Always."""
        return True

    def wait_for_reader(self) -> None:
        """From now on wait as long as it takes: what follows is the last word."""
        self._patience_s = None
        self._is_slow = False

    def write(self, text: str) -> int:
        """Write a text, or leave it out."""
        if self._descriptor is None or not text:
            return len(text)
        if not self._is_ready(0.0 if self._is_slow else self._patience_s):
            self._is_slow = True
            self._left_out += 1
            return len(text)
        self._is_slow = False
        if self._left_out:
            text = f"({self._left_out} messages left out: they were not read in time)\n{text}"
            self._left_out = 0
        self._write_pieces(text.encode(self._encoding, "backslashreplace"))
        return len(text)

    def _write_pieces(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self.fileno(), data[:PIECE_BYTES]) :]
            except BlockingIOError:  # somebody made it non-blocking, and there was less room than poll said
                pass
            except OSError:
                self._give_up()
                return
            if data and not self._is_ready(self._patience_s):
                self._is_slow = True
                return

    def _is_ready(self, patience_s: float | None) -> bool:
        # POLLERR and POLLHUP count as ready: the write then tells that the reader is gone.
        return bool(self._poll.poll(None if patience_s is None else patience_s * 1000))

    def _give_up(self) -> None:
        """Let everybody who writes to the descriptor write to nowhere, so that none of them fails during the run."""
        descriptor, self._descriptor = self.fileno(), None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
