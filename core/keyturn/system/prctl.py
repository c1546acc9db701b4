"""prctl calls that protect process memory, cheap enough for the fast path."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_DUMPABLE = 4
_PR_GET_CHILD_SUBREAPER = 37
#: dlopen(NULL) opens the main program. Typed as Any because the stubs accept paths only.
_MAIN_PROGRAM: Any = None


def disable_dumps() -> bool:
    """Make this process non-dumpable: other processes of the user cannot read its memory, environment or
    descriptors or attach to it, and it leaves no core file. Forked children inherit this; executed
    programs do not.

    :returns: True if it succeeded; False on macOS, which has no such call.
    """
    if sys.platform != "linux":
        return False
    try:
        return _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    except (OSError, AttributeError, ImportError):
        return False


def is_subreaper() -> bool:
    """Return True if this process adopts orphaned descendants (prctl(2), PR_GET_CHILD_SUBREAPER)."""
    if sys.platform != "linux":
        return False
    import ctypes

    flag = ctypes.c_int(0)
    return ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0) == 0 and bool(
        flag.value
    )


def _prctl(*arguments: int) -> int:
    # Importing ctypes takes half as long as the whole fast path, so use its extension module directly.
    try:
        import _ctypes

        return int(_ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(_MAIN_PROGRAM, 0), "prctl"), arguments))
    except (ImportError, AttributeError, TypeError):
        import ctypes

        return int(ctypes.CDLL(None).prctl(*arguments))
