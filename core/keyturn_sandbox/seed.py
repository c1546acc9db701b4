"""Initial users, keys, roles and files of a sandbox: about twenty profiles of every kind and state."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from keyturn.model.text import iso
from keyturn_sandbox.folder import write_private
from keyturn_sandbox.policy.principals import AccessKey, LastUse, MfaDevice, Session, User
from keyturn_sandbox.state import SandboxState

DEV, PROD, TEST = "111122223333", "444455556666", "777788889999"
AUDIT, PERSONAL, GOV = "123412341234", "999988887777", "555566667777"

EXTERNAL_ID = "acme:audit-2026/7f3"
SSO_START = "https://acme-corp.awsapps.com/start"
SSO_LEGACY_START = "https://globex.awsapps.com/start"
_SSO_PATH = "/aws-reserved/sso.amazonaws.com/eu-west-1/"

_CONFIG = f"""\
# Every account in one place. Keys are in credentials, except where noted.
[default]
region = eu-west-1
output = json

# --- ci: one user, its roles --------------------------------------------------
[profile ci-deploy]
region = eu-central-1
output = json
s3 =
    max_concurrent_requests = 20
    addressing_style = path

[profile ci-release]
role_arn = arn:aws:iam::{PROD}:role/ReleaseManager
source_profile = ci-deploy
role_session_name = ci-release
region = eu-central-1

[profile ci-audit]
# the auditors want this id, ask Mira before changing it
role_arn = arn:aws:iam::{AUDIT}:role/audit/Auditor
source_profile = ci-deploy
external_id = {EXTERNAL_ID}
region = eu-west-1

# --- acme ---------------------------------------------------------------------
[profile acme-alice]
region = eu-west-1
mfa_serial = arn:aws:iam::{DEV}:mfa/alice

[profile prod-admin]
role_arn = arn:aws:iam::{PROD}:role/Admin
source_profile = acme-alice
mfa_serial = arn:aws:iam::{DEV}:mfa/alice
region = eu-west-1
output = table

[profile acme-build]
; the build box needs its key here, not in credentials
aws_access_key_id = {{build.key_id}}
aws_secret_access_key = {{build.secret}}
region = us-east-1

[profile acme-hub]
role_arn = arn:aws:iam::{DEV}:role/Hub
source_profile = acme-build
region = us-east-1

[profile acme-spoke]
role_arn = arn:aws:iam::{TEST}:role/Spoke
source_profile = acme-hub
region = us-east-1

[profile acme-spoke-logs]
role_arn = arn:aws:iam::{AUDIT}:role/LogReader
source_profile = acme-spoke
region = us-east-1

[profile acme-batch]
role_arn = arn:aws:iam::{DEV}:role/Batch
source_profile = acme-build
duration_seconds = 28800
region = us-east-1

[sso-session acme-corp]
sso_start_url = {SSO_START}
sso_region = eu-west-1
sso_registration_scopes = sso:account:access

[profile acme-dev-readonly]
sso_session = acme-corp
sso_account_id = {DEV}
sso_role_name = ReadOnlyAccess
region = eu-west-1

# before sso-session existed
[profile globex-viewer]
sso_start_url = {SSO_LEGACY_START}
sso_region = us-east-1
sso_account_id = {TEST}
sso_role_name = ViewOnlyAccess
region = us-east-1
output = text

# --- everything else ----------------------------------------------------------
[profile personal]
region = eu-north-1

[profile console-jo]
login_session = arn:aws:iam::{PERSONAL}:user/jo
region = eu-north-1

[profile gh-actions]
role_arn = arn:aws:iam::{TEST}:role/GitHubDeploy
web_identity_token_file = {{home}}/.aws/web-identity-token
role_session_name = gh-actions
region = eu-west-1

[profile old-vpn]
credential_process = "/opt/vpn/bin/aws-creds" --team ops
region = eu-west-1

[profile old-cluster]
# the source was removed when Tom left
role_arn = arn:aws:iam::{TEST}:role/ClusterAdmin
source_profile = tom
region = eu-west-1

[profile gov-ops]
region = us-gov-west-1
output = json
"""

_CREDENTIALS = """\
# secrets, do not commit
[ci-deploy]
aws_access_key_id = {ci.key_id}
aws_secret_access_key = {ci.secret}

[acme-alice]
aws_access_key_id={alice.key_id}
aws_secret_access_key={alice.secret}

[personal]
aws_access_key_id = {jo.key_id}
aws_secret_access_key = {jo.secret}

