"""What a person should know before an adoption, beside the change itself."""

from __future__ import annotations

from collections.abc import Mapping

from keyturn.awsconfig import diff
from keyturn.model.profile import Kind
from keyturn.profiles.inventory import Inventory
from keyturn.providers.sts_limits import CHAINED_LONGEST
from keyturn.storage.managed_profiles import ManagedProfiles

Keys = Mapping[str, Mapping[str, str]]
"""The keys that go into the vault, by profile; secrets in clear."""


def find_key_copies(after: bytes, shown: str, keys: Keys) -> list[str]:
    """A sentence for every line of a file that still holds a secret after the adoption: in a comment, a nested block."""
    lines = diff.raw_lines(after)
    return [
        f"{shown}, line {number}: a copy of {name}'s secret key stays there in clear; remove it by hand"
        for name, key in keys.items()
        for number, line in enumerate(lines, 1)
        if key["secret"] in line
    ]


def warnings(
    inventory: Inventory, definitions: ManagedProfiles, keys: Keys, *, session_none: bool
) -> tuple[str, ...]:
    """What adopting brings with it that nobody may expect."""
    found = []
    users = [one for one in definitions.values() if one.kind is Kind.IAM_KEY]
    if users and session_none:
        found.append(
            "The long-term key itself is handed to every client that asks: anything can keep it for good"
        )
    for one in users:
        if session_none:
            continue
        if one.mfa_serial:
            found.append(f"{one.name}: a session needs an MFA code, once per 12 h unless it says otherwise")
        else:
            found.append(
                f"{one.name}: its sessions cannot call IAM (AWS allows that with MFA only), nor most of STS"
            )
    for one in definitions.values():
        if one.credential_source:
            found.append(
                f"{one.name}: {one.credential_source} of whoever asks signs for it; its sessions are kept nowhere"
            )
        chained = one.kind is Kind.ROLE and one.source_profile not in keys and not one.key
        if chained and (one.duration_seconds or 0) > CHAINED_LONGEST:
            found.append(
                f"{one.name}: assumed from another role, so AWS allows one hour, not {one.duration_seconds} s"
            )
    found += [
        f"{problem.path}, line {problem.line}: AWS tools refuse this file; it is left as it is"
        for problem in inventory.shared.problems
    ]
    return tuple(found)
