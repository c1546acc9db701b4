"""Test that output cannot affect a terminal, independently of the product's own rules."""

from __future__ import annotations

import unicodedata

#: Default_Ignorable_Code_Point of Unicode, and the blank symbol U+2800.
_IGNORABLE = frozenset(
    (
        0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0x200B, 0x2010),
        *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x2800, 0x3164, *range(0xFE00, 0xFE10), 0xFEFF,
        0xFFA0,
        *range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000),
    )
)  # fmt: skip
_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_foreign(ch: str) -> bool:
    """Return True if a terminal could obey `ch`, or a reader would not see it or see it elsewhere."""
    return unicodedata.category(ch) in _CATEGORIES or ord(ch) in _IGNORABLE


def foreign(output: bytes | str) -> list[str]:
    """Return the characters that a program's output must not contain; its own line ends are allowed.

    Bytes that are not UTF-8 count, because a terminal in another encoding obeys them.
    """
    text = output if isinstance(output, str) else output.decode("utf-8", "surrogateescape")
    if text.isascii() and text.replace("\n", "").isprintable():
        return []
    return [ch for ch in text if ch != "\n" and is_foreign(ch)]
