"""A session of a role, by AssumeRole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from keyturn.aws.api import Aws, IssuedCredentials, RoleRequest
from keyturn.model.errors import AwsRefused, NeedsMfa, ProfileBroken, WrongMfaCode
from keyturn.model.profile import Credentials
from keyturn.model.text import span
from keyturn.providers import sts_limits
from keyturn.providers.mfa_codes import require_code
from keyturn.providers.sts_limits import CHAINED_LONGEST, for_role


@dataclass(frozen=True, slots=True)
class AssumeRoleParams:
    """One role on the way, as a definition or a native profile describes it."""

    profile: str
    role_arn: str
    external_id: str | None = None
    mfa_serial: str | None = None
    session_name: str | None = None
    duration_seconds: int | None = None
    credential_source: str | None = None
    """Where the signing credentials come from instead of a source profile."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None
    policy: str | None = None
    """JSON text, read from its file already."""
    policy_arns: tuple[str, ...] = ()

    def parts(self) -> list[object]:
        """All that a session rests on besides who signs for it, for a digest."""
        found: list[object] = ["role", self.role_arn, self.external_id, self.mfa_serial, self.session_name]
        more = [sorted(self.tags.items()), sorted(self.transitive_tags), self.source_identity, self.policy]
        return [*found, *more, list(self.policy_arns), self.credential_source]


def check(params: AssumeRoleParams) -> None:
    """Refuses what AWS is sure to refuse, before anything is sent.

    :raises UsageError: with the setting and the reason.
    """
    sts_limits.role_arn(params.role_arn)
    for_role(params.duration_seconds, chained=False)
    for setting, value in (
        ("external_id", params.external_id),
        ("mfa_serial", params.mfa_serial),
        ("role_session_name", params.session_name),
        ("source_identity", params.source_identity),
    ):
        if value is not None:
            sts_limits.TEXTS[setting](value)
    sts_limits.transitive(params.transitive_tags, sts_limits.tags(params.tags))
    if params.policy is not None:
        sts_limits.policy(params.policy)
    sts_limits.together(params.policy, sts_limits.policy_arns(params.policy_arns))


@dataclass(frozen=True, slots=True)
class Assumed:
    """What AssumeRole brought."""

    issued: IssuedCredentials
    note: str = ""


_NOT_ALLOWED_IN_NAMES = re.compile(r"[^\w+=,.@-]", re.ASCII)


def session_name(wanted: str | None, profile: str) -> str:
    """RoleSessionName: the definition's, else made of the profile's name within AWS's pattern `[\\w+=,.@-]{2,64}`."""
    name = wanted or "keyturn-" + _NOT_ALLOWED_IN_NAMES.sub("-", profile)
    return name[:64]


def assume(
    aws: Aws,
    signer: Credentials,
    params: AssumeRoleParams,
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
    :raises UsageError: the definition asks for what AWS never grants; nothing was sent.
    """
    check(params)
    seconds, note = for_role(params.duration_seconds, chained=chained)
    if accepted_seconds:
        seconds = min(seconds, accepted_seconds)
    if params.mfa_serial:
        code = require_code(params.profile, params.mfa_serial, code)
    request = RoleRequest(
        role_arn=params.role_arn,
        session_name=session_name(params.session_name, params.profile),
        duration_seconds=seconds,
        external_id=params.external_id,
        mfa_serial=params.mfa_serial,
        mfa_code=code if params.mfa_serial else None,
        tags=params.tags,
        transitive_tags=params.transitive_tags,
        source_identity=params.source_identity,
        policy=params.policy,
        policy_arns=params.policy_arns,
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
            f"session for {params.profile}",
            f"{refused} and took the code; it will be asked for one hour from now on",
            f"Wait for the next code, then run: keyturn refresh {params.profile}",
            profile=params.profile,
            serial=params.mfa_serial or "",
        ) from None
    return Assumed(issued, f"{refused} and gave one hour")


#: Nothing near this is a policy that AWS takes; a wrong path may lead to an endless file.
LONGEST_FILE = 65_536


def text_of(value: str, profile: str) -> str:
    """The policy itself.

    :raises ProfileBroken: the file cannot be read.
    """
    if value.lstrip().startswith("{"):
        return value
    path = Path(os.path.expanduser(value))  # noqa: PTH111  # Path.expanduser raises where there is no home
    what, hint = f"policy of {profile}", f"Correct it: keyturn set {profile} policy=FILE"
    if not path.is_absolute():
        raise ProfileBroken(what, f"{value} is neither JSON nor an absolute path", hint)
    try:
        if not path.is_file():
            raise ProfileBroken(what, f"{value} is no file", hint)
        with path.open("rb") as file:
            data = file.read(LONGEST_FILE + 1)
        if len(data) > LONGEST_FILE:
            raise ProfileBroken(what, f"{value} is longer than {LONGEST_FILE} bytes", hint)
        return data.decode("utf-8")
    except OSError as error:
        raise ProfileBroken(what, f"{value}: {error.strerror or error}", hint) from None
    except UnicodeDecodeError:
        raise ProfileBroken(what, f"{value} is no UTF-8 text", hint) from None
