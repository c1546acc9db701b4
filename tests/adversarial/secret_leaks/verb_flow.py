"""All operations of keyturn with recognizable secrets, with every possible place searched afterwards."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keyturn.model.secret import Secret
from keyturn_sandbox import Sandbox
from tests.adversarial.secret_leaks.canary_secrets import minted
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.secret_search import Hit, Search
from tests.end_to_end.person import BIN, Person

#: Files in which other tools keep plaintext secrets, and the sandbox its own MFA devices.
_OTHERS = ("home/.aws/sso", "home/.aws/cli", "home/.aws/web-identity-token", "mfa.json")
_ENDPOINT = (b"AWS_CONTAINER_CREDENTIALS_FULL_URI", b"AWS_CONTAINER_AUTHORIZATION_TOKEN")
_KEYS = (b"AWS_SECRET_ACCESS_KEY", b"AWS_SESSION_TOKEN")
#: An address that does not answer.
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Flow:
    """A user whose every operation is watched."""

    sandbox: Sandbox
    made: list[Secret]
    extra: Mapping[str, str]
    search: Search = field(default_factory=Search)
    hits: list[Hit] = field(default_factory=list)
    passphrase: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    commands: int = 0

    def __post_init__(self) -> None:
        self.person = Person(self.sandbox)
        for name in ("tmp", "runtime"):
            (self.sandbox.folder / name).mkdir(mode=0o700)
        self.person.environ |= {
            "TMPDIR": str(self.sandbox.folder / "tmp"),
            "XDG_RUNTIME_DIR": str(self.sandbox.folder / "runtime"),
            **self.extra,
        }
        self.search.add("passphrase", self.passphrase)
        for device in self.sandbox.state.devices():
            if device.seed is not None:
                self.search.add(f"MFA seed of {device.serial}", device.seed.reveal())
        self.learn()

    def learn(self) -> None:
        """Add the secrets that the stand-in has made since."""
        for number, secret in enumerate(self.made):
            self.search.add(f"secret {number}", secret.reveal())

    def new_secret(self, name: str) -> str:
        """Return a new passphrase and add it to the search."""
        value = secrets.token_urlsafe(18)
        self.search.add(name, value)
        return value

    def code(self, device: str) -> str:
        """Return an unused MFA code and add it to the search."""
        self.sandbox.move_clock(61)
        value = self.sandbox.totp(device)
        self.search.add(f"MFA code {value[:2]}….", value)
        return value

    def does(
        self,
        *words: str,
        fds: Mapping[str, str] | None = None,
        code: int | None = 0,
        gives: bool = False,
        extra: Mapping[str, str] | None = None,
    ) -> str:
        """Run `keyturn WORDS`, search its output and return its stdout.

        :param code: the expected exit code; None for any.
        :param gives: True if its stdout is meant to hold a secret.
        """
        done = self.person.run(str(BIN / "keyturn"), *words, fds=fds, extra=extra)
        self.took(words, done, gives=gives)
        assert code is None or done.returncode == code, (words, done.returncode, done.stderr)
        if done.returncode:
            assert done.stderr.splitlines()[-1].startswith("keyturn: "), (words, done.stderr)
            assert "Traceback" not in done.stderr, words
        return done.stdout

    def took(
        self, words: tuple[str, ...], done: subprocess.CompletedProcess[str], *, gives: bool = False
    ) -> None:
        """Search the output of a command."""
        self.commands += 1
        self.learn()
        label = " ".join(word for word in words if not word.isdigit())
        if not gives:
            self.hits += self.search.look(f"stdout of {label}", done.stdout.encode("utf-8", "replace"))
        self.hits += self.search.look(f"stderr of {label}", done.stderr.encode("utf-8", "replace"))

    def checks_files(self, *but: Path) -> None:
        """Search every file in the sandbox. A setting with a secret may stand in the shared files if its
        profile is native or its session is delivered there; the other lines are searched too.

        :param but: files that are meant to hold a secret.
        """
        self.learn()
        shared = (self.person.config, self.person.credentials)
        leave = [self.sandbox.folder / name for name in _OTHERS]
        others = [path for place in leave for path in (place.rglob("*") if place.is_dir() else [place])]
        self.hits += self.search.look_in_folder(self.sandbox.folder, leave=[*others, *shared, *but])
        said = self.person.keyturn("list", "--json")
        rows = {row["name"]: row for row in json.loads(said.stdout)["profiles"]}
        open_ones = {
            name
            for name, row in rows.items()
            if not row["managed"] or row["delivery"] == "credentials-file" or row["state"] == "long-term"
        }
        for path in shared:
            if path.exists():
                rest = _without_settings(path.read_bytes(), open_ones)
                self.hits += self.search.look(f"{path.name}, beside the settings that belong there", rest)

    def checks_processes(self, sampler: Sampler) -> None:
        """Search every sampled command line and environment. A code that the user typed as an argument may be
        in one, and a program started by `exec` may have its session in its environment."""
        codes = [name for name in self.search.names if name.startswith("MFA code")]
        for kind, seen in sampler.seen.items():
            for number, content in enumerate(sorted(seen)):
                rest = without_lent(content) if kind == "environ" else content
                self.hits += self.search.look(f"{kind} {number}", rest.replace(b"\0", b"\n"), but=codes)


def without_lent(environ: bytes) -> bytes:
    """Return the environment of a process. If `keyturn exec` made it, leave out the variables of its session:
    either the keys or an endpoint, never both."""
    parts = environ.split(b"\0")
    names = {part.partition(b"=")[0] for part in parts}
    if b"KEYTURN_PROFILE" not in names:
        return environ
    lent = _ENDPOINT if _ENDPOINT[0] in names else _KEYS
    return b"\0".join(part for part in parts if part.partition(b"=")[0] not in lent)


def _without_settings(data: bytes, sections: set[str]) -> bytes:
    """Return the file without the lines that hold a secret of one of `sections`."""
    kept, current = [], ""
    for line in data.splitlines(keepends=True):
        if line.startswith(b"["):
            current = line.strip(b"[] \r\n").removeprefix(b"profile ").decode()
        name = line.partition(b"=")[0].strip().lower()
        if current in sections and name in (
            b"aws_secret_access_key",
            b"aws_session_token",
            b"aws_security_token",
        ):
            continue
        kept.append(line)
    return b"".join(kept)


@contextmanager
def flow(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Flow]:
    """Return a user in a sandbox below `folder`.

    :param extra: variables for every command.
    """
    with minted() as made, Sandbox(folder / "sandbox") as sandbox:
        one = Flow(sandbox, made, extra or {})
        try:
            yield one
        finally:
            one.person.leaves()


def made_vault(one: Flow) -> str:
    """Create a vault guarded by the passphrase and return its recovery key."""
    recovery = one.sandbox.folder / "given"
    with recovery.open("wb") as out:
        words = ("vault", "init", "--slot", "passphrase", "--recovery-out-fd", str(out.fileno()))
        read, write = _pipe(one.passphrase)
        done = subprocess.run(
            [str(BIN / "keyturn"), *words, "--passphrase-fd", str(read)],
            env=one.person.environ,
            pass_fds=(out.fileno(), read),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for end in (read, write):
            os.close(end)
    assert done.returncode == 0, done.stderr
    key = recovery.read_text().strip()
    recovery.unlink()
    one.search.add("recovery key", key)
    one.search.add("recovery key, small", key.lower())
    one.took(words, done)
    return key


def founding(one: Flow) -> None:
    """Create a vault, open it in every way, and try the ways that are refused."""
    key = made_vault(one)
    wrong = one.new_secret("wrong passphrase")
    one.does("vault", "status")
    one.does("vault", "lock")
    one.does("vault", "unlock", fds={"--passphrase-fd": wrong}, code=1)
    one.does("vault", "unlock", fds={"--recovery-key-fd": key[:-1] + "Q"}, code=1)
    one.does("vault", "unlock", fds={"--recovery-key-fd": one.new_secret("no recovery key")}, code=1)
    one.does("vault", "init", "--slot", "passphrase", fds={"--passphrase-fd": wrong}, code=1)
    one.does("vault", "init", "--slot", "keyring", code=None)
    one.does("vault", "unlock", fds={"--recovery-key-fd": key})
    shown = one.does("vault", "recovery-key", "--yes", fds={"--passphrase-fd": one.passphrase}, gives=True)
    assert shown.strip() == key
    one.does("agent", "status", "--json")
    one.does("agent", "stop")
    one.does("agent", "start", fds={"--passphrase-fd": one.passphrase})


def brief(one: Flow) -> None:
    """Run one of each important operation, as the ordinary suite does."""
    made_vault(one)
    one.does("adopt", "ci-deploy", "acme-alice", "--yes")
    one.does("refresh", "prod-admin", "--mfa-code", one.code("alice"), "--json")
    one.does("refresh", "acme-alice", "--mfa-code", "000000", code=1)
    one.does("credential-process", "ci-deploy", gives=True)
    one.does("deliver", "ci-release", "--to", "credentials-file")
    one.does("rotate", "ci-deploy", "--yes")


def locking(one: Flow) -> None:
    """Lock the vault at the end of a day."""
    one.does("vault", "lock")
    one.does("vault", "unlock", fds={"--passphrase-fd": one.new_secret("wrong passphrase")}, code=1)
    one.hits += one.search.look_in_folder(Path(one.person.environ["KEYTURN_HOME"]))


def working(one: Flow) -> None:
    """Adopt profiles, refresh them with and without MFA, deliver them in every way, and make each fail."""
    one.does("adopt", "ci-deploy", "acme-alice", "--plan")
    one.does("adopt", "--all", "--yes")
    for words in (("list",), ("list", "--json"), ("show", "ci-deploy"), ("show", "acme-alice", "--json")):
        one.does(*words)
    one.does("refresh", "ci-deploy", "ci-release", "acme-spoke-logs")
    one.does("refresh", "prod-admin", "--mfa-code", one.code("alice"), "--json")
    one.does("refresh", "acme-alice", "--mfa-code", one.code("alice"))
    one.does("refresh", "acme-alice", "--mfa-code", "000000", code=1)
    one.does("refresh", "--due", "--json")
    one.does("refresh", "nobody", code=3)
    one.does("refresh", "ci-deploy", extra={"AWS_ENDPOINT_URL_STS": NOWHERE}, code=None)
    one.does("credential-process", "ci-deploy", gives=True)
    one.does("credential-process", "prod-admin", gives=True)
    one.does("credential-process", "nobody", code=3)
    one.person.aws_identity("ci-release")
    one.person.boto_identity("ci-audit")
    one.checks_files()
    one.does("deliver", "ci-release", "--to", "credentials-file")
    one.does("deliver", "ci-audit", "--to", "credentials-file", "--as", "personal", code=None)
    one.does("refresh", "ci-release")
    one.checks_files()
    one.does("stop", "ci-release")
    one.does("deliver", "ci-release", "--to", "credential-process")
    one.does("deliver", "ci-audit", "--to", "nowhere")
    one.checks_files()


def rotating(one: Flow) -> None:
    """Rotate a key, undo a rotation, and rotate again to the end; include a lost answer and a refused
    call."""
    one.does("rotate", "ci-deploy", code=4)
    one.does("rotate", "ci-deploy", "--yes", "--json")
    one.does("rotate", "ci-deploy", "--status")
    one.does("rotate", "ci-deploy", "--status", "--json")
    one.checks_files()
    one.does("rotate", "ci-deploy", "--undo", "--yes")
    one.sandbox.faults.order("CreateAccessKey", "throttle", times=9)
    one.does("rotate", "ci-deploy", "--yes", code=1)
    one.sandbox.faults.clear()
    one.sandbox.faults.lose_answer("CreateAccessKey")
    lost = json.loads(one.does("rotate", "ci-deploy", "--yes", "--json", code=5))["rotation"]["orphans"]
    one.checks_files()
    one.does("rotate", "ci-deploy", "--drop", lost[0][-4:])
    one.does("rotate", "acme-alice", "--policy")
    old = json.loads(one.does("rotate", "ci-deploy", "--yes", "--json"))["rotation"]["old_id"]
    one.does("rotate", "ci-deploy", "--finish", code=5)
    one.does("rotate", "ci-deploy", "--finish", "--confirm", old[-4:])
    one.checks_files()


def moving(one: Flow, folder: Path) -> None:
    """Export the vault, open it elsewhere, change and forget its passphrase, damage its file and restore
    it."""
    export, road = folder / "export.age", one.new_secret("passphrase of the export")
    mine = {"--passphrase-fd": one.passphrase}
    one.does("vault", "export", str(export), "--yes", fds={**mine, "--new-passphrase-fd": road})
    one.hits += one.search.look_in_file(export)
    one.does(
        "vault", "import", str(export), fds={"--passphrase-fd": road, "--new-passphrase-fd": one.passphrase},
        extra={"KEYTURN_HOME": str(one.sandbox.folder / "second"), "KEYTURN_SANDBOX": ""},
    )  # fmt: skip
    home = one.sandbox.folder / "second"
    elsewhere = {"KEYTURN_HOME": str(home), "KEYTURN_SANDBOX": ""}
    keys = home / "data" / "vault" / "keys.age"
    one.does("vault", "restore", fds=mine, extra=elsewhere)
    damaged = bytearray(keys.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    keys.write_bytes(damaged)
    one.does("vault", "unlock", fds=mine, extra=elsewhere, code=1)
    one.does("vault", "restore", fds=mine, extra=elsewhere, code=1)
    other = one.new_secret("passphrase, changed")
    one.does("vault", "passphrase", fds={**mine, "--new-passphrase-fd": other})
    one.does("vault", "lock")
    one.does("credential-process", "ci-deploy", code=4)
    one.does("vault", "unlock", fds=mine, code=1)
    one.does("vault", "unlock", fds={"--passphrase-fd": other})
    one.passphrase = other


def parting(one: Flow) -> None:
    """Read files that are unreadable or untrusted, and release everything."""
    mine = {"--passphrase-fd": one.passphrase}
    one.does("release", "ci-deploy", "--plan")
    one.does("release", "personal", "--yes", code=4)
    one.does("release", "personal", "--yes", fds={"--passphrase-fd": one.new_secret("not it")}, code=1)
    good = one.person.credentials.read_bytes()
    secret = one.made[0].reveal()
    for bad in (
        good + f"aws_secret_access_key {secret}\n".encode(),
        good + f"[{secret}\n".encode(),
        f"aws_secret_access_key = {secret}\n".encode() + good,
        good + f"\n[gov-ops]\naws_secret_access_key = {secret}\n[gov-ops]\n".encode(),
        b"\xff\xfe" + secret.encode("utf-16-le"),
    ):
        one.person.credentials.write_bytes(bad)
        one.does("list", code=None)
        one.does("show", "personal", code=None)
        one.does("release", "personal", "--yes", fds=mine, code=None)
        one.does("deliver", "ci-release", "--to", "credentials-file", code=None)
        if one.person.credentials.read_bytes() != bad:
            break
    one.person.credentials.write_bytes(good)
    one.person.credentials.chmod(0o666)
    one.does("release", "personal", "--yes", fds=mine, code=None)
    one.person.credentials.chmod(0o600)
    one.does("release", "--all", "--yes", fds=mine)
    one.checks_files()
    one.does("vault", "lock")


def _pipe(text: str) -> tuple[int, int]:
    read, write = os.pipe()
    os.write(write, text.encode() + b"\n")
    return read, write
