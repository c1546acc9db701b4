"""Another user gets nothing from a user's files and socket, and planted files are refused, not used."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.adversarial.process_isolation.conftest import CREDENTIALS, PASSPHRASE, Owner, Record
from tests.adversarial.process_isolation.ordinary import User
from tests.support.campaign import campaign

LOOK_PROGRAM = """
import json, os, socket, sys
worked = []
for path in json.loads(sys.argv[1]):
    for name, act in (
        ("list", os.listdir), ("read", lambda p: open(p, "rb").read(1)), ("write", lambda p: open(p, "r+b")),
        ("remove", os.unlink), ("rename", lambda p: os.rename(p, p + "x")),
        ("chmod", lambda p: os.chmod(p, 0o777)),
        ("make in", lambda p: open(os.path.join(p, "planted"), "x")),
        ("link", lambda p: os.link(p, "/tmp/planted-link")),
        ("connect", lambda p: socket.socket(socket.AF_UNIX).connect(p)),
    ):
        try:
            act(path)
            worked.append(f"{name} {path}")
        except OSError:
            pass
print(json.dumps(worked))
"""


#: Adds a line through the only writer of the shared files; exits as a verb would.
EDIT_PROGRAM = """
import sys
from pathlib import Path
from keyturn.awsconfig.document import FileKind
from keyturn.awsconfig.writer import SharedFiles
from keyturn.model.errors import KeyturnError
files = SharedFiles(Path(sys.argv[1]), keep=lambda *_: None, known_sections=lambda _: ())
try:
    files.edit(Path(sys.argv[2]), lambda document: document.data + b"[planted]\\n", kind=FileKind.CREDENTIALS)
except KeyturnError as error:
    print(error.line(), file=sys.stderr)
    sys.exit(error.exit_code)
