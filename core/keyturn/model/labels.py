"""Plain-text labels for profile kinds, role settings and rotation states, and commands to run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from keyturn.model.errors import Remedy
from keyturn.model.profile import Kind, Plan, Profile, Rotation, RotationState

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


def undo_command(plan: Plan) -> str:
    """Return the command that takes back an adoption, with the profiles that came along."""
    requested = [name for name in plan.names if name not in plan.dependants]
    words = [*map(shlex.quote, requested), *(["--with-dependents"] if plan.dependants else [])]
    return f"keyturn release {' '.join(words)}"


def consent_command(name: str) -> str:
    """Return the command by which the user consents to the delivery of a profile's long-term key."""
    return Remedy("set", name, "session=none").command()
