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
from tests.adversarial.secret_leaks.canary_secrets import record_secrets
from tests.adversarial.secret_leaks.memory_sampling import Sampler
from tests.adversarial.secret_leaks.secret_search import Hit, Search
from tests.end_to_end.person import BIN, WEAK_KEYTURN, Person

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
    secrets: list[Secret]
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
        self.add_made_secrets()

    def add_made_secrets(self) -> None:
        """Add the secrets that the stand-in has made since."""
        for number, secret in enumerate(self.secrets):
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
        process = self.person.run(str(BIN / "keyturn"), *words, fds=fds, extra=extra)
        self.search_output(words, process, gives=gives)
        assert code is None or process.returncode == code, (words, process.returncode, process.stderr)
        if process.returncode:
            assert process.stderr.splitlines()[-1].startswith("keyturn: "), (words, process.stderr)
            assert "Traceback" not in process.stderr, words
        return process.stdout

    def search_output(
        self, words: tuple[str, ...], process: subprocess.CompletedProcess[str], *, gives: bool = False
    ) -> None:
        """Search the output of a command."""
        self.commands += 1
        self.add_made_secrets()
        label = " ".join(word for word in words if not word.isdigit())
        if not gives:
            self.hits += self.search.search(f"stdout of {label}", process.stdout.encode("utf-8", "replace"))
        self.hits += self.search.search(f"stderr of {label}", process.stderr.encode("utf-8", "replace"))

    def search_files(self, *but: Path) -> None:
        """Search every file in the sandbox. A setting with a secret may stand in the shared files if its
        profile is native or its session is delivered there; the other lines are searched too.

        :param but: files that are meant to hold a secret.
        """
        self.add_made_secrets()
        shared = (self.person.config, self.person.credentials)
        leave = [self.sandbox.folder / name for name in _OTHERS]
        others = [path for place in leave for path in (place.rglob("*") if place.is_dir() else [place])]
        self.hits += self.search.search_folder(self.sandbox.folder, leave=[*others, *shared, *but])
        listing = self.person.keyturn("list", "--json")
        rows = {row["name"]: row for row in json.loads(listing.stdout)["profiles"]}
        readable_files = {
            name
            for name, row in rows.items()
            if not row["managed"] or row["delivery"] == "credentials-file" or row["state"] == "long-term"
        }
        for path in shared:
            if path.exists():
                rest = _remove_settings(path.read_bytes(), readable_files)
                self.hits += self.search.search(f"{path.name}, beside the settings that belong there", rest)

    def search_processes(self, sampler: Sampler) -> None:
        """Search every sampled command line and environment. A code that the user typed as an argument may be
        in one, and a program started by `exec` may have its session in its environment."""
        codes = [name for name in self.search.names if name.startswith("MFA code")]
        for kind, seen in sampler.seen.items():
            for number, content in enumerate(sorted(seen)):
                rest = without_lent(content) if kind == "environ" else content
                self.hits += self.search.search(f"{kind} {number}", rest.replace(b"\0", b"\n"), but=codes)


def without_lent(environ: bytes) -> bytes:
    """Return the environment of a process. If `keyturn exec` made it, leave out the variables of its session:
    either the keys or an endpoint, never both."""
    parts = environ.split(b"\0")
    names = {part.partition(b"=")[0] for part in parts}
    if b"KEYTURN_PROFILE" not in names:
        return environ
    lent = _ENDPOINT if _ENDPOINT[0] in names else _KEYS
    return b"\0".join(part for part in parts if part.partition(b"=")[0] not in lent)


def _remove_settings(data: bytes, sections: set[str]) -> bytes:
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
def open_flow(folder: Path, extra: Mapping[str, str] | None = None) -> Iterator[Flow]:
    """Return a user in a sandbox below `folder`.

    :param extra: variables for every command.
    """
    with record_secrets() as secrets, Sandbox(folder / "sandbox") as sandbox:
        user = Flow(sandbox, secrets, extra or {})
        try:
            yield user
        finally:
            user.person.leaves()


