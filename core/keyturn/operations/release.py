"""Release: give back what adopt took, to the same place. The secret leaves the vault only once the files hold it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyturn.awsconfig import diff
from keyturn.awsconfig.document import Document, FileKind, header_for, parse
from keyturn.awsconfig.process_line import is_ours
from keyturn.awsconfig.writer import Edit
from keyturn.model.errors import (
    ChangeRefused,
    FileChanged,
    KeyturnError,
    NeedsConfirmation,
    NeedsUnlock,
    RotationHalted,
    UnparsableFile,
    WriteNotConfirmed,
)
from keyturn.model.profile import DiffLine, Plan
from keyturn.model.secret import Secret
from keyturn.model.text import masked_key_id
from keyturn.operations import adopt_edits
from keyturn.operations.adopt_edits import LINE_KEY, RemovedSettings
from keyturn.operations.context import Context, key_entry, taken_entry
from keyturn.operations.credentials import mfa_sessions
from keyturn.operations.deliver import managed, standing, withdraw
from keyturn.operations.rotation import observe, previous_key
from keyturn.operations.rotation import previous_key as spare
from keyturn.operations.rotation.progress import progress_of
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.profile_sections import own_section
from keyturn.storage import managed_profiles
from keyturn.storage.index import Index
from keyturn.vault.vault import Vault

Sections = Mapping[str, tuple[RemovedSettings, ...]]
"""What to put back, by profile."""


def plan(desk: Context, names: Sequence[str]) -> Plan:
    """What releasing `names` would change.

    A profile whose definition was lost can be given back as long as the vault holds what was taken from it.

    :raises NotFound: a name is not managed.
    :raises NeedsUnlock: the vault is closed; it holds what is to be given back.
    """
    reading = desk.read()
    sections = _sections(desk, reading, names)
    lines: list[DiffLine] = []
    for path, before, after in _outcome(desk, reading, sections):
        lines += diff.diff(desk.places.shown(path), before, after)
    secrets = []
    for name in sections:
        key = desk.vault.key(key_entry(name))
        if key:
            secrets.append(f"{name}: secret access key of {masked_key_id(key['key_id'])} goes back in clear")
    return Plan(
        action="release",
        names=tuple(sections),
        also=(),
        diff=tuple(lines),
        secrets=tuple(secrets),
        warnings=_warnings(reading, sections),
        needs_vault=True,
        digest=reading.digest(),
    )


def _warnings(reading: Inventory, sections: Sections) -> tuple[str, ...]:
    leaning = [
        one.name
        for one in reading.definitions.values()
        if one.source_profile in sections and one.name not in sections
    ]
    renamed = {name: _renamed(reading, name) for name in sections}
    return (
        *(f"{name} stays managed and takes its sessions from what is released" for name in leaning),
        *(
            f"{name} is called {new} in the files by now, and is given back there"
            for name, new in renamed.items()
            if new
        ),
    )


def release(
    desk: Context,
    names: Sequence[str],
    digest: str,
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
    words: str | None = None,
) -> tuple[str, ...]:
    """Carries out what :func:`plan` showed.

    :param passphrase: of the vault, wanted where a secret leaves it and the vault has a passphrase slot.
    :param recovery_key: does in its place.
    :param words: `release NAME...`, wanted instead where there is only a keyring slot.
    :raises FileChanged: the files are no longer as they were shown.
    :raises NeedsUnlock: the passphrase is wanted.
    :raises WrongPassphrase: it is not this vault's.
    :raises NeedsConfirmation: the words are wanted; the hint has them.
    """
    with desk.exclusive():
        reading = desk.read()
        if reading.digest() != digest:
            why = "the files changed since the change was shown"
            raise FileChanged("release", why, "Look at it again, then confirm")
        sections = _sections(desk, reading, names)
        if any(desk.vault.key(key_entry(name)) for name in sections):
            confirm(desk, tuple(sections), passphrase, recovery_key, words)
        _outcome(desk, reading, sections)
        for name in sections:
            withdraw(desk, name)
        try:
            with _all_or_none(desk, sections) as given:
                for path, kind in _files(sections):
                    try:
                        given[path] = _write(desk, reading, sections, path, kind)
                    except WriteNotConfirmed as error:
                        given[path] = Edit(error.before, error.after)
                        raise
                managed_profiles.change(desk.places.profiles_file, lambda table: _drop(table, sections))
        except KeyturnError as error:
            for name in sections:
                desk.record_failure(name, "release", error)
            raise
        _out_of_vault(desk, sections)
    for name in sections:
        desk.record(name, "release", "its settings are back in the shared files")
    return tuple(sections)


def confirm(
    desk: Context,
    names: Sequence[str],
    passphrase: Secret | None,
    recovery_key: Secret | None,
    words: str | None,
) -> None:
    """Makes sure that a person wants a secret to leave the vault in clear (safety, requirement 11)."""
    if recovery_key is not None:
        Vault(desk.places.vault_dir).unlock(recovery_key=recovery_key)
        return
    if "passphrase" in desk.vault.slots():
        if passphrase is None:
            why = "a secret leaves the vault in clear, which takes the vault's passphrase"
            raise NeedsUnlock("release", why, "Type it, or give it by --passphrase-fd N")
        Vault(desk.places.vault_dir).unlock(passphrase=passphrase)
        return
    wanted = "release " + " ".join(names)
    if words != wanted:
        why = "a secret leaves the vault in clear, which wants its own words"
        raise NeedsConfirmation("release", why, f"Type, or give by --confirm: {wanted}")


def _sections(desk: Context, reading: Inventory, names: Sequence[str]) -> Sections:
    found: dict[str, tuple[RemovedSettings, ...]] = {}
    for name in dict.fromkeys(names):
        _refuse_rotating(desk, name)
        entry = desk.vault.key(taken_entry(name))
        if entry is None:
            managed(reading, name)
            _require_no_line(reading, name)
        found[name] = tuple(RemovedSettings.of(table) for table in entry["sections"]) if entry else ()
    return found


def _refuse_rotating(desk: Context, name: str) -> None:
    """Keeps a key from being given back while it is not settled which one it is.

    :raises RotationHalted: a rotation of the key waits.
    """
    record = observe.waiting(desk, name)
    if record is not None:
        why = f"a rotation of its key waits at step {record.step}"
        raise RotationHalted(f"release {name}", why, progress_of(record).stands())
    one = desk.read().definitions.get(name)
    spare.require_none(desk, one.key if one is not None and one.key else name, name)


def _require_no_line(reading: Inventory, name: str) -> None:
    """Where the vault has nothing to give back, as after going back to an older state of it, a line of ours that still
    asks for the profile would lead nowhere once its definition is gone.

    :raises Protected: there is such a line.
    """
    for other, settings in reading.shared.full_config.get("profiles", {}).items():
        if is_ours(str(settings.get(LINE_KEY, "")), name):
            where = reading.shared.origin(other, LINE_KEY)
            place = f"line {where.line} of {where.file}" if where else "its credential_process line"
            raise ChangeRefused(
                f"release {name}",
                "the vault does not hold what adopt took from it, so there is nothing to give back",
                f"Take out {place} by hand, then release it again; a key for it has to be made anew",
            )


def _files(sections: Sections) -> tuple[tuple[Path, FileKind], ...]:
    """The files to be written: config last, so that a key is readable before the line that asked keyturn goes."""
    found = {(Path(taken.path), taken.kind) for each in sections.values() for taken in each}
    return tuple(sorted(found, key=lambda file: file[1] is FileKind.CONFIG))


def _document(reading: Inventory, kind: FileKind, path: Path) -> Document:
    for problem in reading.shared.problems:
        if problem.path == str(path):
            why = f"line {problem.line}: {problem.reason}"
            raise UnparsableFile(
                f"writing {path}", why, "Correct the file first", path=str(path), lineno=problem.line
            )
    present = reading.shared.path_of(kind)
    if present != str(path):
        raise ChangeRefused(
            "release", f"it was taken from {path}, and AWS tools now read {present}",
            "Set HOME, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE as they were when it was adopted",
        )  # fmt: skip
    document = reading.document(kind)
    return document if document is not None else parse(b"", str(path), kind)


def _released(document: Document, desk: Context, reading: Inventory, sections: Sections, path: Path) -> bytes:
    """The file with everything given back that was taken from it, the latest first."""
    for name, each in reversed(list(sections.items())):
        swap = _swap(desk, name)
        definition = reading.definitions.get(name)
        note = standing(reading, definition) if definition else reading.index.of(name).delivered
        ours = note.key_ids if note else ()
        present = own_section(document, document.kind, name)
        renamed = _renamed(reading, name)
        for taken in reversed(each):
            if Path(taken.path) != path:
                continue
            place = _now_at(document, taken, renamed)
            data = adopt_edits.put_back(document, place, profile=name, ours=ours, swap=swap)
            document = adopt_edits.again(data, document)
        if present and not any(Path(taken.path) == path for taken in each):
            data = adopt_edits.without_ours(document, present, name, ours)
            document = adopt_edits.again(data, document)
        for section in [section.name for section in document.sections]:
            document = adopt_edits.again(adopt_edits.without_ours(document, section, name, ()), document)
    return document.data


def _renamed(reading: Inventory, name: str) -> str | None:
    """The name that somebody gave to a managed profile in the shared files, as its line tells: it still asks for `name`.
    None where it has its name, or where several profiles have the line."""
    settings = reading.shared.full_config.get("profiles", {})
    found = [
        other
        for other, each in settings.items()
        if is_ours(str(each.get(LINE_KEY, "")), name) and other != name
    ]
    return found[0] if len(found) == 1 and not is_ours(_line_of(settings, name), name) else None


def _line_of(settings: Mapping[str, Mapping[str, object]], name: str) -> str:
    return str(settings.get(name, {}).get(LINE_KEY, ""))


def _now_at(document: Document, taken: RemovedSettings, renamed: str | None) -> RemovedSettings:
    """`taken`, under the name that its section has now."""
    if renamed is None or document.section(taken.section) is not None:
        return taken
    section = own_section(document, taken.kind, renamed) or header_for(taken.kind, renamed)
    return replace(taken, section=section)


def _outcome(desk: Context, reading: Inventory, sections: Sections) -> tuple[tuple[Path, bytes, bytes], ...]:
    """Each file that is written, before and after.

    :raises Protected: a key that leaves the vault would be in none of the files then.
    """
    found = []
    for path, kind in _files(sections):
        before = _document(reading, kind, path)
        found.append((path, before.data, _released(before, desk, reading, sections, path)))
    written = {path for path, _, _ in found}
    documents = [document for kind in FileKind if (document := reading.document(kind)) is not None]
    texts = [after for _, _, after in found]
    texts += [document.data for document in documents if Path(document.path) not in written]
    for name in sections:
        key = desk.vault.key(key_entry(name))
        if key and not all(
            any(key[part].encode() in text for text in texts) for part in ("key_id", "secret")
        ):
            raise ChangeRefused(
                f"release {name}",
                f"the vault does not hold where {masked_key_id(key['key_id'])} was taken from, so it would be lost",
                "It stays in the vault; `keyturn vault export FILE` makes a copy",
            )
    return tuple(found)


def _swap(desk: Context, name: str) -> dict[str, str]:
    """The current key in the place of the one that was taken, after a rotation."""
    entry, current = desk.vault.key(taken_entry(name)), desk.vault.key(key_entry(name))
    old = entry.get("key") if entry else None
    if not old or not current or old == current:
        return {}
    return {old["key_id"]: current["key_id"], old["secret"]: current["secret"]}


@contextlib.contextmanager
def _all_or_none(desk: Context, sections: Sections) -> Iterator[dict[Path, Edit]]:
    """Puts back what was written if not everything could be, and says where that is not possible because somebody else
    has written the file since. Gives the table to note each edit in."""
    secrets = [key["secret"].encode() for name in sections if (key := desk.vault.key(key_entry(name)))]
    given: dict[Path, Edit] = {}
    try:
        yield given
    except KeyturnError as error:
        files = reversed(_files(sections))
        standing = [
            path for path, kind in files if not _taken_back(desk, path, kind, given.get(path), secrets)
        ]
        if standing:
            shown = " and ".join(desk.places.shown(path) for path in standing)
            error.why += f"; what was given back to {shown} before that is still there, in clear"
            error.hint = "See to the cause, then release it again"
        raise


def _taken_back(
    desk: Context, path: Path, kind: FileKind, edit: Edit | None, secrets: Sequence[bytes]
) -> bool:
    """Undoes an edit; False where it stands. One that failed may have been made and only not been confirmed."""
    try:
        now = desk.files.read(path)
        if edit is None:
            return not any(secret in (now or b"") for secret in secrets)
        expect = None if now is None and not edit.after else edit.after
        desk.files.edit(path, lambda _: edit.before or b"", kind=kind, expect=expect)
    except KeyturnError:
        return False
    return True


def _write(desk: Context, reading: Inventory, sections: Sections, path: Path, kind: FileKind) -> Edit:
    _document(reading, kind, path)

    def change(document: Document) -> bytes:
        return _released(document, desk, reading, sections, path)

    edit = desk.files.edit(path, change, kind=kind)
    made = any(taken.file_made for each in sections.values() for taken in each if Path(taken.path) == path)
    if made and edit.after == b"":
        desk.files.remove(path, expect=edit.after)
    return edit


def _drop(table: dict[str, managed_profiles.ManagedProfile], sections: Sections) -> None:
    for name in sections:
        table.pop(name, None)


def _out_of_vault(desk: Context, sections: Sections) -> None:
    """Forgets what was given back, its sessions too; hands on who made a file that others still have lines in."""
    made = {taken.path for each in sections.values() for taken in each if taken.file_made}

    def edit(entries: dict[str, Any]) -> None:
        for name in sections:
            entries.pop(taken_entry(name), None)
            entries.pop(key_entry(name), None)
        for entry in entries.values():
            for table in entry.get("sections", ()) if isinstance(entry, dict) else ():
                if table["path"] in made:
                    table["file_made"] = True
                    made.discard(table["path"])

    def forget(sessions: dict[str, Any]) -> None:
        for name in sections:
            sessions.pop(name, None)

    desk.vault.change_sessions(forget)

    def note(index: Index) -> None:
        for name in sections:
            index.profiles.pop(name, None)
            key = index.keys.pop(name, None)
            if key is not None:
                mfa_sessions.forget_key(index, key.key_id)

    desk.index.change(note)
    # Last of all: as long as the vault knows what was taken, a release that was interrupted can be done again.
    desk.vault.change_keys(edit)
    previous_key.forget_ended(desk, list(sections))
