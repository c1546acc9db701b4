"""`python -m keyturn_sandbox`: the stand-in alone, and two small tools for whoever has joined one."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from keyturn_sandbox.environment import variables
from keyturn_sandbox.sandbox import DEVICES_FILE, Sandbox, move_clock, totp

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit code (0 done, 1 failed, 2 usage, 3 no device by that name)."""
    words = _parser().parse_args(arguments)
    if words.verb is None:
        return _serve(words.home, words.port, seed=not words.no_seed)
    folder = Path(os.environ.get("KEYTURN_SANDBOX", ""))
    if not (folder / DEVICES_FILE).is_file():
        return _fail(
            "no sandbox", "KEYTURN_SANDBOX names none that runs; join one by its `. FOLDER/env` line", 1
        )
    if words.verb == "totp":
        try:
            _say(totp(folder, words.device))
        except LookupError as error:
            return _fail("totp", str(error.args[0]), 3)
        return 0
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)([smhd]?)", words.by)
    if match is None:
        return _fail("clock", f"{words.by!r} is no length of time such as +2h, -30m or 90s", 2)
    offset = move_clock(folder, float(match[1]) * _UNITS[match[2]])
    _say(f"the sandbox's clock is {offset:+.0f} s from the real one")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keyturn_sandbox",
        description="An AWS stand-in on loopback (STS and IAM), in the foreground until interrupted.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default) for any free port")
    parser.add_argument(
        "--home",
        type=Path,
        help="an absent or empty folder, which is emptied again at the end; default: a new temporary one",
    )
    parser.add_argument("--no-seed", action="store_true", help="start with no users, roles or profiles")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    code = verbs.add_parser("totp", help="the code that an MFA device of the joined sandbox shows now")
    code.add_argument("device", help="serial, name, user or profile")
    clock = verbs.add_parser("clock", help="move the time of the joined sandbox")
    clock.add_argument("by", help="for example +2h, 45m, 30s, 1d; a move back after `--`: clock -- -1h")
    return parser


def _serve(home: Path | None, port: int, *, seed: bool) -> int:
    """Answer until INT, TERM or, unless started by nohup, HUP."""
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: done.set())
    sandbox = Sandbox(home, seed=seed, port=port)
    try:
        sandbox.start()
    except OSError as error:
        return _fail("sandbox", str(error), 1)
    try:
        for name, value in variables(sandbox.folder, sandbox.url).items():
            _say(f"{name}={value}")
        _say(f"# in another shell: {sandbox.join_line}")
        done.wait()
    finally:
        sandbox.stop()
    return 0


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the program's answer


def _fail(what: str, why: str, code: int) -> int:
    print(f"keyturn_sandbox: {what}: {why}.", file=sys.stderr)  # noqa: T201  # the program's answer
    return code


if __name__ == "__main__":
    sys.exit(main())
