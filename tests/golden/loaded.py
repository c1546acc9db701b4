"""Packages other than keyturn's own that an entry point loads, because start-up time and who imports boto3
are promises."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.golden.home import KEYTURN
from tests.golden.recording import Recording

_OWN = ("keyturn", "_editable", "__editable")


class Loads:
    """Tells what programs import, beyond what their interpreter does by itself."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._bare = self._names(("-c", "pass"))[1]

    def record(self, title: str, words: Sequence[str]) -> None:
        """Add the names that `keyturn WORDS` imports, of the first level."""
        self._recording.home.wait_for_next_minute()
        code, names = self._names((KEYTURN, *words))
        names_loaded = sorted(names - self._bare)
        self._recording.add(
            "loaded.txt", f"{title}: exit {code}, {len(names_loaded)} names\n  " + "\n  ".join(names_loaded)
        )

    def _names(self, words: Sequence[str]) -> tuple[int, set[str]]:
        done = self._recording.home.run(*words, program=(sys.executable, "-X", "importtime"))
        lines = [line for line in done.err.splitlines() if line.startswith("import time:")]
        found = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines} - {"imported package"}
        return done.code, {name for name in found if not name.startswith(_OWN)}
