"""The output of `keyturn env`, evaluated by real shells: values arrive unchanged, and none is executed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.delivery import environment
from keyturn.delivery.environment import Change, Shell, apply, render, shell_from_path
from keyturn.model.errors import UsageError
from tests.adversarial.hostile_input.corpus import NAMES
from tests.support.needs import needs

POSIX = {
    "sh": ("sh", "-c"),
    "bash": ("bash", "-c"),
    "zsh": ("zsh", "-fc"),
    "fish": ("fish", "--no-config", "-c"),
}
SAFE = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Cf", "Zl", "Zp"]), max_size=40
)


def evaluate(shell: str, change: Change, before: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the environment of a program that `shell` starts after these lines."""
    program, *options = POSIX[shell]
    out = folder / "environ"
    lines = render(change, Shell(shell)) + f"env -0 > '{out}'\n"
    done = subprocess.run(
        [needs(program), *options, lines],
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder), **before},
        cwd=folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr
    parts = out.read_bytes().decode("utf-8").split("\0")
    out.unlink()
    return dict(part.split("=", 1) for part in parts if part)


@pytest.mark.parametrize("shell", POSIX)
def test_every_hostile_text_arrives_as_it_is_or_is_refused(shell: str, tmp_path: Path) -> None:
    fit: dict[str, str | None] = {}
    for number, text in enumerate(NAMES):
        try:
            render({"X": text}, Shell(shell))
        except UsageError:
            continue
        fit[f"KT_{number}"] = text
    assert len(fit) > 300
    found = evaluate(shell, fit, {}, tmp_path)
    assert {name: found.get(name) for name in fit} == fit
    assert [
        path.name for path in tmp_path.iterdir() if path.name not in (".config", ".local", ".cache")
    ] == []


@pytest.mark.parametrize("shell", POSIX)
def test_what_conflicts_is_gone_and_what_is_not_named_stays(shell: str, tmp_path: Path) -> None:
    before = dict.fromkeys((*environment.CONFLICTING, "AWS_CONFIG_FILE"), "before")
    found = evaluate(shell, dict.fromkeys(environment.CONFLICTING), before, tmp_path)
    assert {name for name in found if name.startswith("AWS_")} == {"AWS_CONFIG_FILE"}


UNIVERSAL = """
set -Ux AWS_PROFILE kept; set -Ux AWS_REGION kept
function in_a_function; set -lx AWS_ROLE_ARN local; eval (cat $argv[1]); env -0 > $argv[2]; end
in_a_function $argv[1] $argv[2]
set -qg AWS_ROLE_ARN; and echo it is still there
set -qU AWS_PROFILE; or echo it is gone for good
set -qU AWS_REGION; or echo it is gone for good
"""


def test_fish_keeps_what_it_has_for_all_its_sessions_and_says_so(tmp_path: Path) -> None:
    """The home is its own, because fish has no universal variables without configuration."""
    lines, out = tmp_path / "lines", tmp_path / "environ"
    lines.write_text(render({"AWS_PROFILE": None, "AWS_REGION": "here", "AWS_ROLE_ARN": None}, Shell.FISH))
    done = subprocess.run(
        [needs("fish"), "-c", UNIVERSAL, str(lines), str(out)],
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(tmp_path), "AWS_ROLE_ARN": "x"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == ""
    assert done.stderr == (
        "keyturn: AWS_PROFILE is a universal fish variable and stays set. To erase it, run: set "
        "-eU AWS_PROFILE\n"
    )
    assert {"AWS_REGION=here", "AWS_PROFILE=kept"} <= set(out.read_text().split("\0"))


@given(SAFE)
@settings(max_examples=300)
def test_powershell_ends_the_value_where_we_do(value: str) -> None:
    """By PowerShell's grammar (about_Quoting_Rules), only a quote is special inside single quotes, and two
    make one."""
    try:
        line = render({"X": value}, Shell.POWERSHELL)
    except UsageError:
        return
    assert line.startswith("$Env:X = '")
    assert line.endswith("';\n")
    inside = line[len("$Env:X = '") : -3]
    for quote in "'\u2018\u2019\u201a\u201b":
        assert quote not in inside.replace(quote * 2, "")
        inside = inside.replace(quote * 2, quote)
    assert inside == value


@pytest.mark.parametrize("value", ["a%PATH%", 'a"b', "a&b", "a|b", "!x!", "a^b", "<x", ">x"])
def test_cmd_is_not_given_what_it_would_obey(value: str) -> None:
    with pytest.raises(UsageError, match=r"for cmd: its value cannot be quoted"):
        render({"X": value}, Shell.CMD)
    assert render({"X": "a+/=b", "Y": None}, Shell.CMD) == 'set "X=a+/=b"\r\nset "Y="\r\n'


@given(st.dictionaries(st.sampled_from(environment.CONFLICTING), st.none() | st.text(), max_size=5))
def test_json_carries_anything(change: dict[str, str | None]) -> None:
    assert json.loads(render(change, Shell.JSON)) == change


@pytest.mark.parametrize(
    ("path", "shell"),
    [
        ("/bin/bash", Shell.BASH), ("/usr/bin/fish", Shell.FISH), ("-zsh", Shell.ZSH), ("/bin/dash",
         Shell.SH), ("", Shell.SH),
        ("/usr/bin/pwsh", Shell.POWERSHELL), ("/opt/json", Shell.JSON), ("/bin/tcsh", Shell.SH),
    ],
)  # fmt: skip
def test_the_shell_of_the_person_is_known_by_its_name(path: str, shell: Shell) -> None:
    assert shell_from_path(path) is shell


def test_every_services_bearer_token_goes_and_no_other_name_is_spoken() -> None:
    names = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_BEARER_TOKEN_X_1", "AWS_BEARER_TOKEN_x;true", "AWS_BEARER", "X")
    assert environment.without_bearer_tokens(dict.fromkeys(names, "x")) == dict.fromkeys(names[:2])


def test_a_change_leaves_what_it_does_not_name() -> None:
    assert apply({"A": "1", "B": None}, {"B": "x", "C": "y", "A": "0"}) == {"A": "1", "C": "y"}
