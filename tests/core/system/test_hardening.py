"""A hardened process is closed to others, and an agent's environment holds no credentials of a shell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keyturn.system.hardening import agent_environment

INSPECT_SELF = """
import faulthandler, os, resource, sys
from keyturn.system import hardening
faulthandler.enable()
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
before = resource.getrlimit(resource.RLIMIT_CORE)[1]
closed = getattr(hardening, sys.argv[1])()
import ctypes
print(closed, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0)
print(faulthandler.is_enabled())
print(resource.getrlimit(resource.RLIMIT_CORE) == (0, before if sys.argv[1] == "harden_process" else 0))
print(oct(os.umask(0)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has PR_SET_DUMPABLE")
@pytest.mark.parametrize(("name", "umask"), [("harden_process", "0o22"), ("harden_agent", "0o77")])
def test_a_closed_process_is_not_dumpable_and_leaves_no_core(name: str, umask: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", INSPECT_SELF, name],
        capture_output=True,
        text=True,
        check=True,
        umask=0o022,
    )
    assert done.stdout.split("\n")[:4] == ["True True", "False", "True", umask]


KEPT = [
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "KEYTURN_HOME",
    "KEYTURN_SANDBOX",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CA_BUNDLE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "HTTP_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "AWS_LOGIN_CACHE_DIRECTORY",
]

DROPPED = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_DATA_PATH",
    "AWS_BEARER_TOKEN_BEDROCK",
    "BOTO_CONFIG",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "PYTHONFAULTHANDLER",
    "PYTHONDEVMODE",
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "OPENSSL_CONF",
    "SSH_AUTH_SOCK",
    "DISPLAY",
    "TERM",
    "EDITOR",
    "FTP_PROXY",
    "XHOME",
    "HOMEX",
    "GITHUB_TOKEN",
    "COVERAGE_PROCESS_START",
]


def test_an_agents_environment_keeps_what_it_needs_and_nothing_else() -> None:
    environ = {name: f"/of/{name}" for name in (*KEPT, *DROPPED)}
    assert agent_environment(environ, Path("/here")) == {name: f"/of/{name}" for name in KEPT}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("k", "/here/k"),
        ("../k", "/here/../k"),
        ("/k", "/k"),
        ("~/k", "~/k"),
        ("$HOME/k", "$HOME/k"),
        ("", ""),
    ],
)
def test_a_relative_path_is_anchored_where_the_starter_stood(given: str, expected: str) -> None:
    assert agent_environment({"KEYTURN_HOME": given}, Path("/here")) == {"KEYTURN_HOME": expected}
