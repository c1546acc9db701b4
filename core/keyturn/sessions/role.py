"""A session of a role, by AssumeRole."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from keyturn.aws.ports import Aws, Issued, RoleRequest
from keyturn.errors import AwsRefused, NeedsMfa, WrongMfaCode
from keyturn.model import Credentials
from keyturn.sessions.durations import CHAINED_LONGEST, for_role
from keyturn.sessions.mfa import require_code
from keyturn.text import span


@dataclass(frozen=True, slots=True)
class Hop:
    """One role on the way, as a definition or a native profile describes it."""

    profile: str
    role_arn: str
    external_id: str | None = None
    mfa_serial: str | None = None
    session_name: str | None = None
    duration_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Assumed:
    """What AssumeRole brought."""

    issued: Issued
    note: str = ""


_NOT_ALLOWED_IN_NAMES = re.compile(r"[^\w+=,.@-]", re.ASCII)


def session_name(wanted: str | None, profile: str) -> str:
    """RoleSessionName: the definition's, else made of the profile's name within AWS's pattern `[\\w+=,.@-]{2,64}`."""
    name = wanted or "keyturn-" + _NOT_ALLOWED_IN_NAMES.sub("-", profile)
    return name[:64]


def assume(
    aws: Aws,
    signer: Credentials,
    hop: Hop,
    *,
    code: str | None,
    chained: bool,
    accepted_seconds: int | None = None,
    on_shorter: Callable[[int], None] = lambda _: None,
) -> Assumed:
    """Assumes the role of `hop` with `signer`.

    A refusal of the duration for the role's own maximum is tried once more with one hour.

    :param code: the current code of `hop.mfa_serial`, where it has one.
    :param chained: `signer` is temporary.
    :param accepted_seconds: what AWS accepted for this profile before.
    :param on_shorter: gets the duration that is asked for from now on, once AWS refused the one wanted.
    :raises NeedsMfa: a code is needed and none was given, or the refused call has used it up.
    """
    seconds, note = for_role(hop.duration_seconds, chained=chained)
    if accepted_seconds:
        seconds = min(seconds, accepted_seconds)
    if hop.mfa_serial:
        code = require_code(hop.profile, hop.mfa_serial, code)
    request = RoleRequest(
        role_arn=hop.role_arn,
        session_name=session_name(hop.session_name, hop.profile),
        duration_seconds=seconds,
        external_id=hop.external_id,
        mfa_serial=hop.mfa_serial,
        mfa_code=code if hop.mfa_serial else None,
    )
    try:
        return Assumed(aws.assume_role(signer, request), note)
    except AwsRefused as error:
        if (
            error.code != "ValidationError"
            or "DurationSeconds" not in error.why
            or seconds <= CHAINED_LONGEST
        ):
            raise
    on_shorter(CHAINED_LONGEST)
    refused = f"AWS refused {span(timedelta(seconds=seconds))} for this role"
    try:
        issued = aws.assume_role(signer, replace(request, duration_seconds=CHAINED_LONGEST))
    except WrongMfaCode:
        raise NeedsMfa(
            f"session for {hop.profile}",
            f"{refused} and took the code; it will be asked for one hour from now on",
            f"Wait for the next code, then run: keyturn refresh {hop.profile}",
            profile=hop.profile,
            serial=hop.mfa_serial or "",
        ) from None
    return Assumed(issued, f"{refused} and gave one hour")
