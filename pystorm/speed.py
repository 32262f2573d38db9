"""The hot path: compiled if the compiled module is there, plain Python otherwise.

`pip install` builds the compiled module where it finds a C compiler. `PYSTORM_PURE=1` in the environment keeps to
Python.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pystorm._pure import (
    API,
    IS_COMPILED,
    BatchRunner,
    Buffer,
    CountEmit,
    Current,
    DirtyDict,
    FieldEmit,
    RootCounter,
    SourceEmit,
    Turn,
    apply_acks,
    close_trees,
    make_tuples,
    pack_u64,
    seal_trees,
    unpack_u64,
    xor_edges,
    xor_open,
)


def _is_usable() -> bool:
    if os.environ.get("PYSTORM_PURE") or sys.byteorder != "little":
        return False
    try:
        from pystorm._speed import API as compiled_api
    except ImportError:  # there was no compiler where it was installed
        return False
    return bool(compiled_api == API)


if not TYPE_CHECKING and _is_usable():
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
        Turn,
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
    "API",
    "IS_COMPILED",
    "BatchRunner",
    "Buffer",
    "CountEmit",
    "Current",
    "DirtyDict",
    "FieldEmit",
    "RootCounter",
    "SourceEmit",
    "Turn",
    "apply_acks",
    "close_trees",
    "make_tuples",
    "pack_u64",
    "seal_trees",
    "unpack_u64",
    "xor_edges",
    "xor_open",
]
