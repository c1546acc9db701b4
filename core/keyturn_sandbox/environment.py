"""Environment variables that point a program at the sandbox instead of AWS."""

from __future__ import annotations

import shlex
import sysconfig
from collections.abc import Mapping
from pathlib import Path

_LOOPBACK = "127.0.0.1,localhost"


def variables(folder: Path, url: str) -> dict[str, str]:
    """Return the variables to set, except HOME and PATH.

    No region is set, because it would override the profiles' regions, and a key works only in the regions of
    its partition. The generic endpoint is set as well, so that the stand-in rejects services that it does not
    implement and no call leaves the machine.
    """
    aws = folder / "home" / ".aws"
    return {
        "AWS_CONFIG_FILE": str(aws / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws / "credentials"),
        "AWS_LOGIN_CACHE_DIRECTORY": str(aws / "login" / "cache"),
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_STS": url,
        "AWS_ENDPOINT_URL_IAM": url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "KEYTURN_HOME": str(folder / "keyturn"),
        "KEYTURN_SANDBOX": str(folder),
    }


def environ_for(folder: Path, url: str, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return a complete environment for a child process: `inherited` without AWS and keyturn variables, plus
    the sandbox's."""
    environ = {
        name: value for name, value in inherited.items() if not name.startswith(("AWS_", "_AWS_", "KEYTURN_"))
    }
    environ |= variables(folder, url)
    environ["HOME"] = str(folder / "home")
    environ["PATH"] = ":".join(part for part in (_scripts(), inherited.get("PATH", "")) if part)
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(part for part in (inherited.get(name, ""), _LOOPBACK) if part)
    return environ


def shell_file(folder: Path, url: str) -> str:
    """Return the same as a script for a POSIX shell that runs `. FOLDER/env`. The shell keeps its HOME."""
    lines = [
        "# Joins this shell to a keyturn sandbox, as long as the sandbox runs.",
        "for keyturn_name in $(env | sed -n 's/^\\(_\\{0,1\\}AWS_[A-Za-z0-9_]*\\)=.*/\\1/p'); do",
        '    unset "$keyturn_name"',
        "done",
        "unset keyturn_name",
        *(f"export {name}={shlex.quote(value)}" for name, value in variables(folder, url).items()),
        f'export PATH={shlex.quote(_scripts())}:"$PATH"',
        f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{_LOOPBACK}"',
        'export no_proxy="$NO_PROXY"',
    ]
    return "\n".join(lines) + "\n"


def _scripts() -> str:
    """Return the folder with the executables of the running installation."""
    return sysconfig.get_path("scripts")
