"""Lines of the shared files that AWS tools read otherwise than they look, through the verbs."""

from __future__ import annotations

import json

from tests.end_to_end.person import Person

CONFIG = """
[lonely]
aws_access_key_id = AKIA2E3QXWGQ5LSOMEID
aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
[profile in valid]
region = eu-west-1
[profile remarked]
region = eu-west-1 # Ireland
output: json
[profile quoted]
region = "eu-west-1"
"""


def test_list_show_and_json_tell_of_them(newcomer: Person) -> None:
    text = newcomer.config.read_text()
    start = len(text.splitlines()) + 1
    newcomer.config.write_text(text + CONFIG)
    listed = newcomer.keyturn("list")
    assert listed.returncode == 0
    told = listed.stderr.splitlines()
    assert f"line {start + 1}: [lonely] is not a profile: its header must be [profile NAME]" in told[0]
    assert f"line {start + 4}: [profile in valid] is ignored" in told[1]
    assert "3 lines are not read as they look" in told[2]
    assert "remarked and quoted. Run: keyturn show remarked" in told[2]
    assert len(told) == 3

    shown = newcomer.does("show", "remarked")
    assert f"config:{start + 7}: region has a comment after it" in shown
    assert f"config:{start + 8}: output is set with a colon" in shown
    assert "Warning" not in newcomer.does("show", "personal")

    warnings = json.loads(newcomer.does("list", "--json"))["warnings"]
    assert [(found["line"] - start, found["profile"]) for found in warnings] == [
        (1, None), (4, None), (7, "remarked"), (8, "remarked"), (10, "quoted"),
    ]  # fmt: skip
    own = json.loads(newcomer.does("show", "quoted", "--json"))["warnings"]
    assert [found["reason"].split()[:3] for found in own] == [["region", "has", "quotes"]]


def test_a_file_that_aws_tools_reject_is_named_by_every_verb_that_needs_it(newcomer: Person) -> None:
    newcomer.makes_vault()
    text = newcomer.config.read_text()
    newcomer.config.write_text(text + "[profile twice]\n[profile twice]\n")
    line = len(text.splitlines()) + 2
    verbs = (
        ("show", "ci-release"),
        ("refresh", "ci-release"),
        ("exec", "ci-release", "--", "true"),
        ("env", "ci-release"),
        ("credential-process", "ci-release"),
        ("adopt", "ci-release", "--yes"),
        ("set", "ci-release", "region=eu-west-1"),
        ("stop", "ci-release"),
        ("deliver", "ci-release", "--to", "credentials-file"),
        ("rotate", "ci-release", "--yes"),
        ("release", "ci-release", "--yes"),
    )
    for words in verbs:
        refused = newcomer.keyturn(*words)
        assert refused.returncode != 0, words
        assert f"line {line}: duplicate section [profile twice]" in refused.stderr, (words, refused.stderr)
        assert refused.stderr.count("\n") == 1, (words, refused.stderr)


def test_a_section_that_is_no_profile_is_named_where_a_profile_is_not_found(newcomer: Person) -> None:
    text = newcomer.config.read_text()
    newcomer.config.write_text(text + CONFIG)
    line = len(text.splitlines()) + 2
    for words in (("show", "lonely"), ("refresh", "lonely"), ("adopt", "lonely", "--yes")):
        refused = newcomer.keyturn(*words)
        assert refused.returncode == 3, words
        assert f"line {line} of {newcomer.config}: [lonely] is not a profile" in refused.stderr, words
        assert refused.stderr.count("\n") == 1, words
