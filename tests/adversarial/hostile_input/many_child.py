"""Run the console script many times. Each call is a process of its own, forked after the imports.

Reads one JSON line per call (`words`, `environ`, `folder`) and answers one JSON line (`code`, `out`, `err`;
bytes as Latin-1).
"""

from __future__ import annotations

import ctypes  # noqa: F401  # loaded once for all calls
import gc
import json
import os
import signal
import sys
import tempfile

import keyturn.agent.rpc_client
import keyturn.cli.main
import keyturn.operations.adopt
import keyturn.system.hardening
import keyturn.system.log
import keyturn.system.prctl
import keyturn.vault.vault  # noqa: F401
from keyturn_tui import main as start

SECONDS = 60


def call(words: list[str], environ: dict[str, str], folder: str) -> dict[str, object]:
    """Run the console script once."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            signal.alarm(SECONDS)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(folder)
            os._exit(_code(words))
        _, status = os.waitpid(pid, 0)
        result = {}
        for name, stream in (("out", out), ("err", err)):
            stream.seek(0)
            result[name] = stream.read().decode("latin-1")
    return {"code": os.waitstatus_to_exitcode(status), **result}


def _code(words: list[str]) -> int:
    """Return the exit code that the interpreter would end with."""
    try:
        code = start.main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  # shown as the interpreter would, for the test to find
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def main() -> None:
    gc.freeze()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(call(request["words"], request["environ"], request["folder"])), flush=True)  # noqa: T201  # the answer


if __name__ == "__main__":
    main()
