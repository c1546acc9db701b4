"""How long a session may live: AWS's fixed limits, checked before the call (STS API reference, aws-facts 4)."""

from __future__ import annotations

from datetime import timedelta

from keyturn.errors import UsageError

SHORTEST = 900
SESSION_TOKEN_DEFAULT = 43_200
SESSION_TOKEN_LONGEST = 129_600
ROLE_DEFAULT = 3_600
ROLE_LONGEST = 43_200
CHAINED_LONGEST = 3_600
#: Shorter than this a user's MFA session is not worth asking for a role with.
DEVICE_LEAST_LEFT = timedelta(minutes=2)


def for_session_token(wanted: int | None) -> int:
    """Seconds to ask of GetSessionToken: 12 h unless the definition says otherwise.

    :raises UsageError: outside of 900 to 129600.
    """
    return _within(wanted, SESSION_TOKEN_DEFAULT, SESSION_TOKEN_LONGEST, "a session of an IAM user")


def for_role(wanted: int | None, *, chained: bool) -> tuple[int, str]:
    """Seconds to ask of AssumeRole, and a sentence where a fixed rule shortened them.

    :param chained: the signer is itself a role's session or another temporary credential: AWS then allows one hour.
    :raises UsageError: outside of 900 to 43200.
    """
    seconds = _within(wanted, ROLE_DEFAULT, ROLE_LONGEST, "a role's session")
    if chained and seconds > CHAINED_LONGEST:
        return CHAINED_LONGEST, "AWS allows one hour at most for a role that is assumed from another session"
    return seconds, ""


def _within(wanted: int | None, default: int, longest: int, what: str) -> int:
    if wanted is None:
        return default
    if not SHORTEST <= wanted <= longest:
        why = f"{wanted} s is not between {SHORTEST} and {longest} s, which AWS allows for {what}"
        raise UsageError(
            "duration_seconds", why, f"Run: keyturn set PROFILE duration={SHORTEST}, or as much as fits"
        )
    return wanted
