"""Paths as plain strings, cheap enough for the fast path of clients.

The socket and state folders are in :mod:`keyturn.storage.socket_paths`.
"""
# ruff: noqa: PTH111 - importing pathlib costs a tenth of the fast path's whole budget

from __future__ import annotations

import os
import sys

from keyturn.storage.socket_paths import own_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def home(environ: Mapping[str, str]) -> str:
    """Return the home folder like AWS tools do: `HOME`, else the one in the password database."""
    return environ.get("HOME") or os.path.expanduser("~")


def config_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of `config.toml` and `profiles.toml`."""
    own = own_folder(environ)
    return f"{own}/config" if own is not None else _xdg(environ, "XDG_CONFIG_HOME", ".config")


def data_folder(environ: Mapping[str, str]) -> str:
    """Return the folder of `vault/`."""
    own = own_folder(environ)
    return f"{own}/data" if own is not None else _xdg(environ, "XDG_DATA_HOME", ".local/share")


def aws_file(environ: Mapping[str, str], variable: str, name: str) -> str:
    """Return the path of a shared file like botocore does: the value of `variable` with variables and `~`
    expanded, else `~/.aws/NAME`.
    """
    value = environ.get(variable)
    if not value:
        return f"{home(environ)}/.aws/{name}"
    return f"{os.path.expanduser(os.path.expandvars(value))}"


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> str:
    value = environ.get(variable, "")
    if value.startswith("/"):
        return f"{value}/keyturn"
    folder = "Library/Application Support" if sys.platform == "darwin" else default
    return f"{home(environ)}/{folder}/keyturn"
