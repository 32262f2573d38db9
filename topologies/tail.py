"""Follow an access log: the spout and the bolts of tail.yaml.

A log is rotated (renamed, and a new file takes its place) or truncated (emptied in place) while somebody follows it. So
a position is the file's inode number together with the byte offset just after a line: the name alone does not say
which file was meant.

What does not work: a log that is truncated and grows past the old offset before anybody looks is taken for the old one,
and its first lines are skipped; a rotated log that was compressed or deleted before it was read to its end is lost, and
the spout says so; what a writer still adds to the old file after the new one is there may be missed.
"""

from __future__ import annotations

import datetime
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pystorm import Bolt, KeyValueState, ReplayableSpout, Stream, Tuple

#: How often a log at its end is looked at for rotation and truncation, seconds.
LOOK_EVERY_S = 0.25

# host ident user [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326, and whatever follows
_REQUEST = re.compile(
    r"\S+ \S+ \S+ \[(?P<day>\d{2})/(?P<month>[A-Z][a-z]{2})/(?P<year>\d{4})"
    r":(?P<hour>\d{2}):(?P<minute>\d{2}):\d{2} (?P<sign>[+-])(?P<zone_h>\d{2})(?P<zone_m>\d{2})\]"
    r' "[^"]*" (?P<status>[1-5])\d\d(?: |$)'
)
# Not strptime's %b: that one follows the locale.
_MONTHS = {name: n for n, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}


def parse(line: str) -> tuple[str, str] | None:
    """The minute (UTC) and the class of status of a line in the common log format; None if it is not one.

    >>> parse('192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326')
    ('2000-10-10T20:55Z', '2xx')
    """
    found = _REQUEST.match(line)
    if not found:
        return None
    zone = datetime.timedelta(hours=int(found["zone_h"]), minutes=int(found["zone_m"]))
    try:
        local = datetime.datetime(
            int(found["year"]), _MONTHS[found["month"]], int(found["day"]), int(found["hour"]), int(found["minute"])
        )
        utc = local + zone if found["sign"] == "-" else local - zone
    except (KeyError, ValueError, OverflowError):  # no such month, day, hour or year
        return None
    return f"{utc:%Y-%m-%dT%H:%M}Z", f"{found['status']}xx"


class LogFollower:
    """Reads the complete lines of a file that grows, is rotated or is truncated.

    Args:
        path: the log; it need not exist yet.
        warn: called with a sentence when lines were lost.
        now_s: a monotonic clock, seconds.
    """

    def __init__(self, path: str, *, warn: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._path = Path(path)
        self._warn = warn
        self._now_s = now_s
        self._file: BinaryIO | None = None
        self._inode = 0
        self._partial = b""  # the beginning of a line whose end is not written yet
        self._next_look_s = 0.0

    def seek(self, position: list[int] | None) -> None:
        """Go on at a position, `[inode, offset]`; None is the start of the file as it is now."""
        self.close()
        if position is None:
            return
        inode, offset = position
        path = self._find(inode)
        if path is None:
            self._warn(f"{self._path}: the file of the last position is gone, reading the log from its start")
            return
        self._open(path)
        if self._file is not None and self._size() >= offset:
            self._file.seek(offset)

    def read_line(self) -> tuple[bytes, list[int]] | None:
        """The next complete line and the position after it, or None if there is none yet.

        Blocks: no.
        """
        if self._file is None and not self._look():
            return None
        assert self._file is not None
        self._partial += self._file.readline()
        if self._partial.endswith(b"\n"):
            return self._take()
        return self._read_after_end() if self._look() else None

    def close(self) -> None:
        """Forget the open file."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._partial = b""
        self._next_look_s = 0.0

    def _take(self) -> tuple[bytes, list[int]]:
        assert self._file is not None
        line, self._partial = self._partial, b""
        return line, [self._inode, self._file.tell()]

    def _look(self) -> bool:
        """Whether the log's name now means another file than the open one, or a shorter one. Looks now and then."""
        if self._now_s() < self._next_look_s:
            return False
        self._next_look_s = self._now_s() + LOOK_EVERY_S
        if self._file is None:
            self._open(self._path)
            return self._file is not None
        if self._size() < self._file.tell():
            return True
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:  # renamed, and the new one is not there yet
            return False

    def _read_after_end(self) -> tuple[bytes, list[int]] | None:
        assert self._file is not None
        if self._size() < self._file.tell():
            self._partial = b""
            self._file.seek(0)
            return None
        # Rotated. The writer may have added to the old file since it was read, so it is read once more; what has no
        # line end by now will never get one.
        self._partial += self._file.readline()
        if self._partial:
            self._next_look_s = 0.0
            return self._take()
        self.close()
        return None

    def _size(self) -> int:
        assert self._file is not None
        return os.fstat(self._file.fileno()).st_size

    def _open(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            return
        self._inode = os.fstat(self._file.fileno()).st_ino

    def _find(self, inode: int) -> Path | None:
        """The log, or a rotated one beside it (access.log.1), with this inode number."""
        for path in [self._path, *sorted(self._path.parent.glob(f"{self._path.name}*"))]:
            try:
                if path.stat().st_ino == inode:
                    return path
            except FileNotFoundError:
                continue
        return None


class AccessLogSpout(ReplayableSpout):
    """Emits the lines of a log as they are written. Never finishes. A position is `[inode, offset]`.

    Args:
        path: the log; it need not exist yet.
    """

    outputs = ["line"]

    def __init__(self, path: str) -> None:
        self.path = path

    def initialize(self, conf: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        self.follower = LogFollower(self.path, warn=self.logger.warning)

    def seek(self, partition: str, position: list[int] | None) -> None:
        self.follower.seek(position)

    def next_tuple(self) -> None:
        read = self.follower.read_line()
        if read:
            line, position = read
            self.emit([line.decode(errors="replace").rstrip("\r\n")], position=position)

    def cleanup(self) -> None:
        self.follower.close()


class ParseBolt(Bolt):
    """Lines in, minutes and classes of status out; lines that are no requests go to the stream `unparsed`."""

    outputs = [Stream(fields=["minute", "status"]), Stream(fields=["line"], name="unparsed")]

    def process(self, tup: Tuple) -> None:
        request = parse(tup.values.line)
        if request:
            self.emit(list(request))
        else:
            self.emit([tup.values.line], stream="unparsed")


class CountBolt(Bolt):
    """Counts requests by "minute status"."""

    outputs = ["minute", "status", "count"]
    requests = KeyValueState()

    def process(self, tup: Tuple) -> None:
        minute, status = tup.values
        key = f"{minute} {status}"
        self.requests[key] = count = self.requests.get(key, 0) + 1
        self.emit([minute, status, count])


class RejectsBolt(Bolt):
    """Logs what is no request, and counts it."""

    rejected = KeyValueState()

    def process(self, tup: Tuple) -> None:
        self.rejected["lines"] = self.rejected.get("lines", 0) + 1
        self.logger.warning("not a line of an access log: %r", tup.values.line)
