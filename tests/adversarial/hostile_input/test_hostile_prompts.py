"""Hostile names in a question on a terminal are plain text, and the answer changes nothing."""

from __future__ import annotations

import os
import pty
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore import configloader
from botocore.exceptions import BotoCoreError

from keyturn.awsconfig import process_line
from keyturn.awsconfig.document import FileKind, header_for, parse, set_items
from keyturn.model.errors import KeyturnError
from tests.adversarial.hostile_input.corpus import MARKER, NAMES, as_argument, spread
from tests.adversarial.hostile_input.stream import foreign_in

Record = Callable[[str, object], None]
KEYTURN = Path(sys.executable).with_name("keyturn")
#: Number of names in one question.
TOGETHER = 40


def _sections(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield every adoptable profile name with its section of the credentials file."""
    file = folder / "tried"
    for number, name in enumerate(as_argument(NAMES)):
        keys = f"aws_access_key_id = AKIA{number:016d}\naws_secret_access_key = {number:040d}\n"
        text = f"[{name}]\n{keys}"
        file.write_text(text, "utf-8", "surrogateescape", newline="")
        try:
            found = configloader.raw_config_parse(str(file))
            process_line.format_line("/opt/keyturn/bin/keyturn", name)
            set_items(
                parse(b"", "config", FileKind.CONFIG), header_for(FileKind.CONFIG, name), {"region": "x"}
            )
        except (BotoCoreError, ValueError, KeyturnError):
            continue
        if list(found) == [name]:
            yield name, text
    file.unlink()


def _answer_no(home: Path, *words: str) -> bytes:
    """Return the terminal output of `keyturn WORDS` when the answer is `n`."""
    pid, terminal = pty.fork()
    if pid == 0:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KEYTURN_HOME": str(home / "k"),
            "KEYTURN_SANDBOX": str(home),
            "TERM": "xterm",
        }
        os.chdir(home)
        os.execve(KEYTURN, [str(KEYTURN), *words], {**environ, "LANG": "C.UTF-8"})  # noqa: S606  # our own program
    output, is_answered = b"", False
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        output += part
        if not is_answered and output.endswith(b"[y/N]: "):
            os.write(terminal, b"n\n")
            is_answered = True
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert is_answered, output[-2000:]
    assert os.waitstatus_to_exitcode(status) == 1
    return output


def _questions(home: Path, sections: list[tuple[str, str]], record: Record) -> None:
    credentials = home / ".aws" / "credentials"
    credentials.parent.mkdir()
    size = 0
    for start in range(0, len(sections), TOGETHER):
        some = sections[start : start + TOGETHER]
        text = "".join(section for _, section in some)
        credentials.write_text(text, "utf-8", "surrogateescape", newline="")
        output = _answer_no(home, "adopt", "--", *(name for name, _ in some))
        assert foreign_in(output) == []
        assert b"Nothing was changed." in output
        assert credentials.read_bytes() == text.encode("utf-8", "surrogateescape")
        size += len(output)
    assert not (home / MARKER).exists()
    record("hostile: names in a question on a terminal", len(sections))
    record("hostile: bytes of the questions", size)


def test_names_in_a_question_are_plain_text(tmp_path: Path, record_property: Record) -> None:
    found = dict(_sections(tmp_path))
    chosen = spread(tuple(found), TOGETHER)
    _questions(tmp_path, [(name, found[name]) for name in chosen], record_property)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_every_name_in_a_question_is_plain_text(tmp_path: Path, record_property: Record) -> None:
    found = list(_sections(tmp_path))
    assert len(found) > 200
    _questions(tmp_path, found, record_property)
