"""Run by `tests.benchmarks.agent` in a login session with an open keyring: `by_keyring ROUNDS`; prints
seconds as JSON."""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.benchmarks.interleaved import in_turn, seconds
from tests.core.agent.signed_requests import ROLE
from tests.end_to_end.person import BIN

KEYTURN = str(BIN / "keyturn")


def keyturn(*words: str) -> None:
    subprocess.run([KEYTURN, *words], env=os.environ, stdout=subprocess.DEVNULL, check=True)


def main(rounds: int) -> None:
    keyturn("vault", "init", "--slot", "keyring")
    keyturn("adopt", "ci-deploy", "--yes")
    keyturn("credential-process", ROLE)
    cold: list[float] = []

    def without_agent() -> None:
        keyturn("agent", "stop")
        cold.append(seconds(lambda: keyturn("credential-process", ROLE)))

    bare = in_turn(
        {"bare": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), "cold": without_agent},
        rounds,
    )["bare"]
    keyturn("agent", "stop")
    print(json.dumps({"python -c pass": bare, "credential-process, no agent, keyring": cold[-rounds:]}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
