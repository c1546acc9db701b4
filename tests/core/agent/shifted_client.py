"""boto3 and the AWS CLI with a botocore whose clock is the sandbox's. Signatures keep the machine's time.

python shifted_client.py boto PROFILE     signs once for each line on standard input, and prints the time left
python shifted_client.py cli WORDS...     runs the AWS CLI
"""
# ruff: noqa: T201

from __future__ import annotations

import datetime as dt
import json
import os
import sys
import types
from pathlib import Path

from botocore import credentials

OFFSET = Path(os.environ["KEYTURN_SANDBOX"]) / "clock-offset"


def offset() -> dt.timedelta:
    try:
        return dt.timedelta(seconds=float(OFFSET.read_text()))
    except (OSError, ValueError):
        return dt.timedelta()


class ShiftedDatetime(dt.datetime):
    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> ShiftedDatetime:
        found = dt.datetime.now(tz) + offset()
        return cls.fromtimestamp(found.timestamp(), tz)


def shift() -> None:
    """Shift only the clock that botocore compares expiries with; the rest of the process keeps the machine's
    time."""
    moved = types.ModuleType("datetime")
    moved.__dict__.update(vars(dt), datetime=ShiftedDatetime)
    vars(credentials)["datetime"] = moved


def sign(profile: str) -> None:
    import boto3

    session = boto3.Session(profile_name=profile)
    client = session.client("sts")
    for _ in sys.stdin:
        client.get_caller_identity()
        current = session.get_credentials()
        assert isinstance(current, credentials.RefreshableCredentials)
        left = vars(current)["_expiry_time"] - ShiftedDatetime.now(dt.UTC)
        print(json.dumps({"left": left.total_seconds()}), flush=True)


def main(words: list[str]) -> int:
    shift()
    if words[0] == "boto":
        sign(words[1])
        return 0
    from awscli.clidriver import main as aws

    sys.argv = ["aws", *words[1:]]
    return int(aws())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
