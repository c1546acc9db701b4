"""Print the time of `keyturn list` over a chain of source profiles, against a Python that reads the same file
with botocore.

    .venv/bin/python -m tests.benchmarks.long_chain [--hops 3000] [--rounds 7]

Both programs run in turn, because a busy machine then slows both alike; the figures are medians. Exits 1 if
`keyturn list` takes more than three times as long.
"""
# ruff: noqa: T201 - a program that prints its result

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.interleaved import in_turn, quarters, ratio
from tests.end_to_end.person import KEYTURN

LIST, BOTOCORE = "keyturn list", "botocore"
TARGET = 3.0
READ = "import botocore.session; botocore.session.Session().full_config"
KEY = (
    "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\n"
    "aws_secret_access_key = wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY01\n"
)


def chain_text(hops: int) -> str:
    """Return a config file in which each of `p0`, `p1` ... is a role whose source is the next, and the last
    profile has a key."""
    roles = (
        f"[profile p{number}]\nrole_arn = arn:aws:iam::111122223333:role/r{number}\n"
        f"source_profile = p{number + 1}\nregion = eu-west-1\n\n"
        for number in range(hops)
    )
    return "".join(roles) + f"[profile p{hops}]\n{KEY}"


def environ(home: Path) -> dict[str, str]:
    """Return an environment whose shared files and keyturn's own are in `home`."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "KEYTURN_HOME": str(home / "keyturn")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hops", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / ".aws").mkdir()
        (home / ".aws" / "config").write_text(chain_text(arguments.hops))

        def run(*words: str) -> None:
            subprocess.run(words, env=environ(home), stdout=subprocess.DEVNULL, check=True)

        durations = in_turn(
            {LIST: lambda: run(KEYTURN, "list"), BOTOCORE: lambda: run(sys.executable, "-c", READ)},
            arguments.rounds,
        )
    for name, seconds in durations.items():
        low, middle, high = quarters(seconds)
        print(f"{name:<14} {middle * 1000:6.0f} ms ({low * 1000:.0f} to {high * 1000:.0f})")
    found = ratio(durations[LIST], durations[BOTOCORE])
    print(f"ratio          {found:6.2f}    target {TARGET:.0f}: {'met' if found <= TARGET else 'MISSED'}")
    return 0 if found <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
