"""Packages other than keyturn's own that an entry point loads, because start-up time and who imports boto3
are promises."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.golden.book import Book
from tests.golden.home import KEYTURN

_OWN = ("keyturn", "_editable", "__editable")


class Loads:
    """Tells what programs import, beyond what their interpreter does by itself."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._bare = self._names(("-c", "pass"))[1]

    def keep(self, title: str, words: Sequence[str]) -> None:
        """Add the names that `keyturn WORDS` imports, of the first level."""
        self._book.home.act_now()
        code, names = self._names((KEYTURN, *words))
        told = sorted(names - self._bare)
        self._book.add("loaded.txt", f"{title}: exit {code}, {len(told)} names\n  " + "\n  ".join(told))

    def _names(self, words: Sequence[str]) -> tuple[int, set[str]]:
        done = self._book.home.run(*words, program=(sys.executable, "-X", "importtime"))
        lines = [line for line in done.err.splitlines() if line.startswith("import time:")]
        found = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines} - {"imported package"}
        return done.code, {name for name in found if not name.startswith(_OWN)}
