"""Add a note to `recipient.txt`, as a later version of keyturn would."""

from __future__ import annotations

import hashlib


def with_note(content: bytes, note: str) -> bytes:
    """Return the file with a note, covered by its check."""
    lines = content.decode("ascii").splitlines(keepends=True)
    head, recipient = "".join(lines[:-2]) + f"# {note}\n", lines[-1]
    check = hashlib.sha256((head + recipient).encode()).hexdigest()[:16]
    return f"{head}# check {check}\n{recipient}".encode("ascii")
