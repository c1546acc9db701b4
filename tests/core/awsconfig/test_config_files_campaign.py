"""Generated shared files: keyturn reads them as botocore does, and an edit keeps every other byte.

The ordinary run takes a sample; `pytest -m campaign tests/core/awsconfig` takes 10,000 files.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig.document import Document, FileKind, parse, remove_items, set_items
from keyturn.awsconfig.loader import read_files
from keyturn.awsconfig.native_profiles import NativeProfiles
from keyturn.model.errors import ChangeRefused, UnparsableFile
from tests.core.awsconfig.conftest import raw_settings
from tests.core.awsconfig.single_edits import replace_section, restore_items

Judge = Callable[[bytes], tuple[str, Any]]
Files = Callable[[int], bytes]

sizes = pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.campaign)])
pytestmark = pytest.mark.timeout(600)


def read(data: bytes) -> Document | None:
    try:
        return parse(data, "file")
    except UnparsableFile:
        return None


@sizes
def test_our_reading_is_botocores(count: int, ini_file: Files, botocore_reads: Judge) -> None:
    read_by_both = 0
    for number in range(count):
        data = ini_file(number)
        verdict, settings = botocore_reads(data)
        document = read(data)
        assert (document is not None) == (verdict == "read"), f"file {number}"
        if document is not None:
            read_by_both += 1
            assert raw_settings(document) == settings, f"file {number}"
    assert count * 0.3 < read_by_both < count * 0.95


@sizes
def test_both_files_together_are_botocores_full_config(
    count: int, ini_file: Files, full_config: Callable[[Path, Path], dict[str, Any]], tmp_path: Path
) -> None:
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    compared = 0
    for number in range(0, count, 2):
        first, second = ini_file(number), ini_file(number + 1)
        config.write_bytes(first)
        credentials.write_bytes(second)
        shared = read_files(config, credentials)
        tuple(NativeProfiles(shared, {"HOME": str(tmp_path)}).values())
        assert len(shared.problems) == (read(first) is None) + (read(second) is None)
        if not shared.problems:
            compared += 1
            assert shared.full_config == full_config(config, credentials), f"files {number} and {number + 1}"
    assert compared > count * 0.1


def other_lines_unchanged(before: bytes, after: bytes, touched: range) -> bool:
    """Return True if `after` equals `before` outside the lines `touched` (indexes)."""
    lines = before.splitlines(keepends=True)
    head, tail = b"".join(lines[: touched.start]), b"".join(lines[touched.stop :])
    return after.startswith(head) and after.endswith(tail) and len(after) >= len(head) + len(tail)


def values_elsewhere(document: Document, section: str) -> dict[str, Any]:
    settings: dict[str, Any] = dict(raw_settings(document))
    settings.pop(section, None)
    return settings


@sizes
def test_an_edit_leaves_every_byte_outside_the_touched_lines(
    count: int, ini_file: Files, botocore_reads: Judge
) -> None:
    edits = refused = 0
    for number in range(count):
        data = ini_file(number)
        document = read(data)
        if document is None:
            continue
        rng = random.Random(number)  # noqa: S311  # test material
        names = [section.name for section in document.sections if section.name != "DEFAULT"]
        section = rng.choice([*names, "profile new"])
        here = document.section(section)
        keys = [item.key for item in here.items] if here else []
        simple = [key for key in keys if key.isascii() and key.replace("_", "").isalnum()]
        key = rng.choice([*simple, "credential_process", "k9"])
        try:
            after = set_items(document, section, {key: "new value"})
        except ChangeRefused:
            refused += 1
            continue
        edits += 1
        item = here.item(key) if here else None
        if item is not None:
            assert other_lines_unchanged(data, after, range(item.line - 1, item.line_end)), f"file {number}"
        else:
            at = len(data) if here is None else (here.items[-1].line_end if here.items else here.line)
            lines = data.splitlines(keepends=True)
            head = data if here is None else b"".join(lines[:at])
            assert after.startswith(head), f"file {number}"
            assert after.endswith(data[len(head) :]), f"file {number}"
        verdict, settings = botocore_reads(after)
        assert verdict == "read", f"file {number}"
        assert settings[section][key] == "new value"
        again = parse(after)
        assert values_elsewhere(again, section) == values_elsewhere(document, section)
        assert set_items(again, section, {key: "new value"}) == after, f"file {number}"
    assert refused < edits * 0.2, (refused, edits)


@sizes
def test_a_removal_leaves_every_byte_outside_the_touched_lines(count: int, ini_file: Files) -> None:
    removals = refused = 0
    for number in range(count):
        data = ini_file(number)
        document = read(data)
        if document is None:
            continue
        for section in document.sections[:2]:
            if section.name == "DEFAULT" or not section.items:
                continue
            item = section.items[number % len(section.items)]
            try:
                after = remove_items(document, section.name, [item.key])
            except ChangeRefused:
                refused += 1
                continue
            removals += 1
            assert other_lines_unchanged(data, after, range(item.line - 1, item.line_end)), f"file {number}"
            again = parse(after)
            gone = dict(raw_settings(document)[section.name])
            del gone[item.key]
            assert raw_settings(again)[section.name] == gone
            assert remove_items(again, section.name, [item.key]) == after
            put_back = parse(restore_items(again, section.name, {item.key: item.value}))
            assert raw_settings(put_back) == raw_settings(document), f"file {number}"
    assert refused < removals * 0.2, (refused, removals)


@sizes
def test_a_section_put_back_is_the_same_file(count: int, ini_file: Files) -> None:
    done = 0
    for number in range(count):
        data = ini_file(number)
        document = read(data)
        if document is None:
            continue
        for section in document.sections[:2]:
            if section.name == "DEFAULT":
                continue
            text = section.text(document)
            assert data[section.start : section.end] == text
            try:
                changed = set_items(document, section.name, {"credential_process": "other"})
                assert replace_section(parse(changed), section.name, text) == data, f"file {number}"
            except ChangeRefused:
                continue
            done += 1
    assert done > count * 0.2


def test_any_bytes_are_read_or_refused(botocore_reads: Judge) -> None:
    rng = random.Random(7)  # noqa: S311  # test material
    pieces = [
        b"[",
        b"]",
        b"=",
        b":",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"a",
        b"b",
        b"#",
        b"\xc3\xa9",
        b"\xff",
        b"\x00",
        b"profile ",
    ]
    for _ in range(2000):
        data = b"[s]\n" * (rng.random() < 0.7) + b"".join(rng.choices(pieces, k=rng.randint(0, 25)))
        document = read(data)
        verdict, settings = botocore_reads(data)
        assert (document is not None) == (verdict == "read"), data
        assert document is None or raw_settings(document) == settings, data
        assert document is None or document.kind is FileKind.CONFIG
