"""Every file of keyturn's own and both shared ones as they stand: names, modes, and contents, opened by the
recovery key."""

from __future__ import annotations

import json
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyrage

from tests.golden.home import PASSPHRASES
from tests.golden.passphrase_age import opened
from tests.golden.recording import Recording

_HEX = re.compile(r"[0-9a-f]{24,}")
_LOCKS = {"lock", ".lock", "agent.lock"}


def record(recording: Recording, page: str, identity: str) -> None:
    """Add everything that lies in the home to files beginning with `page`.

    :param identity: the recovery key.
    """
    own = recording.home.own
    key = pyrage.x25519.Identity.from_str(identity)
    recording.add(f"{page}/names.txt", "\n".join(_names(own)))
    for path in (recording.home.config, recording.home.credentials):
        recording.add(f"{page}/aws-{path.name}", f"{_mode(path)}\n{path.read_text('utf-8')}")
    for path in sorted(own.rglob("*")):
        name = path.relative_to(own).as_posix()
        if (
            not path.is_file()
            or path.suffix == ".lock"
            or path.name in _LOCKS
            or name.startswith("state/locks/")
        ):
            continue
        if name == "data/vault/identity.age":
            plain = opened(path.read_bytes(), PASSPHRASES["passphrase"])
        elif path.suffix == ".age":
            if path.parent.name == "history":
                continue
            plain = pyrage.decrypt(path.read_bytes(), [key])
        else:
            plain = path.read_bytes()
        recording.add(f"{page}/{name.replace('/', '-')}", f"{_header(path)}{_text(plain)}")
    for number, text in _history(own / "state" / "history", key):
        recording.add(f"{page}/history.txt", f"=== {number}\n{text}")


def _names(folder: Path) -> Iterator[str]:
    """Give each name with its mode; those that are digests are counted together."""
    found = Counter(
        f"{_mode(path)} {_HEX.sub('HEX', path.relative_to(folder).as_posix())}"
        for path in (folder, *folder.rglob("*"))
    )
    for line, count in sorted(found.items(), key=lambda one: one[0].split(" ", 1)[1]):
        yield f"{line} x{count}" if count > 1 else line


def _mode(path: Path) -> str:
    return stat.filemode(path.lstat().st_mode)


def _header(path: Path) -> str:
    """Tell by what a sealed file is sealed: the kinds of its recipients, and what they cost."""
    if path.suffix != ".age":
        return ""
    head = path.read_bytes().partition(b"\n--- ")[0].decode("ascii", "replace")
    kinds = [line.split(" ") for line in head.split("\n") if line.startswith("-> ")]
    return "".join(
        f"-> {' '.join([kind, *rest[1:]])}\n" for _, kind, *rest in kinds if kind in ("X25519", "scrypt")
    )


def _text(content: bytes) -> str:
    """Give the contents as text, and say so where they end in no line end."""
    text = content.decode("utf-8", "replace")
    return text if text.endswith("\n") else f"{text}\n(no line end)\n"


def _history(folder: Path, key: object) -> Iterator[tuple[str, str]]:
    """Open the sealed copies of the shared files, in the order in which they were kept."""
    table = json.loads((folder / "index.json").read_text("utf-8"))
    for entry in next(value for value in table.values() if isinstance(value, list)):
        path = folder / f"{entry['digest']}.age"
        if not path.exists():
            yield f"{entry['digest']} {entry['path']} (gone)", ""
            continue
        plain = pyrage.decrypt(path.read_bytes(), [key])
        right = len(plain) == entry["size"]
        yield f"{entry['digest']} {entry['path']}{'' if right else ' (of another size)'}", _text(plain)
