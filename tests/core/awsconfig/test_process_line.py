"""The `credential_process` line: its form for every AWS client, and the lines that are keyturn's. Tables."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyturn.awsconfig.process_line import (
    VERB,
    check_name,
    format_line,
    is_keyturn_process_line,
    profile_of_line,
)
from keyturn.model.errors import UsageError

#: Program, profile, the line.
LINES = [
    ("/opt/bin/keyturn", "ci", "/opt/bin/keyturn credential-process ci"),
    ("/opt/my tools/keyturn", "ci", '/"opt/my tools/keyturn" credential-process ci'),
    ("/opt/my tools/keyturn", "a b", '/"opt/my tools/keyturn" credential-process "a b"'),
    ("/home/jörg/keyturn", "ci", "/home/jörg/keyturn credential-process ci"),
    ("/k", "a b", '/k credential-process "a b"'),
    ("/k", "-x", '/k credential-process -- "-x"'),
    ("/k", "--", "/k credential-process -- --"),
    ("/k", "=x", '/k credential-process "=x"'),
    ("/k", ",x", '/k credential-process ",x"'),
    ("/k", "X b", '/k credential-process "X b"'),
    ("/k", "a=b", "/k credential-process a=b"),
    ("/k", "a-b_c.d@e%f/g:h+i,j", "/k credential-process a-b_c.d@e%f/g:h+i,j"),
    ("/k", "credential-process", "/k credential-process credential-process"),
    ("/k", "(x)*&|<>~", '/k credential-process "(x)*&|<>~"'),
    ("/k", "ü", "/k credential-process ü"),
    ("/k", "", '/k credential-process ""'),
]


@pytest.mark.parametrize(("program", "profile", "expected"), LINES)
def test_the_line_is_read_as_the_same_words(program: str, profile: str, expected: str) -> None:
    found = format_line(program, profile)
    assert found == expected
    words = shlex.split(found)
    assert (words[0], words[1], words[-1]) == (program, "credential-process", profile)
    check_name(profile)


@pytest.mark.parametrize("mark", [*"\"\\$`'\n\r#;", "\x1b", "\u202e"])
def test_a_name_that_some_client_would_read_otherwise_is_refused(mark: str) -> None:
    for operation in (
        lambda: format_line("/k", f"a{mark}b"),
        lambda: format_line(f"/a{mark}b", "ci"),
        lambda: check_name(mark),
    ):
        with pytest.raises(UsageError):
            operation()


@pytest.mark.parametrize("program", ["/opt/keyturn ", "(k)", " /opt/keyturn"])
def test_a_program_that_some_client_would_not_find_is_refused(program: str) -> None:
    with pytest.raises(UsageError, match="Install keyturn in another folder"):
        format_line(program, "ci")


#: Line, profile, True if the line is keyturn's for that profile.
OURS = [
    ("keyturn credential-process ci", "ci", True),
    ('"/opt/my tools/keyturn" credential-process ci', "ci", True),
    ("/opt/bin/keyturn credential-process -- -x", "-x", True),
    ('/"opt/my tools/keyturn" credential-process ci', "ci", True),
    ('/k/keyturn credential-process "a b"', "a b", True),
    ("/k/keyturn credential-process --some-option ci", "ci", True),
    ("/k/keyturn credential-process ci", "other", False),
    ("/k/notkeyturn credential-process ci", "ci", False),
    ("/keyturn/tool credential-process ci", "ci", False),
    ("/k/keyturn show ci", "ci", False),
    ("/k/keyturn show credential-process ci", "ci", False),
    ("keyturn credential-process", "credential-process", False),
    ("keyturn", "keyturn", False),
    ('keyturn credential-process "ci', "ci", False),
    ("", "", False),
]


@pytest.mark.parametrize(("value", "profile", "ours"), OURS)
def test_a_line_is_ours_if_it_calls_a_keyturn_of_any_path_for_the_profile(
    value: str, profile: str, ours: bool
) -> None:
    assert is_keyturn_process_line(value, profile) is ours


@settings(max_examples=500)
@given(
    st.lists(
        st.sampled_from(["/k/keyturn", VERB, "ci", "é", " ", "  ", "\t", "\u00a0", "--", "'", '"', "\\"])
    )
)
def test_a_line_is_split_as_shlex_splits_it(parts: list[str]) -> None:
    value = "".join(parts)
    try:
        words = shlex.split(value)
    except ValueError:
        words = []
    is_ours = len(words) >= 3 and words[0].rpartition("/")[2] == "keyturn" and words[1] == VERB
    assert profile_of_line(value) == (words[-1] if is_ours else None)
