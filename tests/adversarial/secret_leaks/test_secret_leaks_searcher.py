"""The search finds a leaked secret in every form and place."""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.secret_search import Search

SECRET = secrets.token_urlsafe(20) + "/+" + secrets.token_urlsafe(10)


@pytest.fixture
def search() -> Search:
    one = Search()
    one.add("planted", SECRET)
    return one


CLOTHES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "in JSON": lambda text: json.dumps({"a": text}),
    "in JSON with slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "in a URL": lambda text: f"https://x/?a={quote(text, safe='')}&b=1",
    "in hexadecimal": lambda text: f"<{text.encode().hex()}>",
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "in base64, one byte on": lambda text: base64.b64encode(b"x" + text.encode() + b"yz").decode(),
    "in base64, two bytes on": lambda text: base64.b64encode(b"xy" + text.encode() + b"z").decode(),
    "in base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "cut off": lambda text: text[:14] + "…",
    "its end": lambda text: "…" + text[-13:],
    "over two lines of a frame": lambda text: f"│ {text[:9]} │\n│ {text[9:]} │",
    "with colours inside": lambda text: "".join(f"\x1b[3{at % 8}m{ch}\x1b[0m" for at, ch in enumerate(text)),
    "in a picture": lambda text: "<text>" + "</text>\n<text x='1'>".join(text) + "</text>",
    "backwards": lambda text: text[::-1],
    "in UTF-16": lambda text: "\0".join(text) + "\0",
    "in a repr": lambda text: repr({"secret": [text]}),
}


@pytest.mark.parametrize("clothes", CLOTHES)
def test_it_is_found_in_any_clothes(search: Search, clothes: str) -> None:
    assert search.search("here", f"before {CLOTHES[clothes](SECRET)} after".encode())
    other = Search()
    other.add("another", secrets.token_urlsafe(40))
    assert not other.search("here", CLOTHES[clothes](SECRET).encode())


def test_a_code_is_found_as_a_word_of_its_own(search: Search) -> None:
    search.add("code", "492817")
    assert search.search("here", b"code=492817;")
    assert not search.search("here", b"2026-11-23T10:00:00.492817Z 1492817 x492817")


def test_what_belongs_somewhere_is_not_a_hit_there(search: Search) -> None:
    assert not search.search("here", SECRET.encode(), but=["planted"])


def test_a_hit_does_not_tell_the_secret(search: Search) -> None:
    assert SECRET[:12] not in str(search.search("here", SECRET.encode())) + repr(search)


def test_it_is_found_in_files_and_their_names_over_the_seam_of_two_reads(
    search: Search, tmp_path: Path
) -> None:
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "file").write_bytes(b"x" * ((1 << 20) - 7) + SECRET.encode())
    assert search.search_folder(tmp_path)
    clean = tmp_path / "clean"
    clean.mkdir()
    assert not search.search_folder(clean)
    (clean / f"of {SECRET[:20].replace('/', '_')}").touch()
    assert search.search_folder(clean)


def test_a_traceback_with_it_is_found(search: Search) -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        raise ValueError(f"bad {SECRET}")
    assert search.search("a traceback", "".join(traceback.format_exception(caught.value)).encode())


def test_a_log_with_it_is_found(search: Search, tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "a.log")
    handler.handle(logging.LogRecord("x", logging.DEBUG, "", 0, "token %s", (SECRET,), None))
    handler.close()
    assert search.search_folder(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
@pytest.mark.parametrize("way", ["cmdline", "environ"])
def test_a_child_that_carries_it_is_found(search: Search, way: str) -> None:
    with Sampler() as sampler:
        child = "import sys; sys.stdin.read()"
        words = [sys.executable, "-I", "-S", "-c", child, *([SECRET] if way == "cmdline" else [])]
        environ = {**os.environ, **({"PASSWORD": SECRET} if way == "environ" else {})}
        with subprocess.Popen(words, env=environ, stdin=subprocess.PIPE) as process:
            rounds = sampler.rounds
            while sampler.rounds < rounds + 3:
                time.sleep(0.001)
            process.communicate()
    found = {
        kind for kind, seen in sampler.seen.items() if any(search.search(kind, content) for content in seen)
    }
    assert found == {way}
