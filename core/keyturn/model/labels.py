"""The words for kinds and rotation states, where a front end prints plain text."""

from __future__ import annotations

from keyturn.model.profile import Kind, Rotation, RotationState

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


#: What a rotation that waits at a step would do next.
WAITING_WORDS = {
    "intent": "look for the new key",
    "created": "verify",
    "verified": "store",
    "stored": "deliver",
    "delivered": "deactivate",
    "deactivated": "delete the old key",
    "undoing": "go back",
}
#: How far a rotation that waits has come, where there is little room: at most eleven cells.
REACHED_WORDS = {
    "intent": "new key?",
    "created": "new sealed",
    "verified": "new works",
    "stored": "new stored",
    "delivered": "new in use",
    "deactivated": "old key off",
    "undoing": "going back",
}


def rotation_words(rotation: Rotation) -> str:
    """`ok, due in 78d`, `due in 19d`, `overdue by 4d`, `off`, `unknown`, `waits: verify`, or `-` where there is no key."""
    age, limit = rotation.age_days, rotation.limit_days
    if rotation.waits is not None:
        return f"waits: {WAITING_WORDS.get(rotation.waits, rotation.waits)}"
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
