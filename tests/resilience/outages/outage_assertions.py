"""Conditions after a failure: one line for the user, and nothing else changed."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from botocore import exceptions as boto

from keyturn.model.errors import KeyturnError
from keyturn.model.text import is_safe
from keyturn_sandbox import Sandbox

#: Internal words of programs and protocols that must not reach the user.
_CLASS_NAMES = frozenset(
    name
    for name, one in vars(boto).items()
    if isinstance(one, type) and name.endswith(("Error", "Exception"))
) | {
    "MaxRetryError",
    "NewConnectionError",
    "HTTPConnectionPool",
    "ProtocolError",
    "ResponseParserError",
    "KeyError",
}
_RAW = re.compile(r"Traceback|object at 0x|<\?xml|<html|<!doctype|xmlns|ErrorResponse|</", re.IGNORECASE)
#: AWS's own codes that are also class names of botocore.
_CODES = frozenset({"ValidationError"})
#: Index keys that may change: the failure, and the time of the request.
_CHANGING_KEYS = ("failure", "asked")
#: Files that are written at any time and never decide anything: locks, the activity log, the log.
_UNCHECKED = ("locks", "activity.jsonl", "keyturn.log", "run")
LONGEST_LINE = 2300


def secrets_of(sandbox: Sandbox) -> frozenset[str]:
    """Return every secret that the stand-in knows and the vault may hold."""
    world = sandbox.state
    secrets = {key.secret.reveal() for user in world._users.values() for key in user.keys}
    for session in world._sessions.values():
        secrets |= {session.secret.reveal(), session.token.reveal()}
    return frozenset(secrets)


def faults_of_line(line: str, says: str, secrets: frozenset[str]) -> list[str]:
    """Return the faults of the line that reports the failure, its cause and the next step; empty if there are
    none."""
    faults = []
    if not is_safe(line):
        faults.append("a character that is not harmless")
    if len(line) > LONGEST_LINE:
        faults.append(f"{len(line)} characters")
    if says not in line:
        faults.append(f"does not say {says!r}")
    words = set(re.findall(r"\w+", line))
    if named := words & (_CLASS_NAMES - _CODES):
        faults.append(f"class names: {named}")
    if _RAW.search(line) and "<b>no</b>" not in line:
        faults.append("raw text of the wire")
    if any(secret in line for secret in secrets):
        faults.append("a secret")
    return faults


def faults_of(error: KeyturnError, says: str, secrets: frozenset[str], profile: str) -> list[str]:
    """Return the faults of an error before it is printed: it also names the profile and the next step."""
    faults = faults_of_line(error.line(), says, secrets)
    if not error.hint:
        faults.append("no next step")
    if profile not in error.what:
        faults.append("does not name the profile")
    return faults


def digests_of(folder: Path) -> dict[str, str]:
    """Return digests of everything that must not change in a sandbox by a failed operation: shared files,
    managed profiles, vault, index."""
    digests = {}
    for top in (folder / "home", folder / "keyturn"):
        for path in sorted(top.rglob("*")):
            name = str(path.relative_to(folder))
            if (
                path.is_file()
                and path.suffix not in (".lock", ".tmp")
                and not any(part in path.parts for part in _UNCHECKED)
            ):
                content = path.read_bytes()
                if path.name == "index.json":
                    content = _without_notes(content)
                digests[name] = hashlib.sha256(content).hexdigest()
    return digests


def _without_notes(content: bytes) -> bytes:
    table = json.loads(content)
    for one in table.get("profiles", {}).values():
        for name in _CHANGING_KEYS:
            one.pop(name, None)
    # The agent queries IAM about a key by itself, independent of the operation.
    table["keys"] = {name: key["key_id"] for name, key in table.get("keys", {}).items()}
    return json.dumps(table, sort_keys=True).encode()
