"""Plain-text labels for profile kinds, role settings and rotation states, and commands to run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta

from keyturn.model.errors import Remedy
from keyturn.model.profile import (
    Kind,
    Login,
    LoginState,
    Plan,
    Profile,
    Rotation,
    RotationState,
    login_end,
    login_state,
)
from keyturn.model.text import countdown, span

KIND_WORDS: Mapping[str, str] = {
    Kind.IAM_KEY: "IAM user, access key",
    Kind.ROLE: "role, assumed from a source profile",
    Kind.SSO_ROLE: "Identity Center (SSO) role",
    Kind.SAML_ROLE: "SAML role",
    Kind.WEB_IDENTITY: "web identity role",
    Kind.CONSOLE_LOGIN: "console sign-in (aws login)",
    Kind.PROCESS: "external credential_process",
    Kind.MFA_SESSION: "temporary credentials from MFA",
    Kind.STATIC_SESSION: "temporary credentials",
    Kind.UNKNOWN: "no own credentials",
}


def kind_words(profile: Profile) -> str:
    """Return the kind of a profile in words."""
    return profile.kind_label or KIND_WORDS[profile.kind]


#: AssumeRole settings of a managed role. The labels are short because they share a column.
ROLE_WORDS = {
    "external_id": "Ext. id",
    "role_session_name": "Ses. name",
    "source_identity": "Src. id",
    "tags": "Tags",
    "policy": "Policy",
    "policy_arns": "Policies",
}


#: Next action of a paused rotation, by step.
WAITING_WORDS = {
    "intent": "find the new key",
    "created": "verify",
    "verified": "store",
    "stored": "deliver",
    "delivered": "deactivate",
    "deactivated": "delete the old key",
    "undoing": "undo",
}
#: Last completed step of a paused rotation. At most 11 cells, because it is shown in a narrow column.
REACHED_WORDS = {
    "intent": "new key?",
    "created": "new created",
    "verified": "new works",
    "stored": "new stored",
    "delivered": "new in use",
    "deactivated": "deactivated",
    "undoing": "undoing",
}


def rotation_words(rotation: Rotation) -> str:
    """Return the rotation status as text: `ok, due in 78d`, `due in 19d`, `overdue by 4d`, `off`, `unknown`,
    `waits: verify`, or `-` for a profile without a key.
    """
    age, limit = rotation.age_days, rotation.limit_days
    if rotation.pending_step is not None:
        return f"waits: {WAITING_WORDS.get(rotation.pending_step, rotation.pending_step)}"
    if rotation.state is RotationState.NOT_APPLICABLE:
        return "-"
    if age is None or limit is None:
        return str(rotation.state)
    texts = {
        RotationState.OK: f"ok, due in {limit - age}d",
        RotationState.DUE: f"due in {limit - age}d",
        RotationState.OVERDUE: f"overdue by {age - limit}d",
    }
    return texts.get(rotation.state, str(rotation.state))


#: State of a sign-in that lasts, in at most nine cells, for a narrow column.
LOGIN_WORDS = {LoginState.SIGNED_IN: "signed in", LoginState.RENEWABLE: "renewable"}


def login_words(login: Login, now: datetime) -> str:
    """Return the state of a sign-in as text: `signed in, 41m left`, `signed in; renews on use, while its
    portal session lasts`, `ended 3d ago; sign in again`.
    """
    state = login_state(login, now)
    if state is LoginState.ENDED:
        return f"ended {_age(now - (login_end(login) or login.until))} ago; sign in again"
    if not login.is_renewable:
        return f"signed in, {countdown(login.until - now)} left"
    renews = login_renewal_words(login)
    return f"signed in; {renews}" if state is LoginState.SIGNED_IN else renews


def login_renewal_words(login: Login) -> str:
    """Return how long AWS tools renew a sign-in, as far as it is known."""
    if login.kind is Kind.SSO_ROLE:
        limit = "while its portal session lasts"
    elif login.renewable_until is None:
        limit = "up to 12h after the sign-in"
    else:
        limit = f"until {login.renewable_until:%d %b %H:%M} UTC at the latest"
    return f"renews on use, {limit}"


def _age(length: timedelta) -> str:
    return span(length if length < timedelta(hours=1) else timedelta(minutes=length // timedelta(minutes=1)))


def sign_in_command(kind: str, profile: str) -> str:
    """Return the command of the AWS CLI that signs in for a profile.

    :param kind: kind of the profile, a member of `LOGIN_KINDS`.
    """
    words = "aws login" if kind == Kind.CONSOLE_LOGIN else "aws sso login"
    return f"{words} --profile {shlex.quote(profile)}"


def login_profile(profile: Profile) -> str:
    """Return the profile that the user signs in for: the last source of a role, else the profile itself."""
    return profile.chain[-1] if profile.chain else profile.name


def undo_command(plan: Plan) -> str:
    """Return the command that takes back an adoption, with the profiles that came along."""
    requested = [name for name in plan.names if name not in plan.dependants]
    words = [*map(shlex.quote, requested), *(["--with-dependents"] if plan.dependants else [])]
    return f"keyturn release {' '.join(words)}"


def consent_command(name: str) -> str:
    """Return the command by which the user consents to the delivery of a profile's long-term key."""
    return Remedy("set", name, "session=none").command()
