"""What an access key id tells by itself (aws-facts 6)."""

from __future__ import annotations

import base64

#: Ids of the old format, which do not encode an account.
_OLD_FORMAT = ("I", "J")


def account_of(key_id: str) -> str | None:
    """The twelve-digit account that a key id encodes; None for an old-format or foreign id.

    AWS does not document this: show it as derived until GetCallerIdentity has confirmed it.
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
    """`AKIA…`: an IAM user's key. Temporary ones begin with `ASIA`."""
    return key_id.startswith("AKIA")


def is_temporary(key_id: str) -> bool:
    return key_id.startswith("ASIA")
