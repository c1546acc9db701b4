"""`recipient.txt` as a later version of keyturn would write it."""

from __future__ import annotations

import hashlib


def checked(notes: str, last: str) -> bytes:
    """Return the file with its check between the notes and the last line."""
    check = hashlib.sha256((notes + last).encode()).hexdigest()[:16]
    return f"{notes}# check {check}\n{last}".encode("ascii")


def with_note(content: bytes, note: str) -> bytes:
    """Return the file with one more note."""
    lines = content.decode("ascii").splitlines(keepends=True)
    return checked("".join(lines[:-2]) + f"# {note}\n", lines[-1])
