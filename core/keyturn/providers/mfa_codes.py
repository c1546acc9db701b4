"""MFA codes: validation of their form."""

from __future__ import annotations

import re

from keyturn.model.errors import RUN, NeedsMfa, Remedy, UsageError

_CODE = re.compile(r"[0-9]{6}")


def require_code(profile: str, serial: str, code: str | None) -> str:
    """Return `code` if it has the form of an MFA code.

    :raises NeedsMfa: if it is missing.
    :raises UsageError: if it is not six digits, because AWS would count it as a failed attempt.
    """
    if not code:
        raise NeedsMfa(
            f"Could not refresh {profile}",
            f"an MFA code of {serial} is required",
            (RUN, Remedy("refresh", profile), ", and type the code or add --mfa-code CODE"),
            profile=profile,
            serial=serial,
        )
    if not _CODE.fullmatch(code):
        raise UsageError(
            "Invalid MFA code", "it is not six digits", "Type the six digits that the device shows"
        )
    return code
