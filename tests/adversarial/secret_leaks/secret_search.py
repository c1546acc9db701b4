"""Search for secrets in any place: as they are, in pieces, and in the usual encodings."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

#: Length of a part of a secret that counts as a leak; it does not occur by chance.
PIECE = 12
#: Common beginnings of AWS session tokens and of recovery keys.
_COMMON = ("IQoJb3JpZ2luX2Vj", "AGE-SECRET-KEY-1", "age-secret-key-1")
_ESCAPE = re.compile(rb"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[@-_])")
_TAG = re.compile(rb"<[^<>]{0,400}>")
_FRAME = re.compile("[\\s\u00a0\u2500-\u259f\u2800-\u28ff]+".encode().decode())
_READ = 1 << 20


def forms(value: str) -> dict[str, bytes]:
    """Return every text by which `value` would be recognized, by the name of the form. Values under eight
    characters are searched as whole words only, see :meth:`Search.look`."""
    raw = value.encode()
    found = {"plain": raw}
    if len(value) < 8:
        return found
    body = value
    for start in _COMMON:
        body = body.removeprefix(start)
    if len(body) >= 2 * PIECE:
        middle = len(body) // 2
        for at in (0, PIECE, middle, len(body) - PIECE):
            found[f"piece at {at}"] = body[at : at + PIECE].encode()
    found["json"] = json.dumps(value)[1:-1].encode()
    found["json, slashes"] = json.dumps(value)[1:-1].replace("/", "\\/").encode()
    found["url"] = quote(value, safe="").encode()
    found["url, lower case"] = re.sub(r"%..", lambda part: part[0].lower(), quote(value, safe="")).encode()
    found["xml"] = html.escape(value).encode()
    found["hex"] = raw.hex().encode()
    found["HEX"] = raw.hex().upper().encode()
    found["utf-16"] = value.encode("utf-16-le")
    found["reversed"] = raw[::-1]
    for shift in range(3):
        # The outermost characters depend on the bytes beside the secret.
        whole = base64.b64encode(b"\0" * shift + raw)
        inner = whole[(0, 2, 3)[shift] : len(raw) * 4 // 3 - 2]
        found[f"base64 {shift}"] = inner
        found[f"base64url {shift}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    return {form: needle for form, needle in found.items() if needle}


@dataclass(frozen=True, slots=True)
class Hit:
    """A secret that was found: its name and place, not its value."""

    secret: str
    form: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} ({self.form}) in {self.place}"


@dataclass
class Search:
    """Secrets by name, and the places that have been searched."""

    needles: dict[bytes, tuple[str, str]] = field(default_factory=dict, repr=False)
    words: dict[str, str] = field(default_factory=dict, repr=False)
    names: set[str] = field(default_factory=set)
    places: int = 0
    size: int = 0

    def add(self, name: str, value: str) -> None:
        """Add a secret. A value under eight characters (an MFA code) counts as found only as a whole word."""
        self.names.add(name)
        if len(value) < 8:
            self.words[value] = name
            return
        for form, needle in forms(value).items():
            self.needles.setdefault(needle, (name, form))

    def search(self, place: str, data: bytes, *, but: Iterable[str] = ()) -> list[Hit]:
        """Return the hits in `data`, as it is and as a user would read it on a screen.

        :param but: names of secrets that are allowed there.
        """
        self.places += 1
        self.size += len(data)
        allowed = set(but)
        views = [data]
        if b"\x1b" in data or b"<" in data or b"\n" in data:
            views.append(as_read(data))
        hits = {
            Hit(name, form, place)
            for view in views
            for needle, (name, form) in self.needles.items()
            if name not in allowed and needle in view
        }
        if self.words:
            text = data.decode("utf-8", "replace")
            hits |= {
                Hit(name, "plain", place)
                for value, name in self.words.items()
                if name not in allowed and re.search(rf"(?<![\w.]){value}(?!\w)", text)
            }
        return sorted(hits, key=str)

    def search_file(self, path: Path, *, but: Iterable[str] = ()) -> list[Hit]:
        """Search the name and the contents of a file of any size, which is read in overlapping parts."""
        hits = self.search(f"the name of {path}", str(path).encode("utf-8", "surrogateescape"), but=but)
        overlap = max(map(len, self.needles), default=0)
        with path.open("rb") as file:
            tail = b""
            while part := file.read(_READ):
                hits += self.search(str(path), tail + part, but=but)
                tail = (tail + part)[-overlap:] if overlap else b""
        return hits

    def search_folder(self, folder: Path, *, leave: Iterable[Path] = ()) -> list[Hit]:
        """Search every file below `folder`, including hidden ones and targets of links."""
        left = {path.resolve() for path in leave}
        return [
            hit
            for path in files_below(folder)
            if path.resolve() not in left
            for hit in self._count_place(path)
        ]

    def _count_place(self, path: Path) -> list[Hit]:
        try:
            return self.search_file(path)
        except FileNotFoundError:
            return []


def files_below(folder: Path) -> Iterator[Path]:
    """Yield every regular file below `folder`."""
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                yield path
        except OSError:
            continue


def as_read(data: bytes) -> bytes:
    """Return a terminal's stream, a picture or a screen without everything between the characters that a user
    reads: sequences, tags, frames, blanks and line ends."""
    text = html.unescape(_TAG.sub(b"", _ESCAPE.sub(b"", data)).decode("utf-8", "replace"))
    return _FRAME.sub("", text).encode()
