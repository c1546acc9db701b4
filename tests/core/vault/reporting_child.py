"""A child that reports its limits, and then tries to exceed the memory limit."""

from __future__ import annotations

import ctypes
import json
import resource

from keyturn.system import child_process

PR_GET_DUMPABLE = 3
MEMORY = 512 * 1024 * 1024


def child_main() -> None:
    """Reply with the dumpable flag, the core limit, and True if a gigabyte was allocated."""
    child_process.read_request()
    child_process.limit(seconds=20, memory=MEMORY)
    try:
        got = len(bytearray(1024 * 1024 * 1024)) > 0
    except MemoryError:
        got = False
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    core = resource.getrlimit(resource.RLIMIT_CORE)[0]
    child_process.answer(json.dumps({"dumpable": dumpable, "core": core, "got": got}).encode())
