"""Print the time for which a new key's secret is only in memory: from AWS's answer until its record is
sealed, on disk and read back.

    .venv/bin/python -m tests.benchmarks.rotation [--keys 300] [--folder FOLDER]

In turn with it, an fsynced file of the same size is put in place, which is the lower limit for storing a key;
the ratio is what counts on another disk. Exits 1 if the 99th percentile misses its target.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from keyturn.aws.api import CreatedKey
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations.rotation import create_key, record_store
from keyturn.operations.rotation.record import Record, Step
from keyturn.system import files
from tests.benchmarks.interleaved import share
from tests.core.operations.rotation.rotation_home import PROFILE, Home

TARGET_MS = 20.0


def main() -> int:
    """Measure and print; return 1 if the target is missed."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--keys", type=int, default=300, help="how many new keys (default 300)")
    words.add_argument(
        "--folder", type=Path, help="on the disk to be measured; by default where temporary files go"
    )
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="keyturn-bench-", dir=given.folder) as folder:
        save_times, replace_times = measure(Path(folder), given.keys)
    for name, durations in (
        ("answer to sealed record", save_times),
        ("an fsynced file beside it", replace_times),
    ):
        print(
            f"{name:<28} p50 {share(durations, 0.5):6.2f} ms   p99 {share(durations, 0.99):6.2f} ms   worst "
            f"{durations[-1]:6.2f} ms"
        )
    print(f"{'ratio of the medians':<28} {share(save_times, 0.5) / share(replace_times, 0.5):.2f}")
    good = share(save_times, 0.99) <= TARGET_MS
    print(f"target p99 <= {TARGET_MS:.0f} ms: {'met' if good else 'MISSED'}")
    return 0 if good else 1


def measure(folder: Path, keys: int) -> tuple[list[float], list[float]]:
    """Return the milliseconds of both, sorted."""
    home = Home(folder)
    context = home.service.context
    old = context.key(PROFILE)
    save_times, replace_times = [], []
    for _ in range(keys):
        record = Record(
            nonce=secrets.token_hex(8),
            profile=PROFILE,
            entries=(PROFILE,),
            user=home.user.arn,
            old=old,
            step=Step.INTENT,
            started=context.clock(),
        )
        record_store.start(context, record)
        new = Credentials(f"AKIA{secrets.token_hex(8).upper()}", Secret(secrets.token_urlsafe(30)))
        recorder = create_key.NewKeyRecorder(context, replace(record, initial_key_ids=(old.access_key_id,)))
        start = time.perf_counter()
        recorder.save(CreatedKey(new, context.clock()))
        save_times.append(1000 * (time.perf_counter() - start))
        if not recorder.saved:
            raise SystemExit("a key was not kept")
        content = os.urandom(1000)
        start = time.perf_counter()
        files.replace(folder / "beside", content)
        replace_times.append(1000 * (time.perf_counter() - start))
    return sorted(save_times), sorted(replace_times)


if __name__ == "__main__":
    sys.exit(main())
