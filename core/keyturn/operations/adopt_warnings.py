"""Warnings that are shown before an adoption."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.awsconfig import diff
from keyturn.model.profile import Kind
from keyturn.profiles.inventory import Inventory
from keyturn.providers.sts_limits import CHAINED_MAX
from keyturn.storage.managed_profiles import ManagedProfile, ManagedProfiles

Keys = Mapping[str, Mapping[str, str]]
"""New vault entries by profile. They hold plaintext secrets."""


def find_key_copies(after: bytes, file: str, keys: Keys) -> list[str]:
    """Return a warning for each line of a file that still contains a secret key after the adoption, for
    example in a comment or a nested block.
    """
    lines = diff.raw_lines(after)
    return [
        f"{file}, line {number}: a plaintext copy of {name}'s secret key stays there; remove it manually"
        for name, key in keys.items()
        for number, line in enumerate(lines, 1)
        if key["secret"] in line
    ]


def warnings(
    inventory: Inventory, definitions: ManagedProfiles, keys: Keys, *, session_none: bool
) -> tuple[str, ...]:
    """Return warnings about side effects of an adoption."""
    users = [definition for definition in definitions.values() if definition.kind is Kind.IAM_KEY]
    messages = [_session_limit(user) for user in users]
    if users and session_none:
        messages = ["Every client that asks gets the long-term key itself and can store it"]
    for definition in definitions.values():
        if definition.credential_source:
            messages.append(
                f"{definition.name}: uses the caller's {definition.credential_source} credentials; "
                "its sessions are not cached"
            )
        chained = (
            definition.kind is Kind.ROLE and definition.source_profile not in keys and not definition.key
        )
        if chained and (definition.duration_seconds or 0) > CHAINED_MAX:
            messages.append(
                f"{definition.name}: role chaining, so AWS allows 1 h instead of "
                f"{definition.duration_seconds} s"
            )
    messages += [
        f"{problem.path}, line {problem.line}: AWS tools reject this file; it is not changed"
        for problem in inventory.shared.problems
    ]
    return tuple(messages)


def _session_limit(user: ManagedProfile) -> str:
    """Return what the sessions of an IAM user need, or cannot do."""
    if user.mfa_serial:
        return f"{user.name}: a session needs an MFA code, by default every 12 h"
    return f"{user.name}: its sessions cannot call IAM (AWS requires MFA for that), nor most of STS"
