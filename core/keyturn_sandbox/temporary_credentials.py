"""Common parts of the calls that issue temporary credentials."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn_sandbox.policy.principals import Session
from keyturn_sandbox.services.parameters import Integer, Text
from keyturn_sandbox.xml_responses import Value

HOUR = 3600
"""Maximum duration for root, and for a role session of a caller with temporary credentials. Seconds."""
MAX_TOKEN_BYTES = 4096
"""Size of the largest session token in bytes."""

PLAIN_TOKEN_BYTES = 740
"""Larger than any token without policies and tags."""

SERIAL = Text("SerialNumber", r"[\w+=/:,.@-]*", 9, 256)
CODE = Text("TokenCode", r"[\d]*", 6, 6)
TOKEN_SIZE = Integer("MinimumSessionTokenSize", 0, MAX_TOKEN_BYTES)


def credentials_result(session: Session, params: Mapping[str, str]) -> dict[str, Value]:
    """Return the part of a response with the credentials of `session`."""
    size = len(session.token.reveal())
    result: dict[str, Value] = {
        "Credentials": {
            "AccessKeyId": session.key_id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": session.expires,
        }
    }
    if "MinimumSessionTokenSize" in params:
        result["SessionTokenSize"] = size
    return result


def token_bytes(params: Mapping[str, str], packed: int | None) -> int:
    """Return the minimum length of a token: as requested, and longer with policies or tags."""
    minimum = PLAIN_TOKEN_BYTES + packed * 24 if packed else 0
    return max(int(params.get("MinimumSessionTokenSize", 0)), minimum)
