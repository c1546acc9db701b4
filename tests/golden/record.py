"""Records what the outside sees of keyturn: files, output, sockets, loaded packages. Two recordings of one
checkout are equal byte for byte, so that a change of structure can be shown to change nothing else.

    python -m tests.golden.record FOLDER

records the checkout that the interpreter has keyturn from, whichever this file lies in.
"""

from __future__ import annotations

import shutil
import signal
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.golden import damaged, home_files, refusals, scenario, wire
from tests.golden.home import Home
from tests.golden.masks import Masks
from tests.golden.recording import Recording


def main(words: list[str]) -> int:
    """Record into the folder that is named, whose golden files are replaced; give the exit code."""
    if len(words) != 1:
        sys.stderr.write("usage: python -m tests.golden.record FOLDER\n")
        return 2
    folder = Path(words[0])
    began = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    with Home() as home, ThreadPoolExecutor(1) as beside:
        recording = Recording(home)
        aside = beside.submit(_aside, recording, home.twin("new"))
        scenario.record_queries(recording, "looks-new.txt", all_=True)
        identity = scenario.create_vault(recording)
        scenario.furnish(recording)
        home_files.record(recording, "home-furnished", identity)
        refusals.open_(recording)
        scenario.rotate(recording)
        wire.record(recording)
        refusals.locked(recording)
        aside.result()
        damaged.record(recording)
        scenario.end(recording, identity)
        literals = home.literals()
    for old in folder.glob("*"):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink()
    recording.write(folder, Masks(home.start, literals))
    sys.stdout.write(f"{len(recording.pages)} files in {time.monotonic() - began:.0f} s\n")
    return 0


def _aside(recording: Recording, twin: Mapping[str, str | None]) -> None:
    """Record what has nothing to do with the furnished home.

    :param twin: the variables of a copy from before there was a vault.
    """
    refusals.without_vault(recording, twin)
    scenario.record_help(recording)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
