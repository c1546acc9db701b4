"""Cached tokens of sign-ins, judged as botocore judges them: how long they are valid, and if AWS tools renew
them. Pure functions over untrusted JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from keyturn.model.profile import Kind, Login
from keyturn.model.text import from_aws_time, from_iso, iso

#: botocore's `SSOTokenProvider` renews a token that has all of them, until `registrationExpiresAt`.
_SSO_RENEWAL_KEYS = ("refreshToken", "clientId", "clientSecret")
#: botocore's `LoginCredentialFetcher` requires them beside the access token.
_CONSOLE_RENEWAL_KEYS = ("refreshToken", "clientId", "dpopKey")
#: "The CLI and SDKs will automatically refresh them as needed up to 12 hours" (AWS SDKs and Tools Reference
#: Guide, Login credentials provider).
CONSOLE_LOGIN_LIFETIME = timedelta(hours=12)
#: Lifetime of the credentials of `aws login`, by the same page.
CONSOLE_TOKEN_LIFETIME = timedelta(minutes=15)


def sso_login(token: Mapping[str, Any], session: str | None, start_url: str) -> Login | None:
    """Return the Identity Center sign-in of a token, or None if AWS tools cannot read it.

    The end of the client registration is the last moment of a renewal; the portal session, whose end no file
    records, usually ends earlier. AWS tools never renew the token of a profile without an sso-session.
    """
    until = from_aws_time(token.get("expiresAt"))
    if not _has_texts(token, ("accessToken",)) or until is None:
        return None
    name = session or start_url
    registered_until = from_aws_time(token.get("registrationExpiresAt"))
    if session is None or registered_until is None or not _has_texts(token, _SSO_RENEWAL_KEYS):
        return Login(name, Kind.SSO_ROLE, until)
    return Login(name, Kind.SSO_ROLE, until, is_renewable=True, renewable_until=registered_until)


def console_login(token: Mapping[str, Any], login_session: str) -> Login | None:
    """Return the sign-in of an `aws login` token, or None if AWS tools cannot read it.

    AWS tools renew it for 12 hours after the sign-in, whose time is in the id token, because they keep that
    when they renew the others. The time is None if the file does not tell it.
    """
    access = token.get("accessToken")
    until = from_aws_time(access.get("expiresAt")) if isinstance(access, dict) else None
    if until is None:
        return None
    if not _has_texts(token, _CONSOLE_RENEWAL_KEYS):
        return Login(login_session, Kind.CONSOLE_LOGIN, until)
    signed_in = _issue_time(token.get("idToken"))
    end = None if signed_in is None else signed_in + CONSOLE_LOGIN_LIFETIME
    # An id token that does not fit the access token belongs to another sign-in.
    if signed_in is None or end is None or not signed_in < until <= end + CONSOLE_TOKEN_LIFETIME:
        end = None
    return Login(login_session, Kind.CONSOLE_LOGIN, until, is_renewable=True, renewable_until=end)


def _has_texts(token: Mapping[str, Any], keys: tuple[str, ...]) -> bool:
    return all(isinstance(token.get(key), str) and token[key] for key in keys)


def _issue_time(id_token: object) -> datetime | None:
    """Return the time at which a JSON Web Token was issued (`iat`, seconds since 1970), or None. Its
    signature is not verified, because the time is only shown.
    """
    payload = id_token.split(".")[1:2] if isinstance(id_token, str) else []
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload[0] + "=" * (-len(payload[0]) % 4)))
        issued = datetime.fromtimestamp(claims["iat"], UTC)
    except (ValueError, LookupError, TypeError, OverflowError, OSError, RecursionError):
        return None
    return from_iso(iso(issued))
