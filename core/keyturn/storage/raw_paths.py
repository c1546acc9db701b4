"""Where keyturn's own files and the shared ones lie, as text: one set of rules, cheap enough for a client that waits.

The socket's folder and that of the state are in :mod:`keyturn.storage.socket_paths`.
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
    """The person's home, as AWS's own tools take it: `HOME`, else what the system says."""
    return environ.get("HOME") or os.path.expanduser("~")


def config_folder(environ: Mapping[str, str]) -> str:
    """The folder of `config.toml` and `profiles.toml`."""
    own = own_folder(environ)
    return f"{own}/config" if own is not None else _xdg(environ, "XDG_CONFIG_HOME", ".config")


def data_folder(environ: Mapping[str, str]) -> str:
    """The folder of `vault/`."""
    own = own_folder(environ)
    return f"{own}/data" if own is not None else _xdg(environ, "XDG_DATA_HOME", ".local/share")


def aws_file(environ: Mapping[str, str], variable: str, name: str) -> str:
    """A shared file as botocore finds it: what `variable` names, with variables and `~` expanded, else `~/.aws/NAME`."""
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
