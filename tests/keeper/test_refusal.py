"""A client that nobody can unlock for is told so at once, in the words of the long way, and only where these would follow."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keyturn.acts import keeping
from keyturn.agent import refusal
from keyturn.model import Delivery, VaultState
from keyturn.places import places_for
from tests.keeper.conftest import Bench

_RUN = """
import sys
from keyturn_tui.start import main
code = main()
sys.stdout.write(" ".join(sys.modules))
sys.exit(code)
"""


@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/home/a"},
        {"HOME": "/home/a/", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d/", "XDG_STATE_HOME": "/s"},
        {"HOME": "/home/a", "XDG_CONFIG_HOME": "c", "XDG_DATA_HOME": ""},
        {"HOME": "/home/a", "KEYTURN_HOME": "/k", "XDG_DATA_HOME": "/d"},
        {"HOME": "/home/a", "KEYTURN_HOME": "k"},
        {"HOME": "/home/a", "AWS_CONFIG_FILE": "~/x", "AWS_SHARED_CREDENTIALS_FILE": "rel/$HOME"},
    ],
)
def test_it_looks_where_everybody_else_does(environ: dict[str, str]) -> None:
    places = places_for(environ)
    assert [Path(path) for path in refusal.folders(environ)] == [
        places.config_dir, places.data_dir, places.state_dir
    ]  # fmt: skip
    assert [Path(path) for path in refusal.shared_files(environ)] == [
        places.aws_config,
        places.aws_credentials,
    ]


def test_the_line_is_that_of_the_long_way(bench: Bench) -> None:
    error = keeping.closed(bench.keeper.desk, VaultState.LOCKED)
    assert (error.line(), error.exit_code) == (refusal.LINE, refusal.EXIT)


def test_it_takes_little_to_say_so(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    words = [sys.executable, "-c", _RUN, "credential-process", "ci-deploy"]
    done = subprocess.run(words, env=bench.sandbox.environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (refusal.EXIT, f"keyturn: {refusal.LINE}\n")
    assert not set(done.stdout.split()) & {"keyturn.cli", "click", "pathlib", "json", "re", "dataclasses"}


def changed(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


ELSE: dict[str, Callable[[Bench], object]] = {
    "a session in the credentials file": lambda bench: bench.keeper.deliver(
        "ci-release", Delivery.CREDENTIALS_FILE
    ),
    "a profile that rests on who asks": lambda bench: bench.config.write_text(
        f"{bench.config.read_text()}\n[profile x]\nrole_arn = arn:aws:iam::1:role/x\nCredential_Source = Environment\n"
    ),
    "a keyring": lambda bench: changed(vault(bench) / "recipient.txt", b"# slots", b"# slots keyring"),
    "a label that is damaged": lambda bench: changed(vault(bench) / "recipient.txt", b"age1", b"age1q"),
    "a slot that is damaged": lambda bench: (vault(bench) / "identity.age").write_bytes(b"age"),
    "no keys": lambda bench: (vault(bench) / "keys.age").unlink(),
    "keys that are no age file": lambda bench: (vault(bench) / "keys.age").write_bytes(b"{}"),
    "no definitions": lambda bench: bench.keeper.places.profiles_file.unlink(),
    "a pipe for definitions": lambda bench: piped(bench.keeper.places.profiles_file),
    "what a killed writer left": lambda bench: (bench.credentials.parent / ".keyturn-1-0.tmp").touch(),
    # The last: it stays.
    "a vault that was never finished": lambda bench: (vault(bench).parent / ".vault.1.0.new").mkdir(),
}


def vault(bench: Bench) -> Path:
    return bench.keeper.places.vault_dir


def test_anything_else_is_left_to_the_long_way(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    files = [path for path in bench.sandbox.folder.rglob("*") if path.is_file()]
    as_they_were = {path: path.read_bytes() for path in files}
    for what, act in ELSE.items():
        assert refusal.is_locked(bench.sandbox.environ), f"before {what}"
        act(bench)
        assert not refusal.is_locked(bench.sandbox.environ), what
        for path in bench.sandbox.folder.rglob("*"):
            if not path.is_dir() and (path not in as_they_were or not path.is_file()):
                path.unlink()
        for path, data in as_they_were.items():
            path.write_bytes(data)
