"""Judged calls of the console script: no foreign output, no side effect, and one line for the user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.adversarial.hostile_input.corpus import MARKER
from tests.adversarial.hostile_input.harmless_output import foreign

ROOT = Path(__file__).parents[3]
PASSPHRASE = "correct horse battery staple"
#: The exit codes that README.md documents.
CODES = range(6)
_PREFIX = "keyturn: "


@dataclass(frozen=True)
class Outcome:
    """The result of one call."""

    words: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class VerbRunner:
    """A user's machine on which verbs are called, with a tally of the checks.

    :param folder: absent or empty; it holds the home and an empty working directory.
    """

    folder: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    outputs: int = 0
    foreign: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.here = self.folder / "here"
        for each in (self.home / ".aws", self.here):
            each.mkdir(parents=True)
        self.config = self.home / ".aws" / "config"
        self.credentials = self.home / ".aws" / "credentials"
        self.own = self.home / "keyturn"
        self.environ = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "KEYTURN_HOME": str(self.own),
            "LANG": "C.UTF-8",
            "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "TERM": "xterm-256color",
            "KEYTURN_SANDBOX": str(self.folder), **self.extra,
        }  # fmt: skip

    def __enter__(self) -> Self:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.adversarial.hostile_input.many_child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii", cwd=ROOT,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self.call("agent", "stop")
        self._child.communicate()

    def call(self, *words: str, environ: Mapping[str, str] = types.MappingProxyType({})) -> Outcome:
        """Call a verb without judging the result."""
        request = {"words": words, "environ": {**self.environ, **environ}, "folder": str(self.here)}
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(request) + "\n")
        self._child.stdin.flush()
        answer = json.loads(self._child.stdout.readline())
        return Outcome(
            words, answer["code"], answer["out"].encode("latin-1"), answer["err"].encode("latin-1")
        )

    def call_checked(
        self,
        *words: str,
        plan: bool = False,
        own: bytes = b"\n",
        environ: Mapping[str, str] = types.MappingProxyType({}),
    ) -> Outcome:
        """Call a verb and check the result in every way; faults are collected until :meth:`assert_harmless`.

        :param plan: True if the verb shows a change on stderr, beside the errors.
        :param own: the verb's own control characters: another line end, an indentation.
        """
        result = self.call(*words, environ=environ)
        command = " ".join(ascii(word[:60]) for word in words)
        self.outputs += 2
        for stream in (result.out, result.err):
            self.foreign += [f"{command}: {ch!a}" for ch in foreign(stream.replace(own, b"\n"))[:3]]
        lines = result.err.decode("utf-8", "replace").splitlines()
        faults = {
            "an exit code that is not documented": result.code not in CODES,
            "a traceback": b"Traceback" in result.err.replace(MARK_OF_THE_CORPUS, b""),
            "an error nobody foresaw": b"something unforeseen" in result.err
            or b"Unexpected error" in result.err,
            "more than one line": result.code not in (0, 1) and len(lines) > 1 and not plan,
            "a line that is not ours": not plan and any(not line.startswith(_PREFIX) for line in lines),
            "a failure without a word": result.code != 0 and not lines and b'"ok": false' not in result.out,
            "JSON that is not ASCII": "--json" in words and not result.out.isascii(),
            "a file that nobody wanted": any(self.here.iterdir()),
        }
        self.faults += [f"{command}: {what}: {result.err[:300]!r}" for what, wrong in faults.items() if wrong]
        return result

    def check(self, *, wrong: bool, what: str) -> None:
        """Record a fault."""
        if wrong:
            self.faults.append(what)

    def assert_harmless(self, record: Callable[[str, object], None], strings: int) -> None:
        """Assert that no check failed, no command ran, and only keyturn's own files were created."""
        record("hostile: strings", strings)
        record("hostile: outputs looked at", self.outputs)
        record("hostile: foreign control bytes", len(self.foreign))
        assert not self.foreign, self.foreign[:20]
        assert not self.faults, "\n".join(self.faults[:20])
        assert not list(self.folder.rglob(MARKER))
        assert not [path for path in _all(self.own) if not _is_ours(path)]


#: A string of the corpus that only looks like a fault.
MARK_OF_THE_CORPUS = b"Traceback (most recent call last):"
_OWN_NAMES = frozenset(
    {
        "index.json", "profiles.toml", "activity.jsonl", "keyturn.log", "keyturn.log.1", "acts",
        "recipient.txt", "identity.age", "generation.txt",
        "keys.age", "sessions.age", "lock", "index.json.unreadable", "agent.sock", "forward.sock",
        "agent.lock", "agent.turn", "forward.turn", "config.toml", "label.json", "vault.json",
    }
)  # fmt: skip


def _all(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir())


def _is_ours(path: Path) -> bool:
    """Return True if keyturn itself uses such file names: known names, or a digest or number beside one."""
    name = path.name
    stem = name.removeprefix(".").removesuffix(".lock").removesuffix(".new")
    return (
        name in _OWN_NAMES
        or stem in _OWN_NAMES
        or (
            path.parent.name in ("history", "locks")
            and all(part.isalnum() for part in name.replace(".", "-").split("-") if part)
        )
        or stem.startswith("keys.")
    )
