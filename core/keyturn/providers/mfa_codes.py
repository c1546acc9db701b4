"""MFA codes: six digits, each used once."""

from __future__ import annotations

import re

from keyturn.model.errors import NeedsMfa, UsageError

_CODE = re.compile(r"[0-9]{6}")


def require_code(profile: str, serial: str, code: str | None) -> str:
    """`code`, checked for its shape.

    :raises NeedsMfa: there is none.
    :raises UsageError: it is not six digits; AWS would refuse it, and count it as a failed try.
    """
    if not code:
        raise NeedsMfa(
            f"session for {profile}",
            f"it needs an MFA code of {serial}",
            f"Run: keyturn refresh {profile}, which asks for it, or add --mfa-code CODE",
            profile=profile,
            serial=serial,
        )
    if not _CODE.fullmatch(code):
        raise UsageError("MFA code", "it is not six digits", "Type the six digits that the device shows")
    return code