"""


def keyturn_files(user: User) -> list[Path]:
    """Return every file and folder that keyturn made in a home, the AWS files included."""
    return sorted(
        path
        for folder in (".config", ".local", ".aws")
        for path in (user.home / folder, *(user.home / folder).rglob("*"))
        if "keyturn" in path.parts or folder == ".aws"
    )


def test_another_user_gets_no_file_and_no_socket_though_the_home_is_open(
    owner: Owner, other_user: User, record_property: Record
) -> None:
    paths = keyturn_files(owner.user)
    assert any(path.is_socket() for path in paths)
    assert any(path.name == "keys.age" for path in paths)
    own = [path for path in paths if path != owner.user.home / ".aws"]
    result = other_user.run(
        other_user.installation.python, "-I", "-c", LOOK_PROGRAM, json.dumps([str(path) for path in own])
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == []
    assert owner.still_answers()
    record_property("isolation: attempts denied, files against another user", 9 * len(own))


def test_everything_that_keyturn_made_is_its_users_alone(owner: Owner) -> None:
    open_ones = [
        path
        for path in keyturn_files(owner.user)
        if "keyturn" in path.parts and (path.lstat().st_mode & 0o077 or path.lstat().st_uid != owner.user.uid)
    ]
    assert open_ones == []


@contextmanager
def planted_agent(path: Path) -> Iterator[list[bytes]]:
    """Run a planted agent and yield the data that it received."""
    received: list[bytes] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    path.chmod(0o777)
    server.listen()
    server.settimeout(0.1)
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            try:
                one, _ = server.accept()
            except TimeoutError:
                continue
            with one:
                one.settimeout(5)
                try:
                    received.append(one.recv(4096))
                    one.sendall(b'{"ok":true,"result":{"SecretAccessKey":"planted"}}\n')
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield received
    finally:
        over.set()
        thread.join()
        server.close()


PLANTED = ("an open folder", "a link to a folder", "a file", "an open folder with an agent in it")


@pytest.mark.parametrize("what", [*campaign(*PLANTED[:-1]), PLANTED[-1]])
def test_a_planted_place_for_the_socket_is_refused_and_told_nothing(
    owner: Owner, other_user: User, shared_folder: Path, what: str
) -> None:
    """The fallback is in the shared temporary folder, where another user came first."""
    alice = owner.user
    shared = shared_folder / f"tmp{PLANTED.index(what)}"
    shared.mkdir()
    shared.chmod(0o1777)
    deep = alice.home / ("deep" * 20) / f"n{PLANTED.index(what)}"
    alice.write_file(deep / "here", "")
    extra = {"TMPDIR": str(shared), "KEYTURN_HOME": str(deep)}
    place = shared / f"keyturn-{alice.uid}"
    theirs = shared / "theirs"
    theirs.mkdir(mode=0o777)
    theirs.chmod(0o777)
    os.chown(theirs, other_user.uid, other_user.uid)
    if what == "a link to a folder":
        place.symlink_to(theirs)
        os.chown(place, other_user.uid, other_user.uid, follow_symlinks=False)
    elif what == "a file":
        place.write_text("")
        os.chown(place, other_user.uid, other_user.uid)
    else:
        place.mkdir()
        place.chmod(0o777)
        os.chown(place, other_user.uid, other_user.uid)
    name = _socket_of(alice, extra)
    assert name.startswith(str(place)), name
    received: list[bytes] = []
    if what.endswith("in it"):
        with planted_agent(Path(name)) as received:
            os.chown(name, other_user.uid, other_user.uid)
            _refused(alice, extra)
    else:
        _refused(alice, extra)
    assert received == []
    assert list(theirs.iterdir()) == []
    shutil.rmtree(shared)


def _socket_of(user: User, extra: dict[str, str]) -> str:
    code = "import os; from keyturn.storage.raw_paths import socket_path; print(socket_path(os.environ))"
    return user.run(user.installation.python, "-I", "-c", code, extra=extra).stdout.strip()


def _refused(user: User, extra: dict[str, str]) -> None:
    """Assert that a vault is created and used without an agent, and that the planted agent is sent
    nothing."""
    result = user.keyturn(
        "vault", "init", "--slot", "passphrase", fds={"--passphrase-fd": PASSPHRASE}, extra=extra
    )
    assert result.returncode == 0, result.stderr
    status = user.keyturn("agent", "status", "--json", extra=extra)
    assert json.loads(status.stdout)["running"] is False
    asked = user.keyturn("credential-process", "work", extra=extra)
    assert asked.returncode in (3, 4), asked.stderr
    assert "planted" not in asked.stdout
    assert user.keyturn("vault", "lock", extra=extra).returncode == 0


def test_a_runtime_folder_of_somebody_else_is_not_used(
    owner: Owner, other_user: User, shared_folder: Path
) -> None:
    theirs = shared_folder / "runtime"
    theirs.mkdir()
    theirs.chmod(0o777)
    os.chown(theirs, other_user.uid, other_user.uid)
    (theirs / "keyturn").mkdir(mode=0o700)
    os.chown(theirs / "keyturn", other_user.uid, other_user.uid)
    name = _socket_of(owner.user, {"XDG_RUNTIME_DIR": str(theirs)})
    assert not name.startswith(str(theirs))


def test_shared_files_of_ones_own_are_written_to(owner: Owner) -> None:
    file = owner.user.home / "own-credentials"
    owner.user.write_file(file, CREDENTIALS)
    result = owner.user.run(
        owner.user.installation.python, "-I", "-c", EDIT_PROGRAM, str(owner.user.home / "locks"), str(file)
    )
    assert result.returncode == 0, result.stderr
    assert file.read_text() == CREDENTIALS + "[planted]\n"


@pytest.mark.parametrize("what", ["open file", "open folder", "file of another user", "link of another user"])
def test_shared_files_that_another_user_can_change_are_not_written_to(
    owner: Owner, other_user: User, shared_folder: Path, what: str
) -> None:
    folder = shared_folder / what.replace(" ", "-")
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    os.chown(folder, owner.user.uid, owner.user.uid)
    file, target = folder / "credentials", folder / "target"
    file.write_text(CREDENTIALS)
    file.chmod(0o600)
    os.chown(file, owner.user.uid, owner.user.uid)
    if what == "open file":
        file.chmod(0o666)
    elif what == "open folder":
        folder.chmod(0o777)
    elif what == "file of another user":
        os.chown(file, other_user.uid, other_user.uid)
        file.chmod(0o666)
    else:
        file.rename(target)
        folder.chmod(0o1777)
        file.symlink_to(target)
        os.chown(file, other_user.uid, other_user.uid, follow_symlinks=False)
    before = file.read_bytes()
    result = owner.user.run(
        owner.user.installation.python, "-I", "-c", EDIT_PROGRAM, str(owner.user.home / "locks"), str(file)
    )
    assert result.returncode == 5, (result.returncode, result.stderr)
    assert file.read_bytes() == before
    assert "AKIA" not in "".join(
        path.read_text(errors="replace")
        for path in folder.iterdir()
        if stat.S_ISREG(path.lstat().st_mode) and path not in (file, target)
    )
