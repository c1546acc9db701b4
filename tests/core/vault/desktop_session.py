"""A desktop login with gnome-keyring, for the script `desktop_keyring.py`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.needs import needs

SCRIPT = Path(__file__).with_name("desktop_keyring.py")


def busless_environ(**variables: str) -> dict[str, str]:
    """Return an environment without a session bus."""
    return {"PATH": os.environ["PATH"], "HOME": variables.pop("HOME", "/nonexistent"), **variables}


class Desktop:
    """A home and a session bus with gnome-keyring, as on a desktop; each :meth:`session` is one login."""

    def __init__(self, folder: Path) -> None:
        self.daemon = needs("gnome-keyring-daemon")
        self.dbus = needs("dbus-run-session")
        self.folder = folder
        (folder / "run").mkdir(mode=0o700)
        (folder / "home").mkdir()

    def session(self, cases: str, unlocked_by: str | None = None) -> list[dict[str, Any]]:
        """Return the output of the script for `cases`, in a session whose keyring was unlocked with
        `password`, if any."""
        unlock = (
            f'printf %s "$1" | {self.daemon} --unlock --components=secrets >/dev/null; '
            if unlocked_by
            else ""
        )
        inner = f'{unlock}exec "$2" "$3" "$4" "$5"'
        vault = str(self.folder / "data" / "vault")
        arguments = [unlocked_by or "", sys.executable, str(SCRIPT), cases, vault]
        environ = busless_environ(HOME=str(self.folder / "home"), XDG_RUNTIME_DIR=str(self.folder / "run"))
        with subprocess.Popen(
            [self.dbus, "--", "sh", "-c", inner, "sh", *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=60)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        assert process.returncode == 0
        return [json.loads(line) for line in output.splitlines()]
