"""The hot path: compiled if the compiled module is there, plain Python otherwise.

`pip install` builds the compiled module where it finds a C compiler. `PYSTORM_PURE=1` in the environment keeps to
Python.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from pystorm._pure import (
    IS_COMPILED,
    BatchRunner,
    Buffer,
    CountEmit,
    Current,
    DirtyDict,
    FieldEmit,
    RootCounter,
    SourceEmit,
    apply_acks,
    close_trees,
    make_tuples,
    pack_u64,
    seal_trees,
    unpack_u64,
    xor_edges,
    xor_open,
)

if not TYPE_CHECKING and not os.environ.get("PYSTORM_PURE") and sys.byteorder == "little":
    with contextlib.suppress(ImportError):  # there was no compiler where it was installed
        from pystorm._speed import (
            IS_COMPILED,
            BatchRunner,
            Buffer,
            CountEmit,
            Current,
            DirtyDict,
            FieldEmit,
            RootCounter,
            SourceEmit,
            apply_acks,
            close_trees,
            make_tuples,
            pack_u64,
            seal_trees,
            unpack_u64,
            xor_edges,
            xor_open,
        )

__all__ = [
    "IS_COMPILED",
    "BatchRunner",
    "Buffer",
    "CountEmit",
    "Current",
    "DirtyDict",
    "FieldEmit",
    "RootCounter",
    "SourceEmit",
    "apply_acks",
    "close_trees",
    "make_tuples",
    "pack_u64",
    "seal_trees",
    "unpack_u64",
    "xor_edges",
    "xor_open",
]
