"""Facts that an access key id encodes: account and key type."""

from __future__ import annotations

import base64

#: Old-format ids, which encode no account, have one of these as their fifth character.
_OLD_FORMAT = ("I", "J")


def account_of(key_id: str) -> str | None:
    """Return the twelve-digit account id that a key id encodes, or None for an old-format or unknown id.

    AWS does not document the encoding, so show the account as derived until GetCallerIdentity has confirmed
    it.
    """
    body = key_id[4:20]
    if len(body) != 16 or body.startswith(_OLD_FORMAT):
        return None
    try:
        number = int.from_bytes(base64.b32decode(body)[:6], "big")
    except ValueError:
        return None
    return format((number & 0x7FFFFFFFFF80) >> 7, "012d")


def is_long_term(key_id: str) -> bool:
    """Return True for the key of an IAM user (`AKIA…`)."""
    return key_id.startswith("AKIA")


def is_temporary(key_id: str) -> bool:
    """Return True for the key of a session (`ASIA…`)."""
    return key_id.startswith("ASIA")
