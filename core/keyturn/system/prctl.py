"""One system call that takes a process's memory out of others' reach; cheap enough for the fast path."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PR_SET_DUMPABLE = 4
_PR_GET_CHILD_SUBREAPER = 37
#: What dlopen calls the program itself; the stubs know only paths.
_MAIN_PROGRAM: Any = None


def disable_dumps() -> bool:
    """Make this process not dumpable: others of the same user cannot read its memory, environment or descriptors, or
    attach to it, and it leaves no core file. Children by fork stay so, other programs that they start do not.

    Returns whether the system did it; macOS has no such call.
    """
    if sys.platform != "linux":
        return False
    try:
        return _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0
    except (OSError, AttributeError, ImportError):
        return False


def is_subreaper() -> bool:
    """Whether orphans below this process become its children (prctl(2), PR_GET_CHILD_SUBREAPER)."""
    if sys.platform != "linux":
        return False
    import ctypes

    flag = ctypes.c_int(0)
    return ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(flag), 0, 0, 0) == 0 and bool(
        flag.value
    )


def _prctl(*arguments: int) -> int:
    # The package around this extension takes half as long to import as the whole fast path.
    try:
        import _ctypes

        return int(_ctypes.call_function(_ctypes.dlsym(_ctypes.dlopen(_MAIN_PROGRAM, 0), "prctl"), arguments))
    except (ImportError, AttributeError, TypeError):
        import ctypes

        return int(ctypes.CDLL(None).prctl(*arguments))
