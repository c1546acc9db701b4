"""Time-based one-time passwords (RFC 6238: SHA-1, 30 seconds, six digits) of MFA devices."""

from __future__ import annotations

import base64
import hmac
from datetime import datetime

STEP = 30
"""Seconds per time step."""


def step_at(moment: datetime) -> int:
    """Return the number of the 30-second time step at `moment`."""
    return int(moment.timestamp()) // STEP


def code_for(seed: str, step: int) -> str:
    """Return the six digits of time step `step` for a Base32 `seed`."""
    key = base64.b32decode(seed)
    digest = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"
