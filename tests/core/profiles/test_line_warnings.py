"""Warnings about the lines of managed profiles that some SDK cannot use, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from keyturn.awsconfig.loader import combine
from keyturn.awsconfig.parser import FileKind, parse
from keyturn.model.profile import Delivery, Kind
from keyturn.profiles import line_warnings
from keyturn.storage.managed_profiles import ManagedProfile

OLD = '"/opt/keyturn" credential-process {}'
AGAIN = "cannot run it; run: keyturn deliver ci --to"
FILE = {"delivery": Delivery.CREDENTIALS_FILE}

#: Profile, header, value, settings of the definition, parts of the warnings.
WARNINGS: list[tuple[str, str, str, dict[str, Any], list[str]]] = [
    ("ci", "profile ci", "/opt/keyturn credential-process ci", {}, []),
    ("ci", "profile ci", OLD.format("ci"), {}, [f"{AGAIN} credential-process"]),
    ("ci", "profile ci", OLD.format("ci"), {**FILE, "deliver_as": "x y"},
     [f"{AGAIN} credentials-file --as 'x y'"]),
    ("ci", "profile ci", OLD.format("ci"), FILE, []),
    ("ci", "profile ci", OLD.format("other"), {}, []),
    ("ci", "profile ci", '"/opt/vpn-creds" --team ci', {}, []),
    ("ci", "profile ci", '/"opt/a [b]/keyturn" credential-process ci', {},
     ["it has brackets, so the SDK for C++ cannot read the file; install keyturn elsewhere"]),
    ("é", "profile é", "/opt/keyturn credential-process é", {},
     ["with é in its name; to rename it, run: keyturn release 'é'"]),
    ("a b", 'profile "a b"', '"/opt/keyturn" credential-process "a b"', {},
     ["begins and ends with a quote", "to rename it, run: keyturn release 'a b'"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "header", "value", "settings", "parts"), WARNINGS)
def test_warnings_about_a_line(
    name: str, header: str, value: str, settings: dict[str, Any], parts: list[str]
) -> None:
    text = f"[default]\n[{header}]\ncredential_process = {value}\n".encode()
    shared = combine(parse(text, "/config", FileKind.CONFIG), None, "/config", "/credentials")
    definition = ManagedProfile(name, Kind.IAM_KEY, key=name, **settings)
    found = list(line_warnings.find(shared, {name: definition}))
    assert len(found) == len(parts)
    for warning, part in zip(found, parts, strict=True):
        assert (warning.path, warning.line, warning.profile) == ("/config", 3, name)
        assert part in warning.reason


def test_a_profile_without_a_line_has_no_warning() -> None:
    shared = combine(None, None, "/config", "/credentials")
    assert list(line_warnings.find(shared, {"é": ManagedProfile("é", Kind.IAM_KEY, key="é")})) == []
