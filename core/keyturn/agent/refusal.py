"""Saying at once that the vault is locked: an AWS client without an agent waits for that, and for nothing else.

Where the vault opens by a passphrase alone and no agent answers, `credential-process NAME` ends in one line whatever the
name is: it never asks. That is told from a few files, with the barest of the standard library. Anything out of the
ordinary is left to the long way, and so is what every start owes to processes that were killed.
"""
# ruff: noqa: PTH112, PTH111, PTH118, PTH120, PTH208 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import stat
import sys

from keyturn.agent.socketpath import home_folder, own_folder, state_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: As :func:`keyturn.acts.keeping.closed` says it.
LINE = "the vault: it is locked. Run: keyturn vault unlock"
EXIT = 4

_LARGEST = 16 << 20
_LABEL = "# keyturn vault, format 1"
_AGE = b"age-encryption.org/v1\n"


class _Unusual(Exception):
    """The long way knows what to make of it."""


def is_locked(environ: Mapping[str, str]) -> bool:
    """Whether nothing but a person opens the vault, no profile does without it, and there is nothing to clear away.

    False also where that is not plain to see.
    """
    try:
        return _is_locked(environ)
    except (_Unusual, OSError, ValueError):
        return False


def _is_locked(environ: Mapping[str, str]) -> bool:
    config, data, state = folders(environ)
    vault = f"{data}/vault"
    shared = shared_files(environ)
    definitions = _content(f"{config}/profiles.toml")
    asks_whoever_asks = any(b"credential_source" in (_content(path) or b"").lower() for path in shared)
    return (
        _opens_by_passphrase_alone(vault)
        and definitions is not None
        # Sessions in the credentials file may have ended; some profiles take their credentials from whoever asks.
        and b"credentials-file" not in definitions
        and b"credential_source" not in definitions
        and not asks_whoever_asks
        and b'"delivered"' not in (_content(f"{state}/index.json") or b"")
        and not any(_leftovers((config, data, vault, state, f"{state}/history"), shared))
    )


def folders(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """The folders of settings, data and state, as :func:`keyturn.places.places_for` finds them."""
    own = own_folder(environ)
    if own is not None:
        return f"{own}/config", f"{own}/data", f"{own}/state"
    return (
        _xdg(environ, "XDG_CONFIG_HOME", ".config"),
        _xdg(environ, "XDG_DATA_HOME", ".local/share"),
        state_folder(environ),
    )


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> str:
    named = environ.get(variable, "")
    if named.startswith("/"):
        return f"{named.rstrip('/')}/keyturn"
    below = "Library/Application Support" if sys.platform == "darwin" else default
    return f"{home_folder(environ)}/{below}/keyturn"


def shared_files(environ: Mapping[str, str]) -> tuple[str, str]:
    """The shared config and credentials files, as :func:`keyturn.places.places_for` finds them."""
    return (
        _aws_file(environ, "AWS_CONFIG_FILE", "config"),
        _aws_file(environ, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    )


def _aws_file(environ: Mapping[str, str], variable: str, name: str) -> str:
    named = environ.get(variable)
    if not named:
        return f"{home_folder(environ)}/.aws/{name}"
    return os.path.join(os.getcwd(), os.path.expanduser(os.path.expandvars(named)))  # noqa: PTH109 - as above


def _opens_by_passphrase_alone(vault: str) -> bool:
    """Whether the vault's files are sound by their looks, and its label names no keyring."""
    import hashlib

    label = (_content(f"{vault}/recipient.txt") or b"").decode("ascii")
    sealed, keys = _content(f"{vault}/identity.age"), _content(f"{vault}/keys.age")
    lines = label.split("\n")
    if sealed is None or keys is None or len(lines) != 7 or lines[0] != _LABEL:
        return False
    slots, digests, check = lines[2:5]
    noted = label.replace(f"{check}\n", "", 1)
    return (
        slots == "# slots passphrase"
        and check == f"# check {hashlib.sha256(noted.encode()).hexdigest()[:16]}"
        and hashlib.sha256(sealed).hexdigest() in digests.split()
        and sealed.startswith(_AGE)
        and keys.startswith(_AGE)
    )


def _leftovers(own: tuple[str, ...], shared: tuple[str, ...]) -> Iterator[str]:
    """What may be left of a process that was killed; another's temporary files count as well."""
    for folder in (*own, *(os.path.dirname(os.path.realpath(path)) for path in shared)):
        if os.path.isdir(folder):
            yield from (name for name in os.listdir(folder) if name.endswith((".tmp", ".new")))


def _content(path: str) -> bytes | None:
    """The bytes of a file; None where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            raise _Unusual
        found = b""
        while part := os.read(handle, 1 << 20):
            found += part
        return found
    finally:
        os.close(handle)
