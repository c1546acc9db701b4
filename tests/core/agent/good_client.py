"""Client process that requests a document in a loop: `good_client.py SOCKET PROFILE`.

It runs until its standard input ends, then prints its observations as JSON.
"""
# ruff: noqa: T201 - a program, and this is its answer

from __future__ import annotations

import json
import select
import sys
import time
from pathlib import Path

from keyturn.agent import rpc_client


def main(path: Path, profile: str) -> None:
    acquired: list[float] = []
    documents: set[str] = set()
    failed: list[str] = []
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        started = time.perf_counter()
        try:
            documents.add(rpc_client.document(path, profile))
        except Exception as error:  # noqa: BLE001 - shown by the test
            failed.append(repr(error))
        acquired.append(time.perf_counter() - started)
    print(json.dumps({"seconds": acquired, "documents": sorted(documents), "failed": failed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
