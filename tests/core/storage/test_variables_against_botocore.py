"""The variables for paths of AWS tools, compared with botocore in a process of its own: unset, empty, blank,
with `~` and with a variable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Prints what botocore and keyturn read in each environment of the standard input.
READ = """
import json, os, sys
from botocore.session import Session
from botocore.utils import get_login_token_cache_directory
from keyturn.awsconfig.loader import read_files
from keyturn.awsconfig.sdk_caches import SdkCaches
from keyturn.storage.paths import paths_for

for environ in json.load(sys.stdin):
    os.environ.clear()
    os.environ.update(environ)
    paths = paths_for(os.environ)
    shared = read_files(paths.aws_config, paths.aws_credentials)
    print(json.dumps([
        [Session().full_config, os.path.abspath(get_login_token_cache_directory())],
        [shared.full_config, os.path.abspath(SdkCaches(os.environ)._login)],
    ]))
"""
VALUES = (None, "", "  ", "other", "~/other", "$FOLDER/other", "${FOLDER}/other", "$GONE/other", "$EMPTY",
          "~nobody-by-that-name/other", "$TILDE/other", "/dev/null")  # fmt: skip


def read_both(environs: list[dict[str, str]], folder: Path) -> list[tuple[Any, Any]]:
    """Return what botocore and keyturn read, by environment."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(environs), cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home folder, also the working folder, with a config file that each value may name."""
    for name in (".aws/config", "other", "  "):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"[default]\nregion = eu-west-1\n[profile {name.strip() or 'blank'}]\nregion = x\n")
    (tmp_path / ".aws" / "credentials").write_text(
        "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = x\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_LOGIN_CACHE_DIRECTORY", "HOME"]
)
def test_a_path_is_read_as_botocore_reads_it(home: Path, variable: str) -> None:
    environ = {"HOME": str(home), "FOLDER": str(home), "EMPTY": "", "TILDE": "~"}
    environ |= {"PATH": os.environ["PATH"], "KEYTURN_HOME": str(home / "keyturn")}
    values = [value for value in VALUES if variable != "HOME" or value is not None]
    environs = [environ if value is None else {**environ, variable: value} for value in values]
    for value, (expected, found) in zip(values, read_both(environs, home), strict=True):
        assert found == expected, (variable, value)
