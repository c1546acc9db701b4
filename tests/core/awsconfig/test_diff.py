"""The diff of a change as a user sees it: its lines, its section, and no secret. Tables."""

from __future__ import annotations

import pytest

from keyturn.awsconfig.diff import anchors, diff, masked_lines, raw_lines

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "aB3" * 40

#: Bytes, their lines.
RAW = [
    (None, []),
    (b"", []),
    (b"a", ["a"]),
    (b"a\n", ["a"]),
    (b"a\n\n", ["a", ""]),
    (b"\n", [""]),
    (b"a\r\nb\rc\n", ["a", "b", "c"]),
    (b"a\xff", ["a\ufffd"]),
]


@pytest.mark.parametrize(("data", "lines"), RAW, ids=range(len(RAW)))
def test_lines_end_as_botocore_ends_them(data: bytes | None, lines: list[str]) -> None:
    assert raw_lines(data) == lines
    assert masked_lines(data) == lines


#: Name, lines, as they are shown.
MASKED: list[tuple[str, str, list[str]]] = [
    ("a secret", "aws_secret_access_key = x", ["aws_secret_access_key = ***"]),
    ("a token", "aws_session_token=x", ["aws_session_token=***"]),
    ("the older token", "aws_security_token: x", ["aws_security_token: ***"]),
    ("in capitals", "AWS_Secret_Access_Key = x", ["AWS_Secret_Access_Key = ***"]),
    ("in a comment", "# aws_secret_access_key = x", ["# aws_secret_access_key = ***"]),
    ("in another comment", " ; aws_secret_access_key = x", [" ; aws_secret_access_key = ***"]),
    ("an empty one", "aws_secret_access_key =", ["aws_secret_access_key =***"]),
    ("of several lines", "aws_secret_access_key = x\n  y\n\tz\nk = 1",
     ["aws_secret_access_key = ***", "  ***", "\t***", "k = 1"]),
    ("of lines with a comment between", "aws_secret_access_key =\n# c\n  y\nk = 1",
     ["aws_secret_access_key =***", "# c", "  ***", "k = 1"]),
    ("of lines with another comment between", "aws_secret_access_key =\n; c\n  y\nk = 1",
     ["aws_secret_access_key =***", "; c", "  ***", "k = 1"]),
    ("followed by blanks", "aws_secret_access_key = x\n   \nk = 1",
     ["aws_secret_access_key = ***", "   ", "k = 1"]),
    ("a comment before an indented line", "# c\n  k = v", ["# c", "  k = v"]),
    ("followed by the next setting and its block", "aws_secret_access_key = x\ns3 =\n  k = v",
     ["aws_secret_access_key = ***", "s3 =", "  k = v"]),
    ("a block that holds none", "s3 =\n  k = v", ["s3 =", "  k = v"]),
    ("another setting's name in it", "my_aws_secret_access_key_id = x", ["my_aws_secret_access_key_id = x"]),
    ("a key id", "aws_access_key_id = AKIAIOSFODNN7EXAMPLE", ["aws_access_key_id = AKIAIOSFODNN7EXAMPLE"]),
    ("another program's arguments", "credential_process = /x/tool --password p",
     ["credential_process = /x/tool ***"]),
    ("another program without arguments", "credential_process = /x/tool", ["credential_process = /x/tool"]),
    ("another program with a blank", "credential_process = /x/tool  ", ["credential_process = /x/tool  "]),
    ("another program in a comment", "#credential_process=tool -p x", ["#credential_process=tool ***"]),
    ("our line", 'credential_process = "/k/keyturn" credential-process ci',
     ['credential_process = "/k/keyturn" credential-process ci']),
    ("the shape of a secret", f"# old {SECRET}", ["# old ***"]),
    ("the shape of a secret at the end of a setting", f"x={SECRET}", ["x=***"]),
    ("the shape of a token", f"x = {TOKEN}==", ["x = ***"]),
    ("41 characters", f"x = {SECRET}a", [f"x = {SECRET}a"]),
    ("39 characters", f"x = {SECRET[1:]}", [f"x = {SECRET[1:]}"]),
    ("40 letters of one case", "x = " + "a" * 40, ["x = " + "a" * 40]),
    ("40 characters without a digit", "x = " + "aB" * 20, ["x = " + "aB" * 20]),
    ("40 characters without a capital", "x = " + "a1" * 20, ["x = " + "a1" * 20]),
    ("40 characters without a small letter", "x = " + "A1" * 20, ["x = " + "A1" * 20]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), [case[1:] for case in MASKED], ids=[case[0] for case in MASKED])
def test_no_line_shows_a_secrets_value(text: str, shown: list[str]) -> None:
    assert masked_lines(text.encode()) == shown
    assert masked_lines(text.replace("\n", "\r\n").encode()) == shown


