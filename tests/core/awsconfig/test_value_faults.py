"""Quotes, comments and foreign characters in a value are told from the value, as a table."""

from __future__ import annotations

import pytest

from keyturn.awsconfig.value_faults import key_fault, value_fault

VALUES = [
    ("eu-west-1", None),
    ("", None),
    ('"', None),
    ('"eu-west-1"', "quotes"),
    ("'eu-west-1'", "quotes"),
    ("\"eu-west-1'", None),
    ('"/opt/my tools/x" get', None),
    ("eu-west-1 # Ireland", "comment"),
    ("eu-west-1\t; Ireland", "comment"),
    ("https://acme.awsapps.com/start#/", None),
    ("a;b", None),
]


@pytest.mark.parametrize(("value", "word"), VALUES, ids=[repr(value) for value, _ in VALUES])
def test_quotes_and_comments_are_told_from_a_value(value: str, word: str | None) -> None:
    fault = value_fault(value)
    assert fault is None if word is None else word in (fault or "")


KEYS = [
    ("aws_access_key_id", "AKIAIOSFODNN7EXAMPLE", None),
    ("aws_access_key_id", '"AKIAIOSFODNN7EXAMPLE"', "quotes"),
    ("aws_access_key_id", "AKIAIOSFODNN7EXAMPLE # old", "comment"),
    ("aws_access_key_id", "AKIA IOSFODNN7EXAMPLE", "blank"),
    ("aws_access_key_id", "AKIAIOSFODNN7EXAMPLÉ", "characters"),
    ("aws_access_key_id", "<your key>", "blank"),
    ("aws_access_key_id", "${AWS_KEY}", "characters"),
    ("aws_secret_access_key", "abc/+=def", None),
    ("aws_secret_access_key", "'abc/+=def'", "quotes"),
    ("aws_secret_access_key", "abc/+=def ; mine", "comment"),
    ("aws_session_token", "first second", "blank"),
]


@pytest.mark.parametrize(("key", "value", "word"), KEYS, ids=[f"{key}={value!r}" for key, value, _ in KEYS])
def test_an_access_key_has_its_alphabet(key: str, value: str, word: str | None) -> None:
    fault = key_fault(key, value)
    assert fault is None if word is None else word in (fault or "")
    assert value not in (fault or "")