; written by saml2aws
[contractor]
aws_access_key_id = {contractor.key_id}
aws_secret_access_key = {contractor.secret}
aws_session_token = {contractor.token}
aws_security_token = {contractor.token}
x_principal_arn = arn:aws:sts::777788889999:assumed-role/Contractor/jo
x_security_token_expires = {contractor.expires}
region = us-east-1

# written by aws-mfa
[acme-alice-mfa]
aws_access_key_id = {alice_mfa.key_id}
aws_secret_access_key = {alice_mfa.secret}
aws_session_token = {alice_mfa.token}
expiration = {alice_mfa.expires}
region = eu-west-1

[gov-ops]
aws_access_key_id = {gov.key_id}
aws_secret_access_key = {gov.secret}
"""


def mfa_seed(name: str) -> str:
    """Return the Base32 seed of the device `name`. It is the same in every sandbox, so that a phone can be
    enrolled once."""
    # twenty bytes of a public seed, not used for security
    return base64.b32encode(hashlib.sha1(f"keyturn sandbox mfa {name}".encode()).digest()).decode("ascii")  # noqa: S324


def plant(state: SandboxState, home: Path, add_device: Callable[..., MfaDevice]) -> None:
    """Fill a new sandbox: users and roles of the stand-in, both shared files, and the caches of the AWS
    CLI.

    :param add_device: :meth:`keyturn_sandbox.Sandbox.add_device`.
    """
    keys = _users(state, add_device)
    _roles(state)
    sessions = _sessions(state)
    values = {name: _file_values(credentials) for name, credentials in (keys | sessions).items()}
    aws = home / ".aws"
    write_private(aws / "config", _CONFIG.format(home=home, **values))
    write_private(aws / "credentials", _CREDENTIALS.format(**values))
    write_private(aws / "web-identity-token", _web_identity_token(state))
    _sso_caches(state, home, sessions["readonly"])


def _users(state: SandboxState, add_device: Callable[..., MfaDevice]) -> dict[str, AccessKey]:
    """Create the users. Return each one's key."""
    ci = state.add_user(
        PROD,
        "ci-deploy",
        path="/ci/",
        age=timedelta(days=412),
        may_assume=(f"arn:aws:iam::{AUDIT}:role/audit/Auditor",),
    )
    build = state.add_user(
        DEV, "build", age=timedelta(days=230), may_assume=(f"arn:aws:iam::{DEV}:role/Hub",)
    )
    alice = state.add_user(
        DEV, "alice", age=timedelta(days=640), may_assume=(f"arn:aws:iam::{PROD}:role/Admin",)
    )
    jo = state.add_user(PERSONAL, "jo", age=timedelta(days=1200))
    gov = state.add_user(GOV, "gov-ops", partition="aws-us-gov", age=timedelta(days=40))
    add_device(alice, "alice", profiles=("acme-alice", "prod-admin"))
    return {
        "ci": _add_key(state, ci, days=94, used=timedelta(hours=2)),
        "build": _add_key(state, build, days=71, used=timedelta(days=1)),
        "alice": _add_key(state, alice, days=33, used=timedelta(hours=5)),
        "jo": _add_key(state, jo, days=12, used=None),
        "gov": _add_key(state, gov, days=3, used=None),
    }


def _add_key(state: SandboxState, user: User, *, days: int, used: timedelta | None) -> AccessKey:
    key = state.add_key(user, age=timedelta(days=days, hours=4))
    if used is not None:
        key.last_use = LastUse(state.now() - used, "sts", "us-east-1")
    return key


def _roles(state: SandboxState) -> None:
    """Create the roles, each with a typical trust policy."""
    state.add_role(PROD, "ReleaseManager", [_trust(f"arn:aws:iam::{PROD}:user/ci/ci-deploy")])
    state.add_role(
        AUDIT,
        "Auditor",
        [_trust(f"arn:aws:iam::{PROD}:root", StringEquals={"sts:ExternalId": EXTERNAL_ID})],
        path="/audit/",
        max_session=43200,
    )
    state.add_role(
        PROD,
        "Admin",
        [
            _trust(
                f"arn:aws:iam::{DEV}:root",
                Bool={"aws:MultiFactorAuthPresent": "true"},
                NumericLessThan={"aws:MultiFactorAuthAge": "3600"},
            )
        ],
        max_session=14400,
    )
    spoke, logs = f"arn:aws:iam::{TEST}:role/Spoke", f"arn:aws:iam::{AUDIT}:role/LogReader"
    state.add_role(DEV, "Hub", [_trust(f"arn:aws:iam::{DEV}:root")], may_assume=(spoke,))
    state.add_role(TEST, "Spoke", [_trust(f"arn:aws:iam::{DEV}:role/Hub")], may_assume=(logs,))
    state.add_role(AUDIT, "LogReader", [_trust(spoke)])
    state.add_role(DEV, "Batch", [_trust(f"arn:aws:iam::{DEV}:user/build")], max_session=43200)


