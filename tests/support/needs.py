"""Programs that a test needs and that no Python package provides."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

#: Debian packages with another name than the program.
PACKAGES = {
    "dbus-daemon": "dbus",
    "dbus-run-session": "dbus",
    "gnome-keyring-daemon": "gnome-keyring",
    "pkill": "procps",
    "secret-tool": "libsecret-tools",
    "setpriv": "util-linux",
    "su": "util-linux",
    "sh": "dash",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "unshare": "util-linux",
    "useradd": "passwd",
    "userdel": "passwd",
}


def needs(program: str) -> str:
    """Return the path of `program`. Without it the test is skipped with the missing program as reason; under
    `KEYTURN_REQUIRE_ALL=1`, where everything is expected to be installed, it fails instead."""
    path = shutil.which(program)
    if path is None:
        skip_or_fail(f"{program} is not installed (Debian: {PACKAGES.get(program, program)})")
    return path


def skip_or_fail(reason: str) -> NoReturn:
    """Skip a test that this machine cannot run; under `KEYTURN_REQUIRE_ALL=1` let it fail."""
    if os.environ.get("KEYTURN_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
