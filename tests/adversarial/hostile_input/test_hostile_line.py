"""A name or path in a `credential_process` line or a section header is read back unchanged, or refused."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore import configloader
from botocore.compat import compat_shell_split

from keyturn.awsconfig.document import FileKind, header_for, parse, set_items
from keyturn.awsconfig.process_line import format_line, is_keyturn_process_line
from keyturn.model.errors import KeyturnError, UsageError
from keyturn.providers.role_params import session_name
from tests.adversarial.hostile_input.corpus import MARKER, NAMES, as_argument, as_folder, as_text, spread
from tests.support.needs import needs

PROGRAM = "/opt/keyturn/bin/keyturn"
#: Prints its own argv, each word ended by NUL.
PRINTER = '#!/bin/sh\nprintf \'%s\\0\' "$0" "$@"\n'


def lines(program: str, names: tuple[str, ...]) -> Iterator[tuple[list[str], str]]:
    """Return the intended argv and the line, for all names that are not refused."""
    for name in names:
        try:
            text = format_line(program, name)
        except UsageError:
            continue
        meant = [program, "credential-process", *(["--"] if name.startswith("-") else []), name]
        yield meant, text


def test_botocore_and_shlex_split_the_line_into_exactly_our_words(
    record_property: Callable[[str, object], None],
) -> None:
    found = list(lines(PROGRAM, NAMES))
    for meant, text in found:
        assert compat_shell_split(text) == meant
        assert shlex.split(text) == meant
        assert is_keyturn_process_line(text, meant[-1])
        assert not any(is_keyturn_process_line(text, name) for name in spread(NAMES, 9) if name != meant[-1])
    refused = set(NAMES) - {meant[-1] for meant, _ in found}
    assert {
        "$(touch " + MARKER + ")",
        "`" + "touch " + MARKER + "`",
        '"',
        "x\\",
        "\n",
        "\x1b",
        "prod\u200b",
    } <= refused
    assert format_line(PROGRAM, "=x").endswith('"=x"'), "zsh takes a bare one for the path of a command"
    record_property("hostile: credential_process lines split alike", len(found))


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_splits_the_line_into_exactly_our_words(shell: str, tmp_path: Path) -> None:
    """Go, JavaScript and Java pass the line to `sh -c`."""
    program = tmp_path / "a folder (with) 'all' [of] {it} & more; é *" / "keyturn"
    program = Path(str(program).replace("'", "_").replace(";", "_"))
    program.parent.mkdir()
    program.write_text(PRINTER)
    program.chmod(0o700)
    here = tmp_path / "here"
    here.mkdir()
    found = list(lines(str(program), tuple(as_argument(NAMES))))
    assert len(found) > 200
    script = "\n".join(text for _, text in found)
    run = subprocess.run([needs(shell), "-c", script], capture_output=True, cwd=here, check=True)
    assert run.stdout.decode().split("\0")[:-1] == [word for meant, _ in found for word in meant]
    assert not list(here.iterdir())


def test_a_program_in_any_folder_is_called_or_refused(tmp_path: Path) -> None:
    called = 0
    for folder in as_folder(NAMES):
        program = tmp_path / folder / "keyturn"
        try:
            text = format_line(str(program), "ci")
        except UsageError:
            continue
        assert compat_shell_split(text) == [str(program), "credential-process", "ci"]
        program.parent.mkdir()
        program.write_text(PRINTER)
        program.chmod(0o700)
        if called % 9 == 0:
            run = subprocess.run(["sh", "-c", text], capture_output=True, cwd=tmp_path, check=True)
            assert run.stdout.decode().split("\0")[:-1] == [str(program), "credential-process", "ci"]
        called += 1
    assert called > 100
    assert not list(tmp_path.rglob(MARKER))


@pytest.mark.parametrize("kind", list(FileKind))
def test_a_section_for_any_name_holds_that_profile_and_no_second_one(kind: FileKind, tmp_path: Path) -> None:
    path = tmp_path / "file"
    other = b"[other]\nregion = x\n" if kind is FileKind.CREDENTIALS else b"[profile other]\nregion = x\n"
    header_text = 0
    for name in as_text(NAMES):
        try:
            header = header_for(kind, name)
            value = format_line(PROGRAM, name)
            path.write_bytes(set_items(parse(other, "file", kind), header, {"credential_process": value}))
        except KeyturnError:
            continue
        header_text += 1
        raw = configloader.raw_config_parse(str(path))
        found = configloader.build_profile_map(raw)["profiles"] if kind is FileKind.CONFIG else raw
        assert set(found) == {"other", name}
        assert found[name] == {"credential_process": value}
        assert found["other"] == {"region": "x"}
    assert header_text > 100


def test_any_name_makes_a_session_name_that_aws_takes() -> None:
    for name in NAMES:
        assert re.fullmatch(r"[\w+=,.@-]{2,64}", session_name(None, name), re.ASCII), name
