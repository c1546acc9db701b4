"""The operations that are put under faults: every verb that writes, whole, and every writer of a file by
itself."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from keyturn.awsconfig.document import FileKind, set_items
from keyturn.model.profile import Kind
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from keyturn.storage import managed_profiles
from keyturn.storage.activity import ActivityEntry as Line
from keyturn.storage.activity import ActivityLog
from keyturn.storage.history import History
from keyturn.storage.index import IndexFile
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.system import log
from keyturn_tui import main
from tests.resilience.crash_injection.crash_home import NOW, PASSPHRASE, Home
from tests.resilience.crash_injection.traced_child import Run, run_in_child


@dataclass(frozen=True)
class Operation:
    """An operation and the stage of a home that it begins at."""

    name: str
    stage: str
    run: Run = field(repr=False)
    retry_codes: tuple[int, ...] = (0,)
    """Exit codes of the same operation repeated after an interruption; it may refuse completed work."""
    may_skip: tuple[str, ...] = ()
    """Files that it may leave unchanged and still succeed: a cache that could not be written."""
    finish: Run | None = field(default=None, repr=False)
    """Function that brings about the final state where repeating the operation would add to it."""


def verb(*words: str) -> Run:
    """Return a run of `keyturn WORDS`, with the vault opened by the recovery key."""

    def run(home: Home) -> int:
        return main.main([*words, "--recovery-key-fd", str(pipe(home.recovery_key.reveal()))])

    return run


def plain_verb(*words: str) -> Run:
    """Return a run of `keyturn WORDS`, which opens no vault."""
    return lambda _: main.main(list(words))


def pipe(text: str) -> int:
    """Return a descriptor to read a secret from."""
    read, write = os.pipe()
    os.write(write, text.encode() + b"\n")
    os.close(write)
    return read


def _init(home: Home) -> int:
    recovery = os.open(home.root / "recovery", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    words = ["vault", "init", "--slot", "passphrase", "--passphrase-fd", str(pipe(PASSPHRASE.reveal()))]
    return main.main([*words, "--recovery-out-fd", str(recovery)])


def writer(function: Callable[[Home], object]) -> Run:
    """Return a run of one file's writer inside the console script's error handling, which prints errors in
    one line."""

    def run(home: Home) -> int:
        try:
            function(home)
        except Exception as error:  # noqa: BLE001  # the boundary of the console script
            return main._report(error)
        return 0

    return run


def _service(home: Home) -> CredentialService:
    service = CredentialService.from_environ(home.environ)
    service.context.vault.unlock(recovery_key=home.recovery_key)
    return service


def _edit_config(home: Home) -> None:
    _service(home).context.files.edit(
        home.config, lambda content: set_items(content, "default", {"output": "json"}), kind=FileKind.CONFIG
    )


def _edit_credentials(home: Home) -> None:
    _service(home).context.files.edit(
        home.credentials,
        lambda content: set_items(content, "other", {"region": "x"}),
        kind=FileKind.CREDENTIALS,
    )


def _make_credentials(home: Home) -> None:
    CredentialService.from_environ(home.environ).context.files.edit(
        home.credentials, lambda _: b"[made]\nregion = x\n", kind=FileKind.CREDENTIALS
    )


def _remove(home: Home) -> None:
    if home.credentials.exists():
        _service(home).context.files.remove(home.credentials, expect=home.credentials.read_bytes())


def _index(home: Home) -> None:
    IndexFile(home.state / "index.json").change(lambda index: index.update("dev", last_use=NOW))


def _definitions(home: Home) -> None:
    new = ManagedProfile("new", Kind.ROLE, role_arn="arn:aws:iam::123456789012:role/x", source_profile="dev")
    managed_profiles.change(home.own / "config" / "profiles.toml", lambda table: table.update(new=new))


def _activity(home: Home) -> None:
    ActivityLog(home.state / "activity.jsonl").add(Line(NOW, "dev", "faults", "done", ok=True))


def _log(home: Home) -> None:
    record = logging.LogRecord("keyturn", logging.WARNING, "x", 1, "something odd", None, None)
    log.RedactedFile(home.state).emit(record)


def _store_key(home: Home) -> None:
    service = _service(home)
    History(home.state / "history", service.context.vault.seal, lambda: NOW + timedelta(days=1)).keep(
        home.config, b"[profile before]\n", "faults"
    )


def _keys(home: Home) -> None:
    _service(home).context.vault.change_keys(lambda entries: entries.update(new={"n": 1}))


def _sessions(home: Home) -> None:
    _service(home).context.vault.change_sessions(lambda entries: entries.update(new={"n": 1}))


def _passphrase(home: Home) -> None:
    _service(home).context.vault.set_passphrase(PASSPHRASE)


VERBS = (
    Operation("vault init", "new", _init, retry_codes=(0, 5, 1)),
    Operation("adopt", "vault", verb("adopt", "dev", "--yes"), retry_codes=(0, 1)),
    Operation(
        "adopt session-none", "vault", verb("adopt", "dev", "--session-none", "--yes"), retry_codes=(0, 1)
    ),
    Operation("release", "adopted", verb("release", "dev", "ops", "--yes"), retry_codes=(0, 3)),
    Operation("release delivered", "delivered", verb("release", "dev", "ops", "--yes"), retry_codes=(0, 3)),
    Operation("refresh", "adopted", verb("refresh", "dev"), may_skip=("sessions",)),
    Operation("refresh delivered", "delivered", verb("refresh", "dev")),
    Operation("credential-process", "adopted", verb("credential-process", "ops"), may_skip=("sessions",)),
    Operation(
        "deliver to the file",
        "adopted",
        verb("deliver", "dev", "--to", "credentials-file"),
        may_skip=("sessions",),
    ),
    Operation(
        "deliver as default",
        "adopted",
        verb("deliver", "ops", "--to", "credentials-file", "--as", "default"),
        may_skip=("sessions",),
    ),
    Operation("deliver by process", "delivered", verb("deliver", "dev", "--to", "credential-process")),
    Operation("stop", "delivered", verb("stop", "dev")),
)
WRITERS = (
    Operation("config", "delivered", writer(_edit_config)),
    Operation("credentials", "delivered", writer(_edit_credentials)),
    Operation("credentials made", "no credentials file", writer(_make_credentials)),
    Operation("folder and credentials made", "no folder", writer(_make_credentials)),
    Operation("credentials removed", "delivered", writer(_remove)),
    Operation("index.json", "delivered", writer(_index)),
    Operation("profiles.toml", "delivered", writer(_definitions)),
    Operation("activity.jsonl", "delivered", writer(_activity), finish=lambda _: 0),
    Operation("activity.jsonl thinned", "a long past", writer(_activity), finish=lambda _: 0),
    Operation("keyturn.log", "delivered", writer(_log), finish=lambda _: 0),
    Operation("keyturn.log begun anew", "a long past", writer(_log), finish=lambda _: 0),
    Operation("history", "delivered", writer(_store_key)),
    Operation("keys.age", "delivered", writer(_keys)),
    Operation("sessions.age", "delivered", writer(_sessions), may_skip=("sessions",)),
    Operation("identity.age", "delivered", writer(_passphrase)),
)


#: Operations of the sample that runs every time, with a few faults each.
SAMPLE_VERBS = tuple(operation for operation in VERBS if operation.name in ("adopt", "release"))
SAMPLE_WRITERS = tuple(
    operation
    for operation in WRITERS
    if operation.name in ("credentials", "profiles.toml", "activity.jsonl thinned", "history", "keys.age")
)


def prepared_home(root: Path) -> Home:
    """Return a home with all its stages, each made by the verbs themselves."""
    home = Home(root)
    home.create_files()
    home.save_stage("new")
    _run_verb(home, _init)
    home.recovery_key = Secret((root / "recovery").read_text().strip())
    home.save_stage("vault")
    _run_verb(home, verb("adopt", "dev", "--yes"))
    home.save_stage("adopted")
    home.credentials.unlink()
    home.save_stage("no credentials file")
    shutil.rmtree(home.aws)
    home.save_stage("no folder")
    home.restore_stage("adopted")
    _run_verb(home, verb("deliver", "dev", "--to", "credentials-file"))
    home.save_stage("delivered")
    _fill_logs(home)
    home.save_stage("a long past")
    gc.collect()
    gc.freeze()
    return home


def _fill_logs(home: Home) -> None:
    """Fill both logs to the size at which they are thinned out or started anew."""
    old = b'{"at": "2025-01-01T00:00:00Z", "profile": "dev", "event": "old", "result": "x", "ok": true}\n'
    for name, line in (
        ("activity.jsonl", old),
        ("keyturn.log", b"2025-01-01T00:00:00Z WARNING [1] keyturn: x\n"),
    ):
        with (home.state / name).open("ab") as file:
            file.write(line * ((1 << 20) // len(line)))


def _run_verb(home: Home, run: Run) -> None:
    outcome = run_in_child(run, home)
    if outcome.code != 0:
        raise AssertionError(f"a stage could not be made: {outcome}")
