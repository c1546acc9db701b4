"""What the calls that give out temporary credentials have in common."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn_sandbox.policy.principals import Session
from keyturn_sandbox.services.parameters import Text, Whole
from keyturn_sandbox.xml_responses import Value

HOUR = 3600
"""All that root may have, and all that a role session may have if the caller's credentials are temporary."""
MOST_TOKEN = 4096
"""The size in bytes of the largest session token."""

PLAIN_TOKEN = 740
"""More than any token that carries neither policies nor tags."""

SERIAL = Text("SerialNumber", r"[\w+=/:,.@-]*", 9, 256)
CODE = Text("TokenCode", r"[\d]*", 6, 6)
TOKEN_SIZE = Whole("MinimumSessionTokenSize", 0, MOST_TOKEN)


def issued(session: Session, params: Mapping[str, str]) -> dict[str, Value]:
    """The part of an answer that holds the credentials of `session`."""
    size = len(session.token.reveal())
    told: dict[str, Value] = {
        "Credentials": {
            "AccessKeyId": session.key_id,
            "SecretAccessKey": session.secret,
            "SessionToken": session.token,
            "Expiration": session.expires,
        }
    }
    if "MinimumSessionTokenSize" in params:
        told["SessionTokenSize"] = size
    return told


def token_bytes(params: Mapping[str, str], packed: int | None) -> int:
    """How long a token is at least: as asked for, and longer by what it carries."""
    carried = PLAIN_TOKEN + packed * 24 if packed else 0
    return max(int(params.get("MinimumSessionTokenSize", 0)), carried)
