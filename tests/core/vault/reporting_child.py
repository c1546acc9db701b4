"""A child that tells what it may do, and then tries to take more memory than that."""

from __future__ import annotations

import ctypes
import json
import resource

from keyturn.system import child_process

PR_GET_DUMPABLE = 3
MEMORY = 512 * 1024 * 1024


def child_main() -> None:
    """Answers with its dumpable flag, its core limit, and whether it got a gigabyte."""
    child_process.read_request()
    child_process.limit(20, MEMORY)
    try:
        got = len(bytearray(1024 * 1024 * 1024)) > 0
    except MemoryError:
        got = False
    dumpable = ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
    core = resource.getrlimit(resource.RLIMIT_CORE)[0]
    child_process.answer(json.dumps({"dumpable": dumpable, "core": core, "got": got}).encode())
