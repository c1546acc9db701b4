"""Make the pictures in this folder: the real app on a sandbox with fixed secrets and a fixed clock.

Run it as `python screenshots/make.py`; `--check` reports the pictures that differ from those it would make.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from textual.pilot import Pilot

from keyturn.service import CredentialService
from keyturn.system.clock import OFFSET_FILE
from keyturn_sandbox import Sandbox
from keyturn_sandbox.sandbox import FIXED_START
from keyturn_sandbox.seed_managed import plant_managed
from keyturn_tui.app import KeyturnApp
from keyturn_tui.terminal.capabilities import Options, terminal_for

HERE = Path(__file__).resolve().parent
#: Visible in a picture, so it is fixed; the sandbox refuses it if it exists already.
FOLDER = Path(tempfile.gettempdir()) / "keyturn-sandbox"
PROGRAM = "/home/jo/.local/bin/keyturn"
WIDE, NARROW = (120, 36), (80, 24)


@dataclass(frozen=True)
class Scene:
    """A picture: the terminal size, the keys pressed before it is taken, and the text that it waits for."""

    name: str
    size: tuple[int, int]
    keys: tuple[str, ...] = ()
    until: str = ""


SCENES = (
    Scene("main-120x36", WIDE, ("j",) * 7),
    Scene("main-80x24", NARROW, ("j",) * 7),
    Scene("timeline-120x36", WIDE, ("t",)),
    Scene("adopt-120x36", WIDE, ("/", *"personal", "enter", "m")),
    Scene("mfa-80x24", NARROW, ("/", *"prod-admin", "enter", "r")),
    Scene("help-120x36", WIDE, ("?",)),
    Scene("rotate-120x36", WIDE, ("/", *"ci-deploy", "enter", "R", "enter"), until="Done for now"),
)


def fixed_clock(sandbox: Sandbox, start: datetime) -> Callable[[], datetime]:
    """A clock that stays at `start` unless it is moved."""
    offset = sandbox.folder / OFFSET_FILE
    first = float(offset.read_text("ascii"))
    return lambda: start + timedelta(seconds=round(float(offset.read_text("ascii")) - first, 3))


async def wait_for_picture(app: KeyturnApp, pilot: Pilot[None], until: str = "") -> str:
    """Return the picture once it shows `until` and has not changed for a second.

    :raises TimeoutError: if it does neither within a minute.
    """
    same, last, until = 0, "", until.replace(" ", "&#160;")
    polls = iter(range(240))
    while same < 4 or until not in last or app.state.snapshot is None:
        if next(polls, None) is None:
            raise TimeoutError(until)
        await pilot.pause(0.25)
        picture = app.export_screenshot(title="keyturn")
        same, last = (same + 1, last) if picture == last else (0, picture)
    return last


async def pictures() -> dict[str, str]:
    """Return the SVG of every scene by name."""
    pictures_by_name = {}
    with Sandbox(FOLDER, fixed=True) as sandbox:
        clock = sandbox.state.now = fixed_clock(sandbox, FIXED_START)
        os.environ.clear()
        os.environ.update(sandbox.environ)
        context = replace(
            CredentialService.from_environ(os.environ).context, clock=clock, program=lambda: PROGRAM
        )
        service = CredentialService(context, use_agent=False)
        service.unlock_here(recovery_key=plant_managed(sandbox, service))
        for scene in SCENES:
            options = Options(read_only=False, ascii=False, mouse=False, filter="")
            terminal = terminal_for({"TERM": "xterm-256color", "LANG": "C.UTF-8"}, options)
            app = KeyturnApp(service, options, terminal)
            async with app.run_test(size=scene.size) as pilot:
                await wait_for_picture(app, pilot)
                for pressed in scene.keys:
                    await pilot.press(pressed)
                pictures_by_name[scene.name] = await wait_for_picture(app, pilot, scene.until)
    return pictures_by_name


def first_difference(before: str, now: str) -> str:
    """Return the place where two pictures first differ, with some text before it."""
    parts = (nth for nth, (old, new) in enumerate(zip(before, now, strict=False)) if old != new)
    at = max(0, next(parts, min(len(before), len(now))) - 120)
    return f"- {before[at : at + 240]!r}\n+ {now[at : at + 240]!r}"


def main(words: Sequence[str]) -> int:
    """Write the pictures, or compare them; return 1 if one differs."""
    differ = 0
    for name, svg in asyncio.run(pictures()).items():
        path = HERE / f"{name}.svg"
        if "--check" in words:
            before = path.read_text("utf-8") if path.exists() else ""
            if before != svg:
                differ += 1
                print(f"{path.name} is not what the app looks like; run python screenshots/make.py")
                print(first_difference(before, svg))
        else:
            path.write_text(svg, "utf-8")
            print(path.name)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
