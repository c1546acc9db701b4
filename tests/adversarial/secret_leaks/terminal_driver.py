"""The app on a terminal, driven by the texts that it shows, with an exception at a chosen moment."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

from tests.adversarial.secret_leaks.exception_bursts import Moment
from tests.adversarial.secret_leaks.leak_bench import PASSPHRASE, Bench, RunOutput, Task, on_terminal
from tests.adversarial.secret_leaks.secret_search import Hit, as_read

#: The sequence by which the app restores the previous screen.
_BACK = b"\x1b[?1049l"
_RECOVERY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")
#: Seconds without the expected text before the app is left; then seconds that it may take to end.
_QUIET, _SECONDS = 3.0, 100.0

Keys = str | Callable[[str], str]
"""Keys to type, or a function that makes them from the output since the previous step."""


@dataclass(frozen=True)
class Scenario:
    """A path through the app on which secrets are typed and shown."""

    name: str
    words: tuple[str, ...]
    beginning: str
    steps: tuple[tuple[str, Keys], ...]
    """Texts that must appear on the screen, without blanks, and the keys typed then."""


def _proof(text: str) -> str:
    return str(_RECOVERY.findall(text)[-1])[-6:] + "\r"


def scenarios(bench: Bench) -> tuple[Scenario, Scenario]:
    """Return the paths: a vault created while a key is adopted, with its recovery key shown; and one unlocked
    for a session with an MFA code."""

    def code(_: str) -> str:
        bench.sandbox.move_clock(61)
        value = bench.sandbox.totp("alice")
        bench.search.add(f"MFA code {value}", value)
        return value

    created_vault = (
        ("■key", "m"), ("writenothing", "\r"), ("Useseveralwords", PASSPHRASE + "\r"),
        ("Repeat", PASSPHRASE + "\r"), ("typeitslast6characters", _proof), ("adopted", "q"),
    )  # fmt: skip
    opened = (
        ("lockedprod-adminRole", "r"), ("Unlockthevault", PASSPHRASE + "\r"), ("Typethesixdigits", code),
        ("refreshed", "q"),
    )  # fmt: skip
    return (
        Scenario("new vault", ("--filter", "ci-deploy"), "bare", created_vault),
        Scenario("MFA", ("--filter", "prod-admin"), "adopted", opened),
    )


@dataclass
class ScenarioResult:
    """The result of a path."""

    output: RunOutput
    stream: bytes = field(repr=False)
    steps_done: int
    """Number of completed steps."""

    @property
    def after(self) -> str:
        """Return the text on the terminal after the app has ended."""
        return self.stream.rpartition(_BACK)[2].decode("utf-8", "replace")

    @property
    def is_given_back(self) -> bool:
        """Return True if the terminal is restored."""
        return _BACK in self.stream


def run_scenario(
    bench: Bench, scenario: Scenario, moment: Moment | str = "", kind: str = "runtime"
) -> ScenarioResult:
    """Follow a path to its end, or until the app stops for the exception; then leave the app by its keys."""
    bench.restore_beginning(scenario.beginning)
    ours, theirs = on_terminal()
    task = Task("app", scenario.words)
    with closing(_Stream(ours)) as stream:
        bench.begin(task, moment, kind, [PASSPHRASE], theirs)
        steps_done = 0
        for wanted, keys in scenario.steps:
            if not _appears(bench, stream, wanted):
                break
            steps_done += 1
            stream.type_keys(keys if isinstance(keys, str) else keys(stream.read))
        _leave(bench, stream)
        output = bench.finished()
        stream.take()
        return ScenarioResult(output, bytes(stream.all), steps_done)


class _Stream:
    """Our end of a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._since = 0
        self.all = bytearray()

    def close(self) -> None:
        os.close(self._descriptor)

    def take(self) -> bool:
        """Read what is available, waiting for a moment. Return True if there was any."""
        if not select.select([self._descriptor], [], [], 0.05)[0]:
            return False
        with suppress(OSError):
            part = os.read(self._descriptor, 65536)
            self.all += part
            return bool(part)
        return False

    @property
    def read(self) -> str:
        """Return the text read since the last keys were typed."""
        return as_read(bytes(self.all[self._since :])).decode("utf-8", "replace")

    def type_keys(self, keys: str) -> None:
        self._since = len(self.all)
        with suppress(OSError):
            os.write(self._descriptor, keys.encode())


def _appears(bench: Bench, stream: _Stream, wanted: str) -> bool:
    """Return True if the text appears; after the exception was raised it may be absent."""
    end = time.monotonic() + _SECONDS
    while wanted not in stream.read:
        if stream.take():
            if bench.is_raised:
                end = min(end, time.monotonic() + _QUIET)
        elif bench.is_over or time.monotonic() > end:
            return False
        elif bench.is_raised:
            end = min(end, time.monotonic() + _QUIET)
    return True


def _leave(bench: Bench, stream: _Stream) -> None:
    """Leave the app: Esc closes an open screen, q quits."""
    end = time.monotonic() + _SECONDS
    deadline = time.monotonic() + _QUIET
    while not bench.is_over and time.monotonic() < end:
        if not stream.take() and time.monotonic() > deadline:
            # A pause after each Esc, because the app would take what follows at once for an escape sequence.
            stream.type_keys("\x1b")
            time.sleep(0.3)
            stream.type_keys("\x1b")
            time.sleep(0.3)
            stream.type_keys("q")
            deadline = time.monotonic() + _QUIET
    while stream.take():
        pass


def screen_faults(bench: Bench, scenario_result: ScenarioResult) -> list[str]:
    """Return the faults in the output and in the text left on the terminal."""
    bench.add_made_secrets()
    allowed = [name for name in bench.search.names if name.startswith(("MFA code", "recovery key"))]
    hits: list[Hit] = bench.search.search("the screen", scenario_result.stream, but=allowed)
    hits += bench.search.search("the terminal afterwards", scenario_result.after.encode())
    faults = [str(hit) for hit in hits]
    recovery_keys = _RECOVERY.findall(as_read(scenario_result.after.encode()).decode())
    faults += ["a recovery key afterwards"] * len(recovery_keys)
    lines = _lines(scenario_result.after)
    if len(lines) == 2 and lines[0].endswith("quit before AWS answered. Nothing is lost; run it again."):
        lines = lines[1:]  # printed about the running operations, beside the fault that ended the app
    if not scenario_result.is_given_back:
        faults.append(f"the terminal is not given back: {scenario_result.stream[-300:]!r}")
    elif scenario_result.output.code == 0 and lines:
        faults.append(f"it ended well, with words: {lines}")
    elif scenario_result.output.code != 0 and [line[:9] for line in lines] != ["keyturn: "]:
        faults.append(f"code {scenario_result.output.code}, and not one line: {lines}")
    return faults


def _lines(text: str) -> Sequence[str]:
    # The last sequence restores the mouse pointer, which Textual may do after it has left its screen.
    plain = re.sub(r"\x1b\]22;default\x07|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>78]", "", text)
    return [line.strip() for line in plain.splitlines() if line.strip()]
