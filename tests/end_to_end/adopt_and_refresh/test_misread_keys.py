"""Access keys with more in their values than the user meant: named by list, show and adopt, and adopted by
none."""

from __future__ import annotations

import pytest

from tests.end_to_end.person import Person

ID, SECRET = "AKIA2E3QXWGQ5LSOMEID", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
CASES = {
    "a quoted id": (f'"{ID}"', SECRET, "aws_access_key_id on line {line} has quotes around it"),
    "a comment after the id": (f"{ID} # old", SECRET, "aws_access_key_id on line {line} has a comment"),
    "a quoted secret": (ID, f"'{SECRET}'", "aws_secret_access_key on line {after} has quotes around it"),
    "a comment after the secret": (
        ID,
        f"{SECRET} ; mine",
        "aws_secret_access_key on line {after} has a comment",
    ),
    "a placeholder": ("<YOUR-KEY-ID>", SECRET, "aws_access_key_id on line {line} has characters"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_fault_is_named_and_nothing_is_adopted(newcomer: Person, case: str) -> None:
    key_id, secret, expected = CASES[case]
    newcomer.makes_vault()
    text = newcomer.credentials.read_text()
    newcomer.credentials.write_text(
        f"{text}\n[misread]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
    )
    line = len(text.splitlines()) + 3
    told = expected.format(line=line, after=line + 1)
    before = newcomer.files()
    row = newcomer.row("misread")
    assert (row["account"], row["state"]) == (None, "broken")
    assert told in row["problem"]
    assert told in newcomer.does("show", "misread")
    for words in (("adopt", "misread", "--yes"), ("refresh", "misread"), ("exec", "misread", "--", "true")):
        refused = newcomer.keyturn(*words)
        assert refused.returncode != 0, words
        assert told in refused.stderr, words
        assert refused.stderr.count("\n") == 1, words
        assert secret not in refused.stderr + refused.stdout
    assert newcomer.files() == before
