"""Grammar of the bytes that Textual itself sends to a terminal. Everything else is foreign."""

from __future__ import annotations

import re

from tests.adversarial.hostile_input.harmless_output import is_foreign

#: Colours and attributes, cursor placement, and the modes that Textual sets, resets or queries.
_OWN = re.compile(
    rb"\x1b\[[0-9;]*m"
    rb"|\x1b\[[0-9]+;[0-9]+H"
    rb"|\x1b\[\?(?:1049|25|1004|2004|7|1000|1002|1003|1015|1006|1016|2026|2048)[hl]"
    rb"|\x1b\[\?(?:2026|2048)\$p"
    rb"|\x1b\[>[0-9]+u|\x1b\[<u"
    rb"|\x1b\]22;default\x07"
)


def foreign_in(stream: bytes) -> list[str]:
    """Return everything that is neither printable text, a line end nor a sequence of Textual's own."""
    text = _OWN.sub(b"", stream).decode("utf-8", "surrogateescape")
    return [
        text[max(0, at - 20) : at + 20] for at, ch in enumerate(text) if ch not in "\r\n" and is_foreign(ch)
    ]
