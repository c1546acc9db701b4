"""Cached tokens of sign-ins: what they tell by their fields and the time, as botocore judges them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyturn.awsconfig.login_tokens import console_login, sso_login
from keyturn.model.profile import Kind, Login, LoginState, login_state

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
URL = "https://my-sso-portal.awsapps.com/start"
ARN = "arn:aws:iam::123456789012:user/alice"


def time_text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sso_token(until: timedelta, **changes: object) -> dict[str, Any]:
    """Return a token of `aws sso login` that expires at `until` from now; None removes a field."""
    token = {
        "startUrl": URL,
        "region": "us-east-1",
        "accessToken": "t",
        "expiresAt": time_text(NOW + until),
        "clientId": "c",
        "clientSecret": "s",
        "registrationExpiresAt": time_text(NOW + 81 * DAY),
        "refreshToken": "r",
        **changes,
    }
    return {key: value for key, value in token.items() if value is not None}


def id_token(issued: object) -> str:
    parts: list[dict[str, object]] = [{"alg": "ES384"}, {"sub": ARN, "iat": issued}]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2ln"])


def console_token(until: timedelta, **changes: object) -> dict[str, Any]:
    """Return a token of `aws login` that expires at `until` from now; None removes a field."""
    access = {"accessKeyId": "ASIA", "secretAccessKey": "s", "sessionToken": "t", "accountId": "123456789012"}
    token = {
        "accessToken": {**access, "expiresAt": time_text(NOW + until)},
        "tokenType": "aws_sigv4",
        "clientId": "arn:aws:signin:::devtools/same-device",
        "refreshToken": "r",
        "idToken": id_token(int((NOW - HOUR).timestamp())),
        "dpopKey": "-----BEGIN EC PRIVATE KEY-----",
        **changes,
    }
    return {key: value for key, value in token.items() if value is not None}


#: Values that are no text.
NO_TEXTS: list[Any] = [None, "", 5, {}, []]
#: Access tokens of `aws login` that AWS tools cannot use.
BAD_ACCESS_TOKENS: list[Any] = [None, "t", [], {}, {"expiresAt": 5}, {"expiresAt": "soon"}]

#: Token, its sso-session or None for a profile without one; the state, and the last moment of a renewal.
SSO: list[tuple[dict[str, Any], str | None, LoginState | None, timedelta | None]] = [
    (sso_token(HOUR), "acme", LoginState.SIGNED_IN, 81 * DAY),
    (sso_token(SECOND), "acme", LoginState.SIGNED_IN, 81 * DAY),
    (sso_token(timedelta(0)), "acme", LoginState.RENEWABLE, 81 * DAY),
    (sso_token(-3 * DAY), "acme", LoginState.RENEWABLE, 81 * DAY),
    (sso_token(-HOUR, registrationExpiresAt=time_text(NOW)), "acme", LoginState.ENDED, timedelta(0)),
    (sso_token(-HOUR, registrationExpiresAt=time_text(NOW + SECOND)), "acme", LoginState.RENEWABLE, SECOND),
    (sso_token(HOUR, refreshToken=None), "acme", LoginState.SIGNED_IN, None),
    *((sso_token(-HOUR, **{key: value}), "acme", LoginState.ENDED, None)
      for key in ("refreshToken", "clientId", "clientSecret", "registrationExpiresAt")
      for value in NO_TEXTS),
    (sso_token(-HOUR, registrationExpiresAt="2026-05-01T12:00:00"), "acme", LoginState.ENDED, None),
    (sso_token(-HOUR, registrationExpiresAt="9999-12-31T23:59:59Z"), "acme", LoginState.ENDED, None),
    # AWS tools renew no token of a profile without an sso-session.
    (sso_token(HOUR), None, LoginState.SIGNED_IN, None),
    (sso_token(-HOUR), None, LoginState.ENDED, None),
    (sso_token(-HOUR, expiresAt="2026-03-01T18:00:00UTC"), None, LoginState.SIGNED_IN, None),
    (sso_token(-HOUR, expiresAt="2026-03-01T18:00:00.000Z"), None, LoginState.SIGNED_IN, None),
    *((sso_token(HOUR, **{key: value}), "acme", None, None)
      for key in ("accessToken", "expiresAt") for value in NO_TEXTS),
    (sso_token(HOUR, expiresAt="2026-03-01T18:00:00"), "acme", None, None),
    ({}, "acme", None, None),
]  # fmt: skip


@pytest.mark.parametrize(("token", "session", "state", "end"), SSO, ids=range(len(SSO)))
def test_an_sso_sign_in_by_the_fields_of_its_token(
    token: dict[str, Any], session: str | None, state: LoginState | None, end: timedelta | None
) -> None:
    login = sso_login(token, session, URL)
    assert (None if login is None else login_state(login, NOW)) == state
    if login is not None:
        assert (login.name, login.kind) == (session or URL, Kind.SSO_ROLE)
        assert login.renewable_until == (None if end is None else NOW + end)
        assert login.is_renewable is (end is not None)


class Store(dict[str, Any]):
    """A cache of botocore in memory that has one token, whatever its name."""

    def __init__(self, token: dict[str, Any]) -> None:
        super().__init__()
        self.token = token

    def __contains__(self, key: object) -> bool:
        return True

    def __getitem__(self, key: str) -> Any:
        return self.token


def renewed_by_botocore(token: dict[str, Any]) -> bool:
    """Return True if botocore asks AWS for a new token of an sso-session."""
    from botocore.session import Session
    from botocore.tokens import SSOTokenProvider

    class Watched(SSOTokenProvider):
        asked = False

        def _load_sso_config(self) -> dict[str, str]:
            return {"session_name": "acme", "sso_region": "us-east-1", "sso_start_url": URL}

        def _attempt_create_token(self, _token: dict[str, Any]) -> None:
            self.asked = True

    make: Any = Watched
    provider = make(Session(), cache=Store(token), time_fetcher=lambda: NOW, profile_name="p")
    provider._refresher()
    return bool(provider.asked)


@pytest.mark.parametrize(
    "token",
    [
        sso_token(-HOUR),
        sso_token(-HOUR, registrationExpiresAt=time_text(NOW)),
        sso_token(-HOUR, registrationExpiresAt=time_text(NOW + SECOND)),
        *(
            sso_token(-HOUR, **{key: None})
            for key in ("refreshToken", "clientId", "clientSecret", "registrationExpiresAt")
        ),
    ],
    ids=range(7),
)
def test_a_sign_in_is_renewable_if_botocore_renews_it(token: dict[str, Any]) -> None:
    login = sso_login(token, "acme", URL)
    assert login is not None
    assert (login_state(login, NOW) is LoginState.RENEWABLE) is renewed_by_botocore(token)


#: Token; the state, and the last moment of a renewal.
CONSOLE: list[tuple[dict[str, Any], LoginState | None, timedelta | None]] = [
    (console_token(10 * MINUTE), LoginState.SIGNED_IN, 11 * HOUR),
    (console_token(timedelta(0)), LoginState.RENEWABLE, 11 * HOUR),
    (
        console_token(-HOUR, idToken=id_token((NOW - 12 * HOUR).timestamp())),
        LoginState.ENDED,
        timedelta(0),
    ),
    (
        console_token(-HOUR, idToken=id_token((NOW - 12 * HOUR).timestamp() + 1)),
        LoginState.RENEWABLE,
        SECOND,
    ),
    (
        console_token(10 * MINUTE, idToken=id_token((NOW - 12 * HOUR).timestamp())),
        LoginState.SIGNED_IN,
        timedelta(0),
    ),
    # An id token of another sign-in, or none that tells a time.
    *(
        (console_token(-MINUTE, idToken=text), LoginState.RENEWABLE, None)
        for text in (
            id_token((NOW + HOUR).timestamp()), id_token((NOW - 13 * HOUR).timestamp()), id_token("now"),
            id_token(None), id_token(-1), id_token(1e300), id_token(float("nan")), id_token(253402300799),
            id_token([]), None, "", 5, "a.b.c", "..", "x", "a.\u00e4\u00f6.c", f"a.{'W1tb' * 100_000}.c",
            "a.NQ.c", "a.W10.c",
        )
    ),
    *((console_token(-MINUTE, **{key: value}), LoginState.ENDED, None)
      for key in ("refreshToken", "clientId", "dpopKey") for value in NO_TEXTS),
    (console_token(MINUTE, refreshToken=None), LoginState.SIGNED_IN, None),
    *((console_token(MINUTE, accessToken=value), None, None) for value in BAD_ACCESS_TOKENS),
    ({}, None, None),
]  # fmt: skip


@pytest.mark.parametrize(("token", "state", "end"), CONSOLE, ids=range(len(CONSOLE)))
def test_a_console_sign_in_by_the_fields_of_its_token(
    token: dict[str, Any], state: LoginState | None, end: timedelta | None
) -> None:
    login = console_login(token, ARN)
    assert (None if login is None else login_state(login, NOW)) == state
    if login is not None:
        assert (login.name, login.kind) == (ARN, Kind.CONSOLE_LOGIN)
        assert login.renewable_until == (None if end is None else NOW + end)


@pytest.mark.parametrize("key", ["refreshToken", "clientId", "dpopKey", "tokenType", "idToken"])
def test_a_console_sign_in_lacks_what_botocore_misses(key: str) -> None:
    from botocore.credentials import LoginCredentialFetcher
    from botocore.exceptions import LoginTokenLoadError
    from botocore.utils import LoginTokenLoader

    token = console_token(-HOUR, **{key: None})
    fetcher: Any = LoginCredentialFetcher
    try:
        fetcher(ARN, LoginTokenLoader(Store(token)), None).load_cached_credentials()
        is_complete = True
    except LoginTokenLoadError:
        is_complete = False
    login = console_login(token, ARN)
    assert login is not None
    assert login.is_renewable is is_complete


def test_a_sign_in_holds_no_token() -> None:
    login = sso_login(sso_token(HOUR, accessToken="SECRET", refreshToken="SECRET"), "acme", URL)
    assert login == Login("acme", Kind.SSO_ROLE, NOW + HOUR, True, NOW + 81 * DAY)
    assert "SECRET" not in repr(login)
