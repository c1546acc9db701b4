"""Prints what `keyturn credential-process NAME` costs with an agent up, against an interpreter that does nothing.

    python tests/bench/agent_warm.py [ROUNDS]

Both are timed in turn, so that a busy machine is busy for both; figures are medians, the ratio is what counts. The round
trip is one request of a client that is already running.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from keyturn.agent import client
from keyturn.agent.listener import claim
from keyturn.agent.server import AgentServer

KEYTURN = Path(sys.executable).with_name("keyturn")
LIMIT = 2.5
ROUND_TRIPS = 5000


class OneDocument:
    """A keeper with a document of the size that STS makes."""

    def withdraw_delivered(self) -> object:
        return ()

    def renew_due(self) -> object:
        return ()

    def forwarded(self, name: str, least_seconds: int | None) -> str:
        raise AssertionError((name, least_seconds))

    def withdraw_expired(self) -> object:
        """Nothing was delivered."""
        return ()

    def privileged(self, op: str, args: Mapping[str, object]) -> object:
        return {"op": op, **args}

    def credential_process(self, name: str) -> str:
        token = "x" * 900
        return f'{{"Version":1,"AccessKeyId":"{name}","SecretAccessKey":"y","SessionToken":"{token}"}}'


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 41
    with tempfile.TemporaryDirectory(prefix="kt-") as home:
        listener = claim(Path(home) / "run" / "agent.sock", lambda _path: False)
        assert listener is not None
        server = AgentServer(OneDocument(), listener)
        threading.Thread(target=server.serve, daemon=True).start()
        environ = {"HOME": home, "KEYTURN_HOME": home, "PATH": os.environ["PATH"]}

        def started(*command: str | Path) -> Callable[[], object]:
            return lambda: subprocess.run(command, env=environ, stdout=subprocess.DEVNULL, check=True)

        bare = started(sys.executable, "-c", "pass")
        warm = started(KEYTURN, "credential-process", "prod")
        pairs = [(seconds(bare), seconds(warm)) for _ in range(rounds + 3)][3:]
        trips = sorted(seconds(lambda: client.document(listener.path, "prod")) for _ in range(ROUND_TRIPS))
        server.stop()
    of_bare, of_warm = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = of_warm / of_bare
    print(f"python -c pass               {of_bare * 1000:6.1f} ms")  # noqa: T201 - the program's answer
    print(f"credential-process, agent up {of_warm * 1000:6.1f} ms   ratio {ratio:.2f} (limit {LIMIT})")  # noqa: T201
    p50, p99 = trips[len(trips) // 2], trips[len(trips) * 99 // 100]
    print(f"agent round trip             p50 {p50 * 1000:.3f} ms   p99 {p99 * 1000:.3f} ms")  # noqa: T201
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
