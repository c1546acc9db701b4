"""Generated shared files, and botocore as the reference reader."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyturn.awsconfig.document import DEFAULT, Document, Settings, settings_of
from keyturn.awsconfig.writer import SharedFiles
from keyturn.system.shared_file import Timing

Files = Callable[[int], bytes]
Verdict = tuple[str, Any]


def raw_settings(document: Document) -> dict[str, Settings]:
    """Return all sections by header, as `botocore.configloader.raw_config_parse` does."""
    return {
        section.name: settings_of(document, section)
        for section in document.sections
        if section.name != DEFAULT
    }


_NAMES = [
    "a", "b", "c", "default", "foo bar", "Ünï", "x.y@z", "it's", 'q"q', "DOM\\user", "a#b", "a]b", "",
    "prod/eu", "日本",
]  # fmt: skip
_HEADERS = [
    "profile {}", 'profile "{}"', "profile '{}'", "profile  {}", "profile\t{}", " profile {} ", "{}", "[{}]",
    "profiles {}",
    "profile-x {}", "sso-session {}", "services {}", "Profile {}", "profile {} extra", "profile {} ] [x",
    '"{}"', " {} ",
]  # fmt: skip
_KEYS = [
    "region", "aws_access_key_id", "aws_secret_access_key", "role_arn", "source_profile", "Region", "REGION",
    "s3",
    "credential_process", "x y", "sso_session", "ÄÖ", "output", "[odd", "k1", "k2", "k3", "K3",
]  # fmt: skip
_VALUES = [
    "v", "us-east-1", "us-east-1 # note", "", "a=b", "a:b", "%(x)s", "$HOME", '"quoted"', "[not a header]",
    "x  y", "#", "ü",
    "\u00a0edge\u00a0", "a\u2028b=c", "a\x85b", "tab\there", "\x00", "\x0b", "z\x1cy = 1", "; c",
    "arn:aws:iam::1:role/x",
]  # fmt: skip
_ENDS = ["\n", "\n", "\n", "\r\n", "\r\n", "\r"]


def _line(rng: random.Random, tidy: float) -> str:
    odd = rng.random() > tidy
    indent = rng.choice(["", "", "", " ", "\t", "    ", "\u3000", "\x0c"]) if odd else ""
    roll = rng.random()
    if roll < 0.2:
        return (
            indent
            + "["
            + rng.choice(_HEADERS).format(rng.choice(_NAMES))
            + "]"
            + rng.choice(["", "", " # [n]", "x"])
        )
    if roll < 0.68:
        between = rng.choice([" = ", "=", " =", "= ", ":", " : ", "\t=\t"])
        return indent + rng.choice(_KEYS) + between + rng.choice(_VALUES) + rng.choice(["", "", " ", "\t"])
    if roll < 0.8:
        return rng.choice([" ", "\t", "   ", "      "]) + rng.choice(
            ["k = v", "k=v", "a = b = c", "more", "# c", "é = ü"]
        )
    if roll < 0.9:
        return rng.choice(["", "", "  ", "\t"])
    if roll < 0.98 or not odd:
        return rng.choice(["# comment", "; comment", "   # indented", "#"])
    return rng.choice(["nothing", "= no key", ": no key", "[]", "[", "]", "\ufeff", "[DEFAULT]"])


def _realistic_file(rng: random.Random) -> list[str]:
    """Return a realistic file: mostly valid, so that most of it is accepted."""
    lines = [] if rng.random() < 0.7 else ["# my file", ""]
    headers = {rng.choice(_HEADERS[:8]).format(rng.choice(_NAMES)) for _ in range(rng.randint(1, 6))}
    if rng.random() < 0.15:
        headers.add("DEFAULT")
    for header in sorted(headers, key=lambda _: rng.random()):
        lines.append("[" + header + "]" + rng.choice(["", "", "", " # note"]))
        indent = rng.choice(["", "", "", "", "  ", "\t"])
        for key in sorted(
            {key.lower() for key in rng.sample(_KEYS, rng.randint(0, 6))}, key=lambda _: rng.random()
        ):
            kind = rng.random()
            if kind < 0.12:
                lines += [f"{indent}{key} =", f"{indent}  a = b"]
                lines += [
                    *rng.choice([[], [f"{indent}  # inside"], [""]]),
                    f"{indent}  c = {rng.choice(_VALUES)}x",
                ]
            elif kind < 0.2:
                lines += [f"{indent}{key} = one", f"{indent}  # inside", "", f"{indent}   two"]
            else:
                lines.append(indent + key + rng.choice([" = ", "=", ": "]) + rng.choice(_VALUES))
            if rng.random() < 0.2:
                lines.append(rng.choice(["", "# comment", "  ; comment", "   "]))
        lines += [""] * rng.randint(0, 2)
    return lines


def make_file(seed: int) -> bytes:
    """Return the shared file number `seed`: the same number always gives the same file."""
    rng = random.Random(seed)  # noqa: S311  # test material
    if rng.random() < 0.65:
        lines = _realistic_file(rng)
        if rng.random() < 0.15:
            lines.insert(rng.randint(0, len(lines)), _line(rng, 0.3))
    else:
        lines = ["[" + rng.choice(["profile a", "default", "a", "DEFAULT"]) + "]"] * (rng.random() < 0.9)
        tidy = rng.choice([0.3, 0.7, 1.0])
        lines += [_line(rng, tidy) for _ in range(rng.randint(0, 14))]
    end = rng.choice(_ENDS)
    mixed = rng.random() < 0.1
    text = "".join(line + (rng.choice(_ENDS) if mixed else end) for line in lines)
    if rng.random() < 0.2:
        text = text.rstrip("\r\n")
    data = text.encode()
    if rng.random() < 0.02:
        data = b"\xef\xbb\xbf" + data
    if rng.random() < 0.02:
        at = rng.randint(0, len(data))
        data = data[:at] + rng.choice([b"\xff", b"\xc3", b"\xed\xa0\x80"]) + data[at:]
    return data


@pytest.fixture(scope="session")
def ini_file() -> Files:
    """Return the function that generates the file of a number."""
    return make_file


@pytest.fixture(scope="session")
def botocore_reads(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes], Verdict]:
    """Return botocore's reading of one file's bytes: ("read", settings by section) or ("refused", None)."""
    from botocore.configloader import raw_config_parse
    from botocore.exceptions import ConfigParseError

    path = tmp_path_factory.mktemp("judge") / "file"

    def judge(data: bytes) -> Verdict:
        path.write_bytes(data)
        try:
            return "read", raw_config_parse(str(path))
        except ConfigParseError:
            return "refused", None

    return judge


@pytest.fixture(autouse=True)
def acceptable_files(no_group_write: None) -> None:
    """Let keyturn accept the shared files of each test."""


@pytest.fixture
def full_config(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], dict[str, Any]]:
    """Return botocore's own `Session.full_config` over two files."""
    from botocore.session import Session

    def read(config: Path, credentials: Path) -> dict[str, Any]:
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
        found: dict[str, Any] = Session().full_config
        return found

    for variable in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    return read


class FakeTiming:
    """Timing without real waits: a sleep advances its clocks and runs a test's callback."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.sleeps: list[float] = []
        self.on_sleep: Callable[[float], None] = lambda _: None

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds
        self.sleeps.append(seconds)
        self.on_sleep(seconds)

    def timing(self) -> Timing:
        return Timing(
            wall=lambda: time.time() + self.elapsed,
            elapsed=lambda: self.elapsed,
            sleep=self.sleep,
            jitter=lambda: 0.5,
        )


@pytest.fixture
def timing() -> FakeTiming:
    return FakeTiming()


@pytest.fixture
def pre_images() -> list[bytes]:
    """The pre-images that the writer handed over."""
    return []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a private folder for the shared files."""
    aws = tmp_path / "home" / ".aws"
    aws.mkdir(mode=0o700, parents=True)
    return aws


@pytest.fixture
def files(tmp_path: Path, timing: FakeTiming, pre_images: list[bytes]) -> SharedFiles:
    return SharedFiles(
        tmp_path / "locks", keep=lambda _, data: pre_images.append(data), timing=timing.timing()
    )
