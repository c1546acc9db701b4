"""The words for kinds and rotation states, where a front end prints plain text."""

from __future__ import annotations

from keyturn.model import Kind, Rotation, RotationState

KIND_WORDS = {
    Kind.IAM_KEY: "IAM user, access key",
    Kind.ROLE: "role, assumed from a source profile",
    Kind.SSO_ROLE: "Identity Center (SSO) role",
    Kind.SAML_ROLE: "SAML role",
    Kind.WEB_IDENTITY: "role by web identity",
    Kind.CONSOLE_LOGIN: "console sign-in (aws login)",
    Kind.PROCESS: "foreign credential_process",
    Kind.MFA_SESSION: "temporary keys from MFA",
    Kind.STATIC_SESSION: "temporary keys",
    Kind.UNKNOWN: "no credentials of its own",
}


#: What a managed role asks of AssumeRole, by setting; short enough for a column of labels.
ROLE_WORDS = {
    "external_id": "Ext. id",
    "role_session_name": "As",
    "source_identity": "Src. id",
    "tags": "Tags",
    "policy": "Policy",
    "policy_arns": "Policies",
}


def rotation_words(rotation: Rotation) -> str:
    """`ok, due in 78d`, `due in 19d`, `overdue by 4d`, `off`, `unknown`, or `-` where there is no key."""
    age, limit = rotation.age_days, rotation.limit_days
    if rotation.state is RotationState.NOT_APPLICABLE:
        return "-"
    if age is None or limit is None:
        return str(rotation.state)
    match rotation.state:
        case RotationState.OK:
            return f"ok, due in {limit - age}d"
        case RotationState.DUE:
            return f"due in {limit - age}d"
        case RotationState.OVERDUE:
            return f"overdue by {age - limit}d"
        case _:
            return str(rotation.state)
