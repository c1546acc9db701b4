"""Warnings that are shown before an adoption."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from keyturn.awsconfig import diff, process_line
from keyturn.awsconfig.parser import FileKind
from keyturn.awsconfig.sdk_limits import line_limit, name_limit
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
    owners: dict[str, list[str]] = {}
    for name, key in keys.items():
        owners.setdefault(key["secret"], []).append(name)
    lines = diff.raw_lines(after)
    found = ((name, number) for secret, number in _occurrences(lines, owners) for name in owners[secret])
    order = {name: at for at, name in enumerate(keys)}
    return [
        f"{file}, line {number}: a plaintext copy of {name}'s secret key stays there; remove it manually"
        for name, number in sorted(set(found), key=lambda item: (order[item[0]], item[1]))
    ]


def _occurrences(lines: Sequence[str], secrets: Collection[str]) -> Iterator[tuple[str, int]]:
    """Yield each secret that a line contains, with the number of the line. The time does not grow with the
    number of secrets.
    """
    lengths = sorted({len(secret) for secret in secrets})
    if not lengths:
        return
    alphabet = re.escape("".join(sorted(set("".join(secrets)))))
    runs = re.compile(f"[{alphabet}]{{{lengths[0]},}}")  # all that can contain one
    for number, line in enumerate(lines, 1):
        for run in runs.findall(line):
            for length in lengths:
                for start in range(len(run) - length + 1):
                    if run[start : start + length] in secrets:
                        yield run[start : start + length], number


def warnings(inventory: Inventory, definitions: ManagedProfiles, *, session_none: bool) -> tuple[str, ...]:
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
        message = _shorter_session(definition, inventory, definitions)
        if message:
            messages.append(message)
    messages += [
        f"{problem.path}, line {problem.line}: AWS tools reject this file; it is not changed"
        for problem in inventory.shared.problems
    ]
    return tuple(messages)


def client_limits(names: Iterable[str], kind: FileKind, program: str) -> list[str]:
    """Return a warning for each profile that some SDK does not find by its name, and one if some SDK cannot
    run `program`.

    :param kind: the file that gets the `credential_process` lines.
    """
    messages = [
        f"{name}: {limit}; to use it with them, rename it first"
        for name in names
        if (limit := name_limit(name, kind)) is not None
    ]
    limit = line_limit(process_line.format_line(program, "default"))
    return [*messages, *([f"credential_process: {limit}"] if limit is not None else [])]


def _shorter_session(role: ManagedProfile, inventory: Inventory, definitions: ManagedProfiles) -> str | None:
    """Return why the sessions of a role are shorter than its `duration_seconds`, or may be."""
    seconds = role.duration_seconds or 0
    if role.kind is not Kind.ROLE or role.key or seconds <= CHAINED_MAX:
        return None
    name = role.source_profile or ""
    user = definitions.get(name) or inventory.definitions.get(name)
    native = inventory.natives.get(name)
    if user is not None and user.kind is Kind.IAM_KEY:
        serial = user.mfa_serial
    elif user is None and native is not None and native.plaintext_key:
        serial = native.mfa_serial
    else:
        return f"{role.name}: role chaining, so AWS allows 1 h instead of {seconds} s"
    if serial is None or role.mfa_serial is not None:
        return None
    return (
        f"{role.name}: if it requires MFA, its sessions last 1 h instead of {seconds} s, unless each gets a "
        "code of its own"
    )


def _session_limit(user: ManagedProfile) -> str:
    """Return what the sessions of an IAM user need, or cannot do."""
    if user.mfa_serial:
        return f"{user.name}: a session needs an MFA code, by default every 12 h"
    return f"{user.name}: its sessions cannot call IAM (AWS requires MFA for that), nor most of STS"
