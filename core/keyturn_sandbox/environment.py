"""The environment in which a program meets the sandbox instead of AWS."""

from __future__ import annotations

import shlex
import sysconfig
from collections.abc import Mapping
from pathlib import Path

_LOOPBACK = "127.0.0.1,localhost"


def variables(folder: Path, url: str) -> dict[str, str]:
    """What has to be set, besides HOME and PATH.

    No region is set: it would overrule the profiles' own, and a key works in the regions of its partition only. The
    general endpoint is set too, so that a service that is not played here is refused here, and no call leaves the
    machine.
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
    """A whole environment for a child: `inherited` without anything of AWS or keyturn, with the sandbox's own."""
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
    """The same for a POSIX shell that joins by `. FOLDER/env`; it keeps its HOME."""
    lines = [
        "# Joins this shell to a keyturn sandbox. It lasts as long as the sandbox does.",
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
    """The folder with the running installation's programs."""
    return sysconfig.get_path("scripts")
