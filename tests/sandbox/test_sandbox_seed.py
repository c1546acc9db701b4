"""The seed as a user finds it in the sandbox, through the real AWS CLI and botocore."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import botocore.session
import pytest

from keyturn_sandbox import Sandbox
from tests.support.campaign import campaign

Aws = Callable[..., subprocess.CompletedProcess[str]]

PROFILES = {
    "default", "ci-deploy", "ci-release", "ci-audit", "acme-alice", "prod-admin", "acme-build", "acme-hub",
    "acme-spoke",
    "acme-spoke-logs", "acme-batch", "acme-dev-readonly", "globex-viewer", "personal", "console-jo",
    "gh-actions",
    "old-vpn", "old-cluster", "gov-ops", "contractor", "acme-alice-mfa",
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_sandbox(seeded: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in seeded.environ.items():
        monkeypatch.setenv(name, value)


def test_botocore_reads_every_profile() -> None:
    assert set(botocore.session.Session().full_config["profiles"]) == PROFILES


def test_every_profile_but_the_broken_ones_resolves_in_its_own_way() -> None:
    found = {}
    for name in PROFILES:
        config = botocore.session.Session(profile=name).get_scoped_config()
        found[name] = next(
            (
                key
                for key in ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")
                if key in config
            ),
            "aws_session_token"
            if "aws_session_token" in config
            else "aws_access_key_id" * ("aws_access_key_id" in config),
        )
    kinds = set(found.values())
    assert kinds == {
        "role_arn", "sso_session", "sso_start_url", "credential_process", "login_session",
        "aws_session_token",
        "aws_access_key_id", "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("profile", "arn"),
    [
        ("ci-deploy", "arn:aws:iam::444455556666:user/ci/ci-deploy"),
        ("ci-audit", "arn:aws:sts::123412341234:assumed-role/Auditor/*"),
        ("acme-spoke-logs", "arn:aws:sts::123412341234:assumed-role/LogReader/*"),
        *campaign(
            ("ci-release", "arn:aws:sts::444455556666:assumed-role/ReleaseManager/ci-release"),
            ("acme-alice", "arn:aws:iam::111122223333:user/alice"),
            ("acme-batch", "arn:aws:sts::111122223333:assumed-role/Batch/*"),
            ("contractor", "arn:aws:sts::777788889999:assumed-role/Contractor/jo"),
            ("gov-ops", "arn:aws-us-gov:iam::555566667777:user/gov-ops"),
        ),
    ],
)
def test_the_aws_cli_is_told_who_a_profile_is(seeded: Sandbox, aws: Aws, profile: str, arn: str) -> None:
    ran = aws(seeded, "sts", "get-caller-identity", "--profile", profile, "--output", "json")
    assert (ran.returncode, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert found["Arn"] == arn if "*" not in arn else found["Arn"].startswith(arn[:-1])
    assert found["Account"] == arn.split(":")[4]


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (
            "acme-alice-mfa",
            (
                "(ExpiredToken) when calling the GetCallerIdentity operation: "
                "The security token included in the request is expired"
            ),
        ),
        ("acme-dev-readonly", "The keyturn sandbox implements only STS and IAM"),
        *campaign(
            (
                "old-cluster",
                'The source_profile "tom" referenced in the profile "old-cluster" does not exist.',
            ),
            ("old-vpn", "/opt/vpn/bin/aws-creds"),
            ("globex-viewer", "has expired"),
        ),
    ],
)
def test_the_aws_cli_says_why_a_profile_does_not_work(
    seeded: Sandbox, aws: Aws, profile: str, text: str
) -> None:
    ran = aws(seeded, "sts", "get-caller-identity", "--profile", profile)
    assert ran.returncode != 0
    assert text in ran.stderr


def test_the_mfa_role_opens_to_the_code_that_is_shown(seeded: Sandbox, aws: Aws) -> None:
    words = (
        "sts", "assume-role", "--profile", "acme-alice", "--role-arn", "arn:aws:iam::444455556666:role/Admin",
        "--role-session-name", "alice", "--query", "AssumedRoleUser.Arn", "--output", "text",
    )  # fmt: skip
    assert "(AccessDenied)" in aws(seeded, *words).stderr
    mfa = ("--serial-number", "arn:aws:iam::111122223333:mfa/alice", "--token-code")
    ran = aws(seeded, *words, *mfa, seeded.totp("prod-admin"))
    assert ran.stdout == "arn:aws:sts::444455556666:assumed-role/Admin/alice\n"


def test_key_ages_are_those_of_the_story(seeded: Sandbox) -> None:
    ages = {}
    for partition, account, name in (
        ("aws", "444455556666", "ci-deploy"),
        ("aws", "111122223333", "build"),
        ("aws", "999988887777", "jo"),
    ):
        user = seeded.state.user(partition, account, name)
        assert user is not None
        ages[name] = (seeded.now() - user.keys[0].created).days
    assert ages == {"ci-deploy": 94, "build": 71, "jo": 12}


def test_sso_logins_are_cached_as_the_cli_caches_them(seeded: Sandbox) -> None:
    cache = seeded.home / ".aws" / "sso" / "cache"
    logins = {}
    for file in cache.iterdir():
        content = json.loads(file.read_text())
        logins[content["startUrl"]] = datetime.fromisoformat(content["expiresAt"]) > datetime.now(UTC)
    assert logins == {"https://acme-corp.awsapps.com/start": True, "https://globex.awsapps.com/start": False}
    cached = [json.loads(file.read_text()) for file in (seeded.home / ".aws" / "cli" / "cache").iterdir()]
    (role,) = (login["Credentials"] for login in cached if login.get("ProviderType") == "sso")
    assert set(role) == {
        "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "AccountId",
    }  # fmt: skip


def test_the_files_are_written_as_people_write_them(seeded: Sandbox) -> None:
    config = (seeded.home / ".aws" / "config").read_text()
    assert "{" not in config
    assert "\ns3 =\n    max_concurrent_requests = 20\n" in config
    assert config.count("\n# ") > 5
    assert "\naws_secret_access_key = " in config, "one key stands in the config file"
