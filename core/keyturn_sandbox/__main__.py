"""Command line `python -m keyturn_sandbox`: run the stand-in alone, or control the one that the shell has
joined."""

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
from keyturn_sandbox.faults import KINDS, leave_clearing, leave_order, leave_skew
from keyturn_sandbox.sandbox import DEVICES_FILE, Sandbox, move_clock, totp

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Return the exit code: 0 done, 1 failed, 2 usage error, 3 device not found."""
    options = _parser().parse_args(arguments)
    if options.verb is None:
        return _serve(options.home, options.port, seed=not options.no_seed)
    folder = Path(os.environ.get("KEYTURN_SANDBOX", ""))
    if not (folder / DEVICES_FILE).is_file():
        return _fail(
            "No sandbox found",
            "KEYTURN_SANDBOX names none that is running. To join one, run: . FOLDER/env",
            1,
        )
    tools = {"totp": _totp, "clock": _move_clock, "skew": _move_clock, "fault": _fault}
    return tools[options.verb](folder, options)


def _totp(folder: Path, options: argparse.Namespace) -> int:
    """Print the current code of an MFA device."""
    try:
        _print(totp(folder, options.device))
    except LookupError as error:
        return _fail("totp", str(error.args[0]), 3)
    return 0


def _move_clock(folder: Path, options: argparse.Namespace) -> int:
    """Move the sandbox's clock (`clock`) or only AWS's (`skew`)."""
    match = re.fullmatch(r"([+-]?\d{1,9}(?:\.\d+)?)([smhd]?)", options.by)
    if match is None:
        return _fail(options.verb, f"{options.by!r} is not a duration such as +2h, -30m or 90s", 2)
    seconds = float(match[1]) * _UNITS[match[2]]
    if options.verb == "skew":
        leave_skew(folder, seconds)
        _print(f"AWS's clock is {seconds:+.0f} s from this machine's")
    else:
        _print(f"the sandbox's clock is {move_clock(folder, seconds):+.0f} s from the real one")
    return 0


def _fault(folder: Path, options: argparse.Namespace) -> int:
    """Inject a fault, or clear all faults."""
    if options.clear:
        leave_clearing(folder)
        _print("faults cleared, clock reset")
        return 0
    if options.action is None or options.kind is None:
        return _fail("fault", "needs an action (such as AssumeRole, or * for any) and a kind, or --clear", 2)
    leave_order(folder, options.action, options.kind, times=options.times or None, seconds=options.seconds)
    calls = f"the next {options.times} calls" if options.times > 1 else "the next call"
    _print(f"{options.kind}: {calls if options.times else 'all calls until --clear'} of {options.action}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m keyturn_sandbox",
        description="An AWS stand-in on loopback (STS and IAM), in the foreground until interrupted.",
    )
    parser.add_argument(
        "--port", type=int, default=0, help="port to listen on; 0 (default) for any free port"
    )
    parser.add_argument(
        "--home",
        type=Path,
        help="an absent or empty folder, emptied at the end; default: a new temporary folder",
    )
    parser.add_argument("--no-seed", action="store_true", help="start with no users, roles or profiles")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    code = verbs.add_parser("totp", help="print the current code of an MFA device of the joined sandbox")
    code.add_argument("device", help="serial, name, user or profile")
    clock = verbs.add_parser("clock", help="move the clock of the joined sandbox")
    clock.add_argument("by", help="for example +2h, 45m, 30s, 1d; to move back: clock -- -1h")
    skew = verbs.add_parser("skew", help="set AWS's clock off from this machine's in the joined sandbox")
    skew.add_argument("by", help="for example +20m; to set it behind: skew -- -20m; 0 resets it")
    fault = verbs.add_parser(
        "fault",
        help="inject faults into the next calls in the joined sandbox",
        epilog=f"Kinds: {', '.join(KINDS)}.",
    )
    fault.add_argument("action", nargs="?", help="for example AssumeRole; * for any")
    fault.add_argument("kind", nargs="?", choices=[*KINDS], metavar="kind", help="one of the kinds below")
    fault.add_argument("--times", type=_count, default=1, help="how many calls; 0 for all until --clear")
    fault.add_argument("--seconds", type=float, help="seconds of delay (default of slow: 5)")
    fault.add_argument("--clear", action="store_true", help="clear all faults and reset the clock")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 1000:
        raise argparse.ArgumentTypeError("from 0 to 1000")
    return number


def _serve(home: Path | None, port: int, *, seed: bool) -> int:
    """Serve until SIGINT, SIGTERM or SIGHUP. SIGHUP is ignored if it was ignored at start (nohup)."""
    done = threading.Event()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signum != signal.SIGHUP or signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda *_: done.set())
    sandbox = Sandbox(home, seed=seed, port=port)
    try:
        sandbox.start()
    except OSError as error:
        return _fail("sandbox", str(error), 1)
    try:
        for name, value in variables(sandbox.folder, sandbox.url).items():
            _print(f"{name}={value}")
        _print(f"# in another shell: {sandbox.join_line}")
        done.wait()
    finally:
        sandbox.stop()
    return 0


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # the program's answer


def _fail(what: str, why: str, code: int) -> int:
    print(f"keyturn_sandbox: {what}: {why}.", file=sys.stderr)  # noqa: T201  # the program's answer
    return code


if __name__ == "__main__":
    sys.exit(main())