def _trust(principal: str, **conditions: Mapping[str, str]) -> dict[str, object]:
    statement: dict[str, object] = {
        "Effect": "Allow",
        "Principal": {"AWS": principal},
        "Action": "sts:AssumeRole",
    }
    return statement | ({"Condition": conditions} if conditions else {})


def _sessions(state: SandboxState) -> dict[str, Session]:
    """Create the sessions that other tools left in the files: two valid ones and an expired one."""
    contractor = state.add_role(TEST, "Contractor", [], max_session=43200)
    readonly = state.add_role(DEV, "AWSReservedSSO_ReadOnlyAccess_5d1f0c7e9a2b4c38", [], path=_SSO_PATH)
    alice = state.user("aws", DEV, "alice")
    if alice is None:
        raise LookupError("the users come first")
    return {
        "contractor": state.add_session(
            contractor, timedelta(hours=8), name="jo", age=timedelta(hours=5, minutes=46)
        ),
        "readonly": state.add_session(
            readonly, timedelta(hours=1), name="jo@acme.example", age=timedelta(minutes=19)
        ),
        "alice_mfa": state.add_session(
            alice, timedelta(hours=12), age=timedelta(hours=15), mfa_at=state.now() - timedelta(hours=15)
        ),
    }


def _file_values(credentials: AccessKey | Session) -> SimpleNamespace:
    """Return the values of a key or session for the templates of the shared files."""
    parts = {"key_id": credentials.key_id, "secret": credentials.secret.reveal()}
    if isinstance(credentials, Session):
        parts |= {"token": credentials.token.reveal(), "expires": iso(credentials.expires) or ""}
    return SimpleNamespace(**parts)


def _web_identity_token(state: SandboxState) -> str:
    """Return an unsigned token in the format of GitHub Actions."""
    now = int(state.now().timestamp())
    claims = {"iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/shop", "exp": now + 300}
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "c2FuZGJveA"])


def _sso_caches(state: SandboxState, home: Path, role: Session) -> None:
    """Write the caches of `aws sso login` and the AWS CLI: a valid sign-in, an expired one, credentials of
    one role."""
    now = state.now()
    sso, cli = home / ".aws" / "sso" / "cache", home / ".aws" / "cli" / "cache"
    for folder in (sso, cli):
        folder.mkdir(mode=0o700, parents=True)
    live = _login(state, SSO_START, "eu-west-1", timedelta(hours=6, minutes=12))
    live |= {
        "clientId": state.ids.unique_id("sandbox-client-"),
        "clientSecret": state.ids.secret().reveal(),
        "registrationExpiresAt": iso(now + timedelta(days=81)) or "",
        "refreshToken": state.ids.session_token().reveal(),
    }
    _cache(sso, "acme-corp", live)
    _cache(sso, SSO_LEGACY_START, _login(state, SSO_LEGACY_START, "us-east-1", -timedelta(days=3)))
    arguments = {"accountId": DEV, "roleName": "ReadOnlyAccess", "sessionName": "acme-corp"}
    credentials = {
        "AccessKeyId": role.key_id,
        "SecretAccessKey": role.secret.reveal(),
        "SessionToken": role.token.reveal(),
        "Expiration": iso(role.expires),
        "AccountId": DEV,
    }
    _cache(
        cli,
        json.dumps(arguments, sort_keys=True, separators=(",", ":")),
        {"ProviderType": "sso", "Credentials": credentials},
    )


def _login(state: SandboxState, start: str, region: str, lifetime: timedelta) -> dict[str, str]:
    return {
        "startUrl": start,
        "region": region,
        "accessToken": state.ids.session_token().reveal(),
        "expiresAt": iso(state.now() + lifetime) or "",
    }


def _cache(folder: Path, key: str, content: Mapping[str, object]) -> None:
    name = hashlib.sha1(key.encode("utf-8")).hexdigest()  # noqa: S324  # the AWS CLI's naming of cache files
    write_private(folder / f"{name}.json", json.dumps(content))
