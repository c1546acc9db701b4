"""Which packages an entry point loads beside keyturn's own: start-up time is a promise, and so is who imports boto3."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tests.golden.book import Book
from tests.golden.home import KEYTURN

_OWN = ("keyturn", "_editable", "__editable", "_virtualenv")


def keep(book: Book, title: str, words: Sequence[str]) -> None:
    """Add the names that `keyturn WORDS` imports, of the first level."""
    done = book.home.run(*words, program=(sys.executable, "-X", "importtime", KEYTURN))
    names = set()
    for line in done.err.splitlines():
        if not line.startswith("import time:"):
            continue
        name = line.rpartition("|")[2].strip().partition(".")[0]
        if name != "imported package" and not name.startswith(_OWN):
            names.add(name)
    book.add("loaded.txt", f"{title}: exit {done.code}, {len(names)} names\n  " + "\n  ".join(sorted(names)))
