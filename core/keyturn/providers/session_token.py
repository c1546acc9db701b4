"""A session of an IAM user, by GetSessionToken, with or without MFA."""

from __future__ import annotations

from keyturn.aws.api import Aws, IssuedCredentials
from keyturn.model.profile import Credentials
from keyturn.providers.mfa_codes import require_code
from keyturn.providers.sts_limits import for_session_token
from keyturn.storage.managed_profiles import ManagedProfile


def issue(aws: Aws, key: Credentials, definition: ManagedProfile, code: str | None) -> IssuedCredentials:
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
