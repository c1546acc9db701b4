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
_NOTED = ("failure", "asked")
#: Files that are written at any time and never decide anything: locks, the activity log, the log.
_BESIDE = ("locks", "activity.jsonl", "keyturn.log", "run")
LONGEST_LINE = 2300


def secrets_of(sandbox: Sandbox) -> frozenset[str]:
    """Return every secret that the stand-in knows and the vault may hold."""
    world = sandbox.state
    found = {key.secret.reveal() for user in world._users.values() for key in user.keys}
    for session in world._sessions.values():
        found |= {session.secret.reveal(), session.token.reveal()}
    return frozenset(found)


def faults_of_line(line: str, says: str, secrets: frozenset[str]) -> list[str]:
    """Return the faults of the line that reports the failure, its cause and the next step; empty if there are
    none."""
    wrong = []
    if not is_safe(line):
        wrong.append("a character that is not harmless")
    if len(line) > LONGEST_LINE:
        wrong.append(f"{len(line)} characters")
    if says not in line:
        wrong.append(f"does not say {says!r}")
    words = set(re.findall(r"\w+", line))
    if named := words & (_CLASS_NAMES - _CODES):
        wrong.append(f"class names: {named}")
    if _RAW.search(line) and "<b>no</b>" not in line:
        wrong.append("raw text of the wire")
    if any(secret in line for secret in secrets):
        wrong.append("a secret")
    return wrong


def faults_of(error: KeyturnError, says: str, secrets: frozenset[str], profile: str) -> list[str]:
    """Return the faults of an error before it is printed: it also names the profile and the next step."""
    wrong = faults_of_line(error.line(), says, secrets)
    if not error.hint:
        wrong.append("no next step")
    if profile not in error.what:
        wrong.append("does not name the profile")
    return wrong


def kept(folder: Path) -> dict[str, str]:
    """Return digests of everything that must not change in a sandbox by a failed operation: shared files,
    managed profiles, vault, index."""
    found = {}
    for top in (folder / "home", folder / "keyturn"):
        for path in sorted(top.rglob("*")):
            name = str(path.relative_to(folder))
            if (
                path.is_file()
                and path.suffix not in (".lock", ".tmp")
                and not any(part in path.parts for part in _BESIDE)
            ):
                content = path.read_bytes()
                if path.name == "index.json":
                    content = _without_notes(content)
                found[name] = hashlib.sha256(content).hexdigest()
    return found


def _without_notes(content: bytes) -> bytes:
    table = json.loads(content)
    for one in table.get("profiles", {}).values():
        for name in _NOTED:
            one.pop(name, None)
    # The agent queries IAM about a key by itself, independent of the operation.
    table["keys"] = {name: key["key_id"] for name, key in table.get("keys", {}).items()}
    return json.dumps(table, sort_keys=True).encode()
