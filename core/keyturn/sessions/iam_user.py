"""A session of an IAM user, by GetSessionToken, with or without MFA."""

from __future__ import annotations

from keyturn.aws.ports import Aws, Issued
from keyturn.definitions import Definition
from keyturn.model import Credentials
from keyturn.sessions.durations import for_session_token
from keyturn.sessions.mfa import require_code


def issue(aws: Aws, key: Credentials, definition: Definition, code: str | None) -> Issued:
    """Asks STS for a session of the key's user.

    :param code: the current code of `definition.mfa_serial`, where it has one.
    :raises NeedsMfa: a code is needed and none was given.
    """
    seconds = for_session_token(definition.duration_seconds)
    if definition.mfa_serial:
        code = require_code(definition.name, definition.mfa_serial, code)
    return aws.get_session_token(
        key,
        duration_seconds=seconds,
        mfa_serial=definition.mfa_serial,
        mfa_code=code if definition.mfa_serial else None,
    )
