"""Sign-ins of Identity Center and of `aws login` by what AWS tools have cached of them: renewable, ended, and
sessions without a known end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.person import KEYTURN, Person
from tests.end_to_end.terminal import terminal

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
START = "https://initech.awsapps.com/start"
ARN = "arn:aws:iam::123456789012:user/alice"
CONFIG = f"""
[sso-session initech]
sso_start_url = {START}
sso_region = us-east-1

[profile dev]
sso_session = initech
sso_account_id = 123456789012
sso_role_name = Admin

[profile legacy]
sso_start_url = {START}
sso_region = us-east-1
sso_account_id = 123456789012
sso_role_name = Admin

[profile through]
role_arn = arn:aws:iam::123456789012:role/Build
source_profile = dev

[profile through-old]
role_arn = arn:aws:iam::123456789012:role/Build
source_profile = legacy

[profile console]
login_session = {ARN}
region = eu-west-1

[profile timeless]
aws_access_key_id = ASIAQNZGKIQY56JQ7WML
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
aws_session_token = IQoJb3JpZ2luX2VjEXAMPLE
"""


def time_text(left: timedelta) -> str:
    return (datetime.now(UTC) + left).strftime("%Y-%m-%dT%H:%M:%SZ")


def sso_token(left: timedelta) -> dict[str, str]:
    """Return a token as `aws sso login` writes it for an sso-session."""
    return {
        "startUrl": START, "region": "us-east-1", "accessToken": "t", "expiresAt": time_text(left),
        "clientId": "c", "clientSecret": "s", "registrationExpiresAt": time_text(80 * DAY),
        "refreshToken": "r",
    }  # fmt: skip


def console_token(left: timedelta, signed_in: timedelta) -> dict[str, Any]:
    """Return a token as `aws login` writes it.

    :param signed_in: time since the sign-in.
    """
    claims = {"sub": ARN, "iat": int((datetime.now(UTC) - signed_in).timestamp())}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    access = {"accessKeyId": "ASIAQNZGKIQY56JQ7WML", "secretAccessKey": "s", "sessionToken": "t"}
    return {
        "accessToken": {**access, "accountId": "123456789012", "expiresAt": time_text(left)},
        "tokenType": "aws_sigv4", "clientId": "arn:aws:signin:::devtools/same-device", "refreshToken": "r",
        "idToken": f"e30.{payload}.c2ln", "dpopKey": "-----BEGIN EC PRIVATE KEY-----\nx\n",
    }  # fmt: skip


class Caches:
    """The caches of AWS tools in the home of a user."""

    def __init__(self, person: Person) -> None:
        self._aws = person.config.parent

    def sso(self, name: str, token: object) -> Path:
        return self._write("sso", hashlib.sha1(name.encode()).hexdigest(), token)  # noqa: S324  # as the AWS CLI

    def console(self, token: object) -> Path:
        return self._write("login", hashlib.sha256(ARN.encode()).hexdigest(), token)

    def role(self, left: timedelta) -> Path:
        """Write the role credentials of the profile `dev`."""
        key = {"accountId": "123456789012", "roleName": "Admin", "sessionName": "initech"}
        text = json.dumps(key, sort_keys=True, separators=(",", ":"))
        credentials = {"AccessKeyId": "ASIAQNZGKIQY5ROLEKEY", "Expiration": time_text(left)}
        table = {"ProviderType": "sso", "Credentials": credentials}
        return self._write("cli", hashlib.sha1(text.encode()).hexdigest(), table)  # noqa: S324  # see above

    def _write(self, kind: str, name: str, table: object) -> Path:
        path = self._aws / kind / "cache" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table))
        return path


@pytest.fixture
def user(newcomer: Person) -> Person:
    newcomer.config.write_text(newcomer.config.read_text() + CONFIG)
    return newcomer


@pytest.fixture
def caches(user: Person) -> Caches:
    return Caches(user)


def listed(user: Person, name: str) -> tuple[str | None, str | None, str | None]:
    """Return the state of a profile and of its sign-in, and the expiry of its session."""
    row = user.row(name)
    shown = json.loads(user.does("show", name, "--json"))["profile"]
    assert shown == row
    login = row.get("login")
    return row["state"], login and login["state"], row["expires"]


def line_of(user: Person, name: str, *words: str) -> str:
    """Return the line of `keyturn list` of a profile."""
    lines = user.does("list", *words).splitlines()
    return next((line for line in lines if line.startswith(f"{name} ")), "")


def test_an_sso_sign_in_that_renews_is_not_expired(user: Person, caches: Caches) -> None:
    caches.sso("initech", sso_token(-HOUR))
    assert listed(user, "dev") == ("none", "renewable", None)
    login = user.row("dev")["login"]
    assert set(login) == {"name", "state", "until", "renewable_until"}
    assert login["name"] == "initech"
    assert login["until"] < time_text(timedelta()) < time_text(79 * DAY) < login["renewable_until"]
    assert line_of(user, "dev").split()[2:4] == ["none", "renewable"]
    assert "renews on use, while its portal session lasts" in user.does("show", "dev")
    assert line_of(user, "dev", "--filter", "state:renewable")
    assert not line_of(user, "dev", "--filter", "state:expired")


def test_a_cached_session_counts_while_it_is_valid_whatever_the_sign_in(user: Person, caches: Caches) -> None:
    caches.sso("initech", sso_token(-HOUR))
    caches.role(HOUR)
    assert listed(user, "dev")[:2] == ("fresh", "renewable")
    caches.role(timedelta(minutes=5))
    assert listed(user, "dev")[:2] == ("soon", "renewable")
    caches.role(-HOUR)
    assert listed(user, "dev") == ("none", "renewable", None)
    assert user.row("dev")["key_id"] is None
    caches.sso("initech", {**sso_token(-HOUR), "registrationExpiresAt": time_text(-HOUR)})
    assert listed(user, "dev")[:2] == ("expired", "ended")


def test_a_valid_sign_in_has_its_own_state_and_end(user: Person, caches: Caches) -> None:
    caches.sso("initech", sso_token(HOUR))
    caches.sso(START, {key: sso_token(HOUR)[key] for key in ("accessToken", "expiresAt")})
    for name, login in (("dev", "initech"), ("legacy", START)):
        assert listed(user, name) == ("none", "signed-in", None)
        row = user.row(name)["login"]
        assert row["name"] == login
        assert time_text(HOUR / 2) < row["until"] <= time_text(HOUR)
        assert (row["renewable_until"] is None) is (name == "legacy")
        assert "signed in" in line_of(user, name)


def test_a_sign_in_of_a_start_url_ends_with_its_token(user: Person, caches: Caches) -> None:
    user.makes_vault()
    caches.sso(START, sso_token(-3 * DAY))
    assert listed(user, "legacy") == ("expired", "ended", None)
    command = "aws sso login --profile legacy"
    assert f"ended 3d ago; sign in again: {command}\n" in user.does("show", "legacy")
    refused = user.keyturn("refresh", "legacy")
    assert refused.returncode == 4, refused.stderr
    assert refused.stderr.endswith(f"Run: {command}\n")


def test_a_role_is_signed_in_for_by_the_profile_at_its_end(user: Person, caches: Caches) -> None:
    user.makes_vault()
    caches.sso("initech", sso_token(-HOUR))
    caches.sso(START, sso_token(-3 * DAY))
    assert listed(user, "through") == ("none", "renewable", None)
    assert listed(user, "through-old") == ("none", "ended", None)
    command = "aws sso login --profile legacy"
    assert command in user.does("show", "through-old")
    refused = user.keyturn("refresh", "through-old")
    assert refused.returncode == 4, refused.stderr
    assert refused.stderr.endswith(f"Run: {command}\n")


def test_a_console_sign_in_renews_for_twelve_hours(user: Person, caches: Caches) -> None:
    caches.console(console_token(-HOUR, signed_in=3 * HOUR))
    assert listed(user, "console") == ("none", "renewable", None)
    login = user.row("console")["login"]
    assert login["name"] == ARN
    assert time_text(8.9 * HOUR) < login["renewable_until"] <= time_text(9 * HOUR)
    assert "UTC at the latest" in user.does("show", "console")
    caches.console({**console_token(-HOUR, signed_in=3 * HOUR), "idToken": "x"})
    assert user.row("console")["login"]["renewable_until"] is None
    caches.console(console_token(HOUR / 6, signed_in=3 * HOUR))
    assert listed(user, "console")[:2] == ("soon", "signed-in")
    caches.console(console_token(-HOUR, signed_in=13 * HOUR))
    assert listed(user, "console")[:2] == ("expired", "ended")
    assert "sign in again: aws login --profile console\n" in user.does("show", "console")


def test_a_refresh_of_a_console_sign_in_names_the_package_that_botocore_lacks(
    user: Person, caches: Caches
) -> None:
    user.makes_vault()
    caches.console(console_token(-HOUR, signed_in=3 * HOUR))
    refused = user.keyturn("refresh", "console")
    assert refused.returncode == 1, refused.stderr
    assert "botocore needs the package awscrt" in refused.stderr
    assert refused.stderr.endswith("-m pip install 'botocore[crt]'\n")


def test_a_session_without_a_known_end_is_unknown(user: Person) -> None:
    assert listed(user, "timeless") == (None, None, None)
    assert line_of(user, "timeless").split()[2:4] == ["unknown", "-"]
    assert "State       unknown: its expiry is not recorded\n" in user.does("show", "timeless")
    assert line_of(user, "timeless", "--filter", "state:unknown")
    assert not line_of(user, "timeless", "--filter", "state:fresh")


def test_the_app_tells_the_same_and_sees_a_sign_in_elsewhere(user: Person, caches: Caches) -> None:
    caches.sso("initech", sso_token(-HOUR))
    caches.sso(START, sso_token(-3 * DAY))
    name = f"kt-logins-{os.getpid()}"
    with terminal(name, user.environ, "--filter", "123456789012", program=(KEYTURN,)) as screen:
        screen.shows("- renewable", "○ expired")
        caches.sso(START, sso_token(HOUR))
        screen.shows("- renewable", "- signed in")
        screen.hides("○ expired")
        screen.press("q")
        screen.shows("ended with 0")


HOSTILE = ("", "[" * 100_000, '{"accessToken":{"expiresAt":1e999}}', "\x00", "null")


def test_hostile_tokens_leave_the_list_as_it_is(user: Person, caches: Caches) -> None:
    before = user.does("list", "--json")
    paths = [caches.sso("initech", {}), caches.sso(START, {}), caches.console({}), caches.role(HOUR)]
    for text in HOSTILE:
        for path in paths:
            path.write_text(text)
        assert user.does("list", "--json") == before, text
    for path in paths:
        path.unlink()
        path.mkdir()
    assert user.does("list", "--json") == before