def create_vault(user: Flow) -> str:
    """Create a vault guarded by the passphrase and return its recovery key."""
    recovery = user.sandbox.folder / "given"
    with recovery.open("wb") as out:
        words = ("vault", "init", "--slot", "passphrase", "--recovery-out-fd", str(out.fileno()))
        read, write = _pipe(user.passphrase)
        process = subprocess.run(
            [*WEAK_KEYTURN, *words, "--passphrase-fd", str(read)],
            env=user.person.environ,
            pass_fds=(out.fileno(), read),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for end in (read, write):
            os.close(end)
    assert process.returncode == 0, process.stderr
    key = recovery.read_text().strip()
    recovery.unlink()
    user.search.add("recovery key", key)
    user.search.add("recovery key, small", key.lower())
    user.search_output(words, process)
    return key


def create_vaults(user: Flow) -> None:
    """Create a vault, open it in every way, and try the ways that are refused."""
    key = create_vault(user)
    wrong_passphrase = user.new_secret("wrong passphrase")
    user.does("vault", "status")
    user.does("vault", "lock")
    user.does("vault", "unlock", fds={"--passphrase-fd": wrong_passphrase}, code=1)
    user.does("vault", "unlock", fds={"--recovery-key-fd": key[:-1] + "Q"}, code=1)
    user.does("vault", "unlock", fds={"--recovery-key-fd": user.new_secret("no recovery key")}, code=1)
    user.does("vault", "init", "--slot", "passphrase", fds={"--passphrase-fd": wrong_passphrase}, code=1)
    user.does("vault", "init", "--slot", "keyring", code=None)
    user.does("vault", "unlock", fds={"--recovery-key-fd": key})
    printed = user.does(
        "vault", "recovery-key", "--yes", fds={"--passphrase-fd": user.passphrase}, gives=True
    )
    assert printed.strip() == key
    user.does("agent", "status", "--json")
    user.does("agent", "stop")
    user.does("agent", "start", fds={"--passphrase-fd": user.passphrase})


def run_verb_sample(user: Flow) -> None:
    """Run one of each important operation, as the ordinary suite does."""
    create_vault(user)
    user.does("adopt", "ci-deploy", "acme-alice", "--yes")
    user.does("refresh", "prod-admin", "--mfa-code", user.code("alice"), "--json")
    user.does("refresh", "acme-alice", "--mfa-code", "000000", code=1)
    user.does("credential-process", "ci-deploy", gives=True)
    user.does("deliver", "ci-release", "--to", "credentials-file")
    user.does("rotate", "ci-deploy", "--yes")


def lock_vault(user: Flow) -> None:
    """Lock the vault at the end of a day."""
    user.does("vault", "lock")
    user.does("vault", "unlock", fds={"--passphrase-fd": user.new_secret("wrong passphrase")}, code=1)
    user.hits += user.search.search_folder(Path(user.person.environ["KEYTURN_HOME"]))


def use_sessions(user: Flow) -> None:
    """Adopt profiles, refresh them with and without MFA, deliver them in every way, and make each fail."""
    user.does("adopt", "ci-deploy", "acme-alice", "--plan")
    user.does("adopt", "--all", "--yes")
    for words in (("list",), ("list", "--json"), ("show", "ci-deploy"), ("show", "acme-alice", "--json")):
        user.does(*words)
    user.does("refresh", "ci-deploy", "ci-release", "acme-spoke-logs")
    user.does("refresh", "prod-admin", "--mfa-code", user.code("alice"), "--json")
    user.does("refresh", "acme-alice", "--mfa-code", user.code("alice"))
    user.does("refresh", "acme-alice", "--mfa-code", "000000", code=1)
    user.does("refresh", "--due", "--json")
    user.does("refresh", "nobody", code=3)
    user.does("refresh", "ci-deploy", extra={"AWS_ENDPOINT_URL_STS": NOWHERE}, code=None)
    user.does("credential-process", "ci-deploy", gives=True)
    user.does("credential-process", "prod-admin", gives=True)
    user.does("credential-process", "nobody", code=3)
    user.person.aws_identity("ci-release")
    user.person.boto_identity("ci-audit")
    user.search_files()
    user.does("deliver", "ci-release", "--to", "credentials-file")
    user.does("deliver", "ci-audit", "--to", "credentials-file", "--as", "personal", code=None)
    user.does("refresh", "ci-release")
    user.search_files()
    user.does("stop", "ci-release")
    user.does("deliver", "ci-release", "--to", "credential-process")
    user.does("deliver", "ci-audit", "--to", "nowhere")
    user.search_files()


def rotate_keys(user: Flow) -> None:
    """Rotate a key, undo a rotation, and rotate again to the end; include a lost answer and a refused
    call."""
    user.does("rotate", "ci-deploy", code=4)
    user.does("rotate", "ci-deploy", "--yes", "--json")
    user.does("rotate", "ci-deploy", "--status")
    user.does("rotate", "ci-deploy", "--status", "--json")
    user.search_files()
    user.does("rotate", "ci-deploy", "--undo", "--yes")
    user.sandbox.faults.order("CreateAccessKey", "throttle", times=9)
    user.does("rotate", "ci-deploy", "--yes", code=1)
    user.sandbox.faults.clear()
    user.sandbox.faults.order("CreateAccessKey", "answer-lost")
    lost = json.loads(user.does("rotate", "ci-deploy", "--yes", "--json", code=5))["rotation"]["orphans"]
    user.search_files()
    user.does("rotate", "ci-deploy", "--drop", lost[0][-4:])
    user.does("rotate", "acme-alice", "--policy")
    old = json.loads(user.does("rotate", "ci-deploy", "--yes", "--json"))["rotation"]["old_id"]
    user.does("rotate", "ci-deploy", "--finish", code=5)
    user.does("rotate", "ci-deploy", "--finish", "--confirm", old[-4:], "--force", "grace")
    user.search_files()


def move_vault(user: Flow, folder: Path) -> None:
    """Export the vault, open it elsewhere, change and forget its passphrase, damage its file and restore
    it."""
    export, export_passphrase = folder / "export.age", user.new_secret("passphrase of the export")
    passphrase_fds = {"--passphrase-fd": user.passphrase}
    user.does(
        "vault",
        "export",
        str(export),
        "--yes",
        fds={**passphrase_fds, "--new-passphrase-fd": export_passphrase},
    )
    user.hits += user.search.search_file(export)
    user.does(
        "vault", "import", str(export), fds={"--passphrase-fd": export_passphrase,
        "--new-passphrase-fd": user.passphrase},
        extra={"KEYTURN_HOME": str(user.sandbox.folder / "second"), "KEYTURN_SANDBOX": ""},
    )  # fmt: skip
    home = user.sandbox.folder / "second"
    elsewhere = {"KEYTURN_HOME": str(home), "KEYTURN_SANDBOX": ""}
    keys = home / "data" / "vault" / "keys.age"
    user.does("vault", "restore", fds=passphrase_fds, extra=elsewhere)
    damaged = bytearray(keys.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    keys.write_bytes(damaged)
    user.does("vault", "unlock", fds=passphrase_fds, extra=elsewhere, code=1)
    user.does("vault", "restore", fds=passphrase_fds, extra=elsewhere, code=1)
    other = user.new_secret("passphrase, changed")
    user.does("vault", "passphrase", fds={**passphrase_fds, "--new-passphrase-fd": other})
    user.does("vault", "lock")
    user.does("credential-process", "ci-deploy", code=4)
    user.does("vault", "unlock", fds=passphrase_fds, code=1)
    user.does("vault", "unlock", fds={"--passphrase-fd": other})
    user.passphrase = other


def release_all(user: Flow) -> None:
    """Read files that are unreadable or untrusted, and release everything."""
    passphrase_fds = {"--passphrase-fd": user.passphrase}
    user.does("release", "ci-deploy", "--plan")
    user.does("release", "personal", "--yes", code=4)
    user.does("release", "personal", "--yes", fds={"--passphrase-fd": user.new_secret("not it")}, code=1)
    good = user.person.credentials.read_bytes()
    secret = user.secrets[0].reveal()
    for damaged in (
        good + f"aws_secret_access_key {secret}\n".encode(),
        good + f"[{secret}\n".encode(),
        f"aws_secret_access_key = {secret}\n".encode() + good,
        good + f"\n[gov-ops]\naws_secret_access_key = {secret}\n[gov-ops]\n".encode(),
        b"\xff\xfe" + secret.encode("utf-16-le"),
    ):
        user.person.credentials.write_bytes(damaged)
        user.does("list", code=None)
        user.does("show", "personal", code=None)
        user.does("release", "personal", "--yes", fds=passphrase_fds, code=None)
        user.does("deliver", "ci-release", "--to", "credentials-file", code=None)
        if user.person.credentials.read_bytes() != damaged:
            break
    user.person.credentials.write_bytes(good)
    user.person.credentials.chmod(0o666)
    user.does("release", "personal", "--yes", fds=passphrase_fds, code=None)
    user.person.credentials.chmod(0o600)
    user.does("release", "--all", "--yes", fds=passphrase_fds)
    user.search_files()
    user.does("vault", "lock")


def _pipe(text: str) -> tuple[int, int]:
    read, write = os.pipe()
    os.write(write, text.encode() + b"\n")
    return read, write
