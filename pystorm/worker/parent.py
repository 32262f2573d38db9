"""Dying with the parent: what keeps a `kill -9` of the controller from leaving orphans.

On Linux the kernel is asked to kill a process when its parent ends (PR_SET_PDEATHSIG). Elsewhere processes look at
their parent's pid now and then.

Source: prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have this process killed when `parent_pid` ends; ends it now if that has happened already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
