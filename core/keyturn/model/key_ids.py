"""Facts that an access key id encodes: account and key type."""

from __future__ import annotations

import base64
import re

#: Old-format ids, which encode no account, have one of these as their fifth character.
_OLD_FORMAT = ("I", "J")
_KEY_ID = re.compile(r"[A-Z]{4}([A-Z2-7]{16})", re.ASCII)


def account_of(key_id: str) -> str | None:
    """Return the twelve-digit account id that a key id encodes, or None for an old-format or unknown id.

    AWS does not document the encoding, so show the account as derived until GetCallerIdentity has confirmed
    it.
    """
    match = _KEY_ID.fullmatch(key_id)
    if match is None or match[1].startswith(_OLD_FORMAT):
        return None
    number = int.from_bytes(base64.b32decode(match[1])[:6], "big")
    return format((number & 0x7FFFFFFFFF80) >> 7, "012d")


def is_long_term(key_id: str) -> bool:
    """Return True for the key of an IAM user (`AKIA…`)."""
    return key_id.startswith("AKIA")


def is_temporary(key_id: str) -> bool:
    """Return True for the key of a session (`ASIA…`)."""
    return key_id.startswith("ASIA")
