"""A real terminal: tmux runs the app, receives keys, and returns the screen."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.end_to_end.person import BIN
from tests.support.needs import needs

SECONDS = 30.0


class Terminal:
    """One tmux session of its own server; each start has its own server, because a server told to end lives
    for a moment and would take the next start with it."""

    def __init__(self, name: str, environ: Mapping[str, str], width: int, height: int) -> None:
        self._name = name
        self._starts = 0
        self._environ = {**environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        # The app would take the test runner's terminal variables for those of this terminal.
        for variable in ("TMUX", "COLUMNS", "LINES"):
            self._environ.pop(variable, None)
        self._size = ("-x", str(width), "-y", str(height))

    def start(self, *words: str) -> None:
        """Start `keyturn WORDS`; after it ends, its exit code stays on the screen."""
        self.start_line(" ".join((str(BIN / "keyturn"), *words)))

    def start_line(self, line: str) -> None:
        """Start a line of the shell; after it ends, its exit code stays on the screen."""
        self._starts += 1
        script = f"{line}; echo ended with $?; exec sleep 600"
        self._run_start("new-session", "-d", "-s", "main", *self._size, "sh", "-c", script)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names (`Enter`, `Escape`, `C-u`) or single characters."""
        self._run_start("send-keys", "-t", "main", *keys)

    def type(self, text: str) -> None:
        """Type text literally."""
        self._run_start("send-keys", "-t", "main", "-l", "--", text)

    def type_unseen(self, text: str) -> None:
        """Type text that must not be on any command line, including tmux's own."""
        with tempfile.NamedTemporaryFile("w", prefix="keys-", dir="/dev/shm") as file:  # for this user alone
            file.write(f"send-keys -t main -l -- {shlex.quote(text)}\n")
            file.flush()
            self._run_start("source-file", file.name)

    def resize(self, width: int, height: int) -> None:
        """Resize the terminal."""
        self._run_start("resize-window", "-t", "main", "-x", str(width), "-y", str(height))

    def screen(self) -> str:
        """Return the text on the screen."""
        return self._run_start("capture-pane", "-p", "-t", "main")

    def scrollback(self) -> str:
        """Return the screen and its scrollback, with colours as the terminal receives them."""
        return self._run_start("capture-pane", "-p", "-e", "-S", "-", "-t", "main")

    def records(self, file: Path) -> None:
        """Write every later byte to `file` too."""
        self._run_start("pipe-pane", "-t", "main", "-o", f"exec cat > {shlex.quote(str(file))}")

    def shows(self, *parts: str) -> str:
        """Wait until all `parts` are on the screen, and return it."""
        return self.until(lambda screen: all(part in screen for part in parts), f"{parts} to come")

    def hides(self, part: str) -> str:
        """Wait until `part` is not on the screen any more."""
        return self.until(lambda screen: part not in screen, f"{part!r} to go")

    def until(self, holds: Callable[[str], bool], what: str) -> str:
        """Wait for a screen for which `holds` returns True."""
        end = time.monotonic() + SECONDS
        while True:
            screen = self.screen()
            if holds(screen):
                return screen
            if time.monotonic() > end:
                raise AssertionError(f"waited {SECONDS:.0f} s for {what}; the screen:\n{screen}")
            time.sleep(0.05)

    def pid(self) -> int:
        """Return the process id of the shell that runs the line."""
        return int(self._run_start("display-message", "-p", "-t", "main", "#{pane_pid}"))

    def line(self, part: str) -> str:
        """Return the first line that contains `part`."""
        return next(line for line in self.screen().splitlines() if part in line)

    def end(self) -> None:
        """Stop tmux and its programs."""
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> subprocess.CompletedProcess[str]:
        server = [needs("tmux"), "-L", f"{self._name}-{self._starts}", "-f", "/dev/null"]
        return subprocess.run(
            [*server, *words], env=self._environ, capture_output=True, text=True, check=False
        )

    def _run_start(self, *words: str) -> str:
        done = self._tmux(*words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout


@contextmanager
def terminal(
    name: str,
    environ: Mapping[str, str],
    *words: str,
    program: Sequence[str] = (str(BIN / "keyturn"),),
    width: int = 80,
    height: int = 24,
) -> Iterator[Terminal]:
    """The app, or a verb, in a terminal of this size."""
    running = Terminal(name, environ, width, height)
    try:
        running.start_line(shlex.join((*program, *words)))
        yield running
    finally:
        running.end()