def shown(before: bytes | None, after: bytes | None) -> list[str]:
    return [line.sign + line.text for line in diff("file", before, after)]


#: Name, before, after, what is shown below the heading.
DIFFS: list[tuple[str, bytes | None, bytes | None, list[str]]] = [
    ("nothing", b"[a]\n", b"[a]\n", []),
    ("no file, no file", None, None, []),
    ("an empty file is made", None, b"", []),
    ("a file is made", None, b"[a]\nk = 1\n", ["+[a]", "+k = 1"]),
    ("a file goes", b"[a]\n", None, ["-[a]"]),
    ("only line ends", b"[a]\n", b"[a]\r\n", [" (only line endings change)"]),
    ("the last line end", b"[a]\nk = 1", b"[a]\nk = 1\n", [" (only line endings change)"]),
    ("a value", b"[a]\nk = 1\n", b"[a]\nk = 2\n", [" [a]", "-k = 1", "+k = 2"]),
    ("two lines around it", b"[a]\na\nb\nc\nk = 1\nd\ne\nf\n", b"[a]\na\nb\nc\nk = 2\nd\ne\nf\n",
     [" [a]", " …", " b", " c", "-k = 1", "+k = 2", " d", " e"]),
    ("the header right before the lines around it", b"[a]\nb\nc\nk = 1\n", b"[a]\nb\nc\nk = 2\n",
     [" [a]", " b", " c", "-k = 1", "+k = 2"]),
    ("an indented header", b"  [a]\nb\nc\nd\nk = 1\n", b"  [a]\nb\nc\nd\nk = 2\n",
     ["   [a]", " …", " c", " d", "-k = 1", "+k = 2"]),
    ("nothing of the section before", b"[z]\nx = 1\n[a]\nk = 1\n", b"[z]\nx = 1\n[a]\nk = 2\n",
     [" [a]", "-k = 1", "+k = 2"]),
    ("nothing of the section after", b"[a]\nk = 1\n[z]\nx = 1\n", b"[a]\nk = 2\n[z]\nx = 1\n",
     [" [a]", "-k = 1", "+k = 2"]),
    ("nothing after a blank line", b"[a]\nk = 1\n\n# of z\n", b"[a]\nk = 2\n\n# of z\n",
     [" [a]", "-k = 1", "+k = 2"]),
    ("before every section", b"# a\n# b\n# c\n# d\n[a]\n", b"# a\n# b\n# c\n# e\n[a]\n",
     [" # b", " # c", "-# d", "+# e"]),
    ("at the very start", b"# a\n[b]\n", b"# c\n[b]\n", ["-# a", "+# c"]),
    ("two changes that are far apart", b"[a]\nk = 1\n\n\n\n\n\n[b]\nk = 1\n",
     b"[a]\nk = 2\n\n\n\n\n\n[b]\nk = 2\n", [" [a]", "-k = 1", "+k = 2", " ", " [b]", "-k = 1", "+k = 2"]),
    ("two changes that are near", b"[a]\nk = 1\nm = 1\nl = 1\n", b"[a]\nk = 2\nm = 1\nl = 2\n",
     [" [a]", "-k = 1", "+k = 2", " m = 1", "-l = 1", "+l = 2"]),
    ("a secret that changed", b"[a]\naws_secret_access_key = x\n", b"[a]\naws_secret_access_key = y\n",
     [" [a]", "-aws_secret_access_key = ***", "+aws_secret_access_key = ***"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "lines"), [case[1:] for case in DIFFS], ids=[case[0] for case in DIFFS]
)
def test_a_change_is_shown_with_its_section(
    before: bytes | None, after: bytes | None, lines: list[str]
) -> None:
    assert shown(before, after) == (["@file", *lines] if lines else [])


#: Old lines, new lines, the pairs that hold a diff together.
ANCHORS: list[tuple[str, str, list[tuple[int, int]]]] = [
    ("", "", []),
    ("abc", "", []),
    ("abc", "xyz", []),
    ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
    ("abc", "xaybzc", [(0, 1), (1, 3), (2, 5)]),
    ("aab", "ab", [(2, 1)]),
    ("ab", "aab", [(1, 2)]),
    ("aa", "aa", []),
    ("abcd", "dabc", [(0, 1), (1, 2), (2, 3)]),
    ("dabc", "abcd", [(1, 0), (2, 1), (3, 2)]),
    ("abcdef", "fabxcde", [(0, 1), (1, 2), (2, 4), (3, 5), (4, 6)]),
]


@pytest.mark.parametrize(("old", "new", "pairs"), ANCHORS)
def test_a_diff_is_held_by_the_longest_run_of_lines_that_are_there_once(
    old: str, new: str, pairs: list[tuple[int, int]]
) -> None:
    lines = [[("", letter) for letter in text] for text in (old, new)]
    assert anchors(*lines) == pairs
