"""`keyturn agent unit` prints a unit that runs this keyturn from any path and needs nothing else."""

from __future__ import annotations

import configparser
import plistlib

import pytest

from keyturn.agent.install import launchd_plist, systemd_unit
from keyturn.model.errors import UsageError


def _words(line: str) -> list[str]:
    """Parse a double-quoted first word as systemd.service(5) defines it."""
    quoted, _, rest = line[1:].rpartition('" ')
    program = quoted.replace("$$", "$").replace("%%", "%").replace('\\"', '"').replace("\\\\", "\\")
    return [program, *rest.split()]


@pytest.mark.parametrize(
    "program",
    ["/usr/bin/keyturn", "/home/jo o/.venv/bin/keyturn", "/opt/100%/$HOME/keyturn", '/a"b/c\\d/keyturn'],
)
def test_the_unit_starts_and_stops_this_keyturn(program: str) -> None:
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys are case-sensitive
    unit.read_string(systemd_unit(program))
    assert _words(unit["Service"]["ExecStart"]) == [program, "agent", "start"]
    assert _words(unit["Service"]["ExecStop"]) == [program, "agent", "stop"]
    assert unit["Install"]["WantedBy"] == "default.target"


@pytest.mark.parametrize("program", ["keyturn", "/a\nExecStart=/bin/sh/keyturn", "/a\u202eb/keyturn"])
def test_a_path_that_could_say_more_is_refused(program: str) -> None:
    with pytest.raises(UsageError, match="cannot be quoted"):
        systemd_unit(program)


def test_the_property_list_starts_this_keyturn() -> None:
    program = "/Users/jo & <co>/keyturn"
    assert plistlib.loads(launchd_plist(program).encode())["ProgramArguments"] == [program, "agent", "start"]
