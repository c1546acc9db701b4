"""Detect a locked vault without an agent, from file contents alone. A client that requests credentials
repeatedly must not pay a quarter of a second of start-up each time."""

# ruff: noqa: PTH116, PTH120, PTH208 - importing pathlib costs more than all of this

from __future__ import annotations

import os
import stat

from keyturn.model.file_limits import MAX_OWN_BYTES, MAX_SHARED_BYTES
from keyturn.storage.raw_paths import aws_file, config_folder, data_folder, state_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The line of the error that the full path raises (:mod:`keyturn.vault.vault`).
LOCKED = "Vault is locked. Run: keyturn vault unlock"
#: Lines of `recipient.txt` for a vault that only a passphrase opens (:mod:`keyturn.vault.files`).
_RECIPIENT_LINES = (b"# keyturn vault, format 1\n", b"\n# slots passphrase\n")
_AGE_HEADER = b"age-encryption.org/v1\n"
_PROFILES_HEADER = b"version = 1\n"
#: Longest file that is read. The full path refuses a shared file sooner.
_MAX_BYTES = max(MAX_OWN_BYTES, MAX_SHARED_BYTES)
_NAMES = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def is_locked(environ: Mapping[str, str], profile: str) -> bool:
    """Return True if only a passphrase could give credentials of `profile`. Return False if that is not
    certain, or if start-up recovery is due after a killed process; the full path then decides.

    :param profile: True is returned only for a profile that keyturn manages.
    """
    vault, config = f"{data_folder(environ)}/vault", config_folder(environ)
    recipient = _read(f"{vault}/recipient.txt")
    profiles = _read(f"{config}/profiles.toml")
    if not profile or not _NAMES.issuperset(profile) or recipient is None or profiles is None:
        return False
    paths = (
        f"{config}/profiles.toml",
        aws_file(environ, "AWS_CONFIG_FILE", "config"),
        aws_file(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    )
    uses_caller_credentials = any(b"credential_source" in (_read(path) or b"").lower() for path in paths)
    state = state_folder(environ)
    index = _read(f"{state}/index.json")
    shared = [os.path.dirname(os.path.realpath(path)) for path in paths[1:]]
    return (
        _is_own(vault)
        and recipient.startswith(_RECIPIENT_LINES[0])
        and _RECIPIENT_LINES[1] in recipient
        and profiles.startswith(_PROFILES_HEADER)
        and f"\n[profiles.{profile}]\n".encode("ascii") in profiles
        and not uses_caller_credentials
        and index is not None
        and b'"delivered"' not in index
        and b"credentials-file" not in profiles
        and not _has_temp_files(config, vault, data_folder(environ), state, f"{state}/history", *shared)
        and all(
            (_read(f"{vault}/{name}") or b"").startswith(_AGE_HEADER) for name in ("keys.age", "identity.age")
        )
        and _has_valid_checksum(recipient)
    )


def _has_valid_checksum(recipient: bytes) -> bool:
    """Return True if the content matches the checksum in it (:mod:`keyturn.vault.files`)."""
    import hashlib

    body, mark, rest = recipient.partition(b"# check ")
    checksum, _, key_line = rest.partition(b"\n")
    return bool(mark) and hashlib.sha256(body + key_line).hexdigest()[:16].encode("ascii") == checksum


def _has_temp_files(*folders: str) -> bool:
    """Return True if a folder has temporary files, left by a killed process or in use by a running one."""
    for folder in folders:
        try:
            if any(name.endswith((".tmp", ".new")) for name in os.listdir(folder)):
                return True
        except OSError:
            continue
    return False


def _is_own(folder: str) -> bool:
    """Return True if the vault is this user's. The full path names the owner of another one."""
    try:
        return os.stat(folder).st_uid == os.geteuid()
    except OSError:
        return False


def _read(path: str) -> bytes | None:
    """Return the content of a regular file, or None if there is none that the full path would read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    content = bytearray()
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        while len(content) <= _MAX_BYTES and (chunk := os.read(handle, 1 << 20)):
            content += chunk
    except OSError:
        return None
    finally:
        os.close(handle)
    return bytes(content) if len(content) <= _MAX_BYTES else None
