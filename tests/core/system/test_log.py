"""The log contains the place of an error, and never the values."""

from __future__ import annotations

import logging
import stat
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from keyturn.system import log


@pytest.mark.parametrize(
    "text",
    [
        "secret_access_key='wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY'",
        "SecretAccessKey: wJalrX",
        "passphrase=wJalrX",
        "Authorization: wJalrX",
        "got wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY1 from there",
        "SAMLAssertion = wJalrX",
        "x-amz-security-token: wJalrX",
        "AGE-SECRET-KEY-1WJALRX and age-secret-key-1wjalrx",
        "?code=wJalrX&x=1",
    ],
)
def test_what_looks_like_a_secret_is_not_written(text: str) -> None:
    assert "wjalrx" not in log.redacted(text).lower()


def test_ordinary_words_stay() -> None:
    text = "Connection pool is full, discarding connection: sts.eu-west-1.amazonaws.com"
    assert log.redacted(text) == text


def test_a_terminal_obeys_nothing_of_it() -> None:
    assert log.redacted("a\x1b]0;x\x07\nb") == "a\\x1b]0;x\\x07\\x0ab"


def caught_error() -> BaseException:
    try:
        canary = "canary"
        raise RuntimeError(canary)
    except RuntimeError as error:
        return error


def test_an_exception_is_its_type_and_its_places() -> None:
    line = log.describe_traceback(caught_error())
    assert line.startswith("builtins.RuntimeError at system/test_log.py:")
    assert "canary" not in line
    assert "canary" in "".join(traceback.format_exception(caught_error()))


def log_lines(folder: Path, message: str, error: BaseException | None = None) -> str:
    handler = log.RedactedFile(folder)
    exc_info = (type(error), error, error.__traceback__) if error else None
    handler.handle(logging.LogRecord("keyturn", logging.ERROR, "", 0, message, None, exc_info))
    return handler.path.read_text()


def test_an_entry_is_one_line_in_a_private_file(tmp_path: Path) -> None:
    text = log_lines(tmp_path / "state", "a\nb", caught_error())
    assert text.count("\n") == 1
    assert "RuntimeError" in text
    assert "canary" not in text
    assert stat.S_IMODE((tmp_path / "state" / "keyturn.log").stat().st_mode) == 0o600


def test_past_a_mebibyte_it_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log_file = tmp_path / "keyturn.log"
    log_file.write_bytes(b"x" * (1 << 20))
    log_lines(tmp_path, "new")
    assert (tmp_path / "keyturn.log.1").stat().st_size == 1 << 20
    assert log_file.read_text().endswith("new\n")


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "keyturn.log").mkdir()
    handler = log.RedactedFile(tmp_path)
    handler.handle(logging.LogRecord("keyturn", logging.ERROR, "", 0, "x", None, None))
    assert list((tmp_path / "keyturn.log").iterdir()) == []


@pytest.mark.parametrize(
    "operation",
    [
        "raise RuntimeError(canary)",
        "import threading; t = threading.Thread(target=lambda: 1 / len(canary[:0])); t.start(); t.join()",
        "import logging; logging.getLogger('botocore').warning('secret=%s', canary)",
        "import logging; logging.getLogger('x').warning('%d', canary)",
        "logger = logging.getLogger('botocore'); logger.setLevel(1); logger.debug('%s', canary)",
    ],
)
def test_nothing_of_an_error_goes_to_the_terminal(tmp_path: Path, operation: str) -> None:
    program = "import logging, sys; from pathlib import Path; from keyturn.system import log; "
    program += "logging.basicConfig(level=1); logging.getLogger('x').addHandler(logging.StreamHandler()); "
    program += f"log.open_log(Path({str(tmp_path)!r})); log.open_log(Path('/nowhere')); "
    program += f"canary = 'cana' + 'ry'; {operation}"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert "canary" not in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1
    written = (tmp_path / "keyturn.log").read_text() if (tmp_path / "keyturn.log").exists() else ""
    assert "canary" not in written
