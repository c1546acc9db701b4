"""`--canaries`: a test that prints or leaves a secret of its sandbox fails, and a test that keeps it in its
place passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LEAKY = """
from keyturn_sandbox.id_generator import IdGenerator
def made(): return IdGenerator().secret().reveal()
def test_that_prints(): print("it is", made())
def test_that_leaves(tmp_path): (tmp_path / "left").write_text(made())
def test_that_keeps(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(made())
"""


@pytest.mark.timeout(300)
def test_what_leaks_fails_and_what_does_not_passes(tmp_path: Path) -> None:
    file = tmp_path / "test_leaky.py"
    file.write_text(LEAKY)
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--canaries", "-n", "0", "-q", "-p", "no:cacheprovider", "-c",
         str(root / "pyproject.toml"), "--confcutdir", str(root), "-p", "tests.conftest",
         f"--basetemp={tmp_path / 'base'}", str(file)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    output = done.stdout
    assert "3 passed, 2 errors" in output, output + done.stderr
    assert "(plain) in stdout of call" in output
    assert "test_that_leaves0/left" in output
