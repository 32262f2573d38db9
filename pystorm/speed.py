"""The hot path: compiled if the compiled module is there, plain Python otherwise.

`pip install` builds the compiled module where it finds a C compiler. `PYSTORM_PURE=1` in the environment keeps to Python.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING or os.environ.get("PYSTORM_PURE") or sys.byteorder != "little":
    from pystorm import _pure as _chosen
else:
    try:
        from pystorm import _speed as _chosen
    except ImportError:  # no compiler where it was installed
        from pystorm import _pure as _chosen

IS_COMPILED = _chosen.IS_COMPILED
Buffer = _chosen.Buffer
CountEmit = _chosen.CountEmit
Current = _chosen.Current
DirtyDict = _chosen.DirtyDict
FieldEmit = _chosen.FieldEmit
apply_acks = _chosen.apply_acks
make_tuples = _chosen.make_tuples
pack_u64 = _chosen.pack_u64
unpack_u64 = _chosen.unpack_u64
xor_edges = _chosen.xor_edges
xor_open = _chosen.xor_open
