"""Release: restore the settings that adopt removed. A secret is deleted from the vault only after the files
hold it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from keyturn.awsconfig import diff
from keyturn.awsconfig.document import Document, Editor, FileKind, header_for, profile_of
from keyturn.awsconfig.process_line import profile_of_line
from keyturn.awsconfig.writer import Edit
from keyturn.model.errors import (
    THEN_RUN,
    ChangeRefused,
    KeyturnError,
    NeedsConfirmation,
    NeedsUnlock,
    Remedy,
    RotationHalted,
    Stopped,
    WriteNotConfirmed,
)
from keyturn.model.json_codec import from_table
from keyturn.model.profile import Plan
from keyturn.model.secret import Secret
from keyturn.model.text import masked_key_id
from keyturn.operations import adopt_edits, write_check
from keyturn.operations.adopt import plan_outdated
from keyturn.operations.adopt_edits import LINE_KEY, RemovedSettings
from keyturn.operations.context import Context, credentials_in, invalid_entry, key_entry, removed_entry
from keyturn.operations.credentials.session_cache import end_mfa_sessions_of_key
from keyturn.operations.deliver import current_delivery, known_delivery, require_known_file, withdraw_from
from keyturn.operations.key_delivery import consent_entry
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.progress import progress_of
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.status import ProfilesByLine, profiles_by_line
from keyturn.storage import managed_profiles
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.vault.vault import Vault

Sections = Mapping[str, tuple[RemovedSettings, ...]]
"""Settings to restore, by profile."""

#: Most profiles that the confirmation names one by one; more are counted.
MAX_CONFIRMED_NAMES = 5


@dataclass(frozen=True, slots=True)
class _Removed:
    """Settings and secrets that adopt removed from the profiles to be released."""

    sections: Sections
    entries: Mapping[str, Any] = field(repr=False)
    """All entries of the vault, read once. They hold secrets."""

    def key(self, name: str) -> Mapping[str, str] | None:
        """Return the access key that returns to the files, None if the profile has none."""
        key: Mapping[str, str] | None = self.entries.get(key_entry(name))
        return key or None

    def key_replacements(self, name: str) -> dict[str, str]:
        """Return the current key by the values of the removed one, if the key was rotated."""
        entry, current = self.entries.get(removed_entry(name)), self.key(name)
        old = entry.get("key") if entry else None
        if not old or not current or old == current:
            return {}
        return {old["key_id"]: current["key_id"], old["secret"]: current["secret"]}

    def limited_to(self, names: Collection[str]) -> _Removed:
        """Return the same for some of the profiles."""
        return replace(self, sections={name: of for name, of in self.sections.items() if name in names})


@dataclass(frozen=True, slots=True)
class _FileChange:
    """One file before and after the release."""

    path: Path
    kind: FileKind
    before: Document
    after: bytes = field(repr=False)


@operation("plan-release")
def plan(context: Context, names: Sequence[str], with_dependents: bool = False) -> Plan:  # noqa: FBT001, FBT002  # on the wire
    """Return the changes that releasing `names` would make.

    :param with_dependents: release also the managed profiles that get their sessions from `names`, directly
        or through others, as adopt took them along.

    A profile whose definition was lost can be released as long as the vault holds its removed settings.

    :raises NotFound: if a profile is not managed by keyturn.
    :raises NeedsUnlock: if the vault is locked, because it holds the settings to restore.
    """
    inventory = context.read()
    included = _dependents(inventory.definitions.values(), names) if with_dependents else ()
    removed = _removed(context, inventory, (*names, *included))
    return _plan_of(context, inventory, removed, included)


def _plan_of(context: Context, inventory: Inventory, removed: _Removed, included: Sequence[str]) -> Plan:
    """Return the changes of a release as they are shown.

    :param included: the profiles that are released as dependents of the requested ones.
    """
    sections = removed.sections
    requested = [name for name in sections if name not in included]
    dependents = _dependents(inventory.definitions.values(), requested)
    changes = _file_changes(context, inventory, removed, tuple(sections)[::-1])
    _require_keys_restored(inventory, removed, changes)
    group_writes = write_check.find_group_writes(
        context, "Could not release", _written_files(inventory, removed)
    )
    return Plan(
        action="release",
        names=tuple(sections),
        dependants=tuple(included),
        diff=tuple(
            line
            for change in changes
            for line in diff.diff(context.paths.display(change.path), change.before.data, change.after)
        ),
        secrets=tuple(
            f"{name}: secret access key of {masked_key_id(key['key_id'])} returns to the file in plaintext"
            for name in sections
            if (key := removed.key(name)) is not None
        ),
        warnings=(*write_check.warnings(group_writes, context.paths), *_warnings(inventory, sections)),
        needs_vault=True,
        digest=inventory.digest(),
        group_write=group_writes,
        remaining=() if included else dependents,
    )


def _dependents(definitions: Iterable[ManagedProfile], names: Sequence[str]) -> tuple[str, ...]:
    """Return the managed profiles whose chain of sources leads to one of `names`, nearest first."""
    by_source: dict[str, list[str]] = {}
    for definition in definitions:
        if definition.source_profile:
            by_source.setdefault(definition.source_profile, []).append(definition.name)
    found = dict.fromkeys(names)
    queue = list(found)
    for name in queue:
        new = [other for other in by_source.get(name, ()) if other not in found]
        found |= dict.fromkeys(new)
        queue += new
    return tuple(found)[len(dict.fromkeys(names)) :]


def _warnings(inventory: Inventory, sections: Sections) -> tuple[str, ...]:
    lines = profiles_by_line(inventory.shared.profiles)
    new_names = {name: _new_name(lines, name) for name in sections}
    return tuple(
        f"{name} was renamed to {new_name} in the files and is released there"
        for name, new_name in new_names.items()
        if new_name
    )


@operation("release")
def release(
    context: Context,
    names: Sequence[str],
    digest: str,
    *,
    passphrase: Secret | None = None,
    recovery_key: Secret | None = None,
    words: str | None = None,
    group_write: Sequence[str] = (),
    change: str = "",
    dependents: Sequence[str] = (),
) -> tuple[str, ...]:
    """Execute what :func:`plan` returned. All profiles are read and written together. If it is stopped, those
    that were prepared until then are released.

    :param passphrase: the vault's passphrase; required if a secret leaves the vault and the vault has a
        passphrase slot.
    :param recovery_key: accepted in place of the passphrase.
    :param words: :func:`confirmation`; required instead if there is only a keyring slot.
    :param group_write: paths whose group write permission the plan removes.
    :param change: the plan's :attr:`~keyturn.model.profile.Plan.change`. If the files have changed, the
        release goes on as long as its own change is still the same.
    :param dependents: those of `names` that are the plan's dependants.
    :returns: the released profiles.
    :raises FileChanged: if the change is another one than the plan's; nothing has changed then.
    :raises Stopped: if it was stopped before the first profile.
    :raises NeedsUnlock: if the passphrase is required.
    :raises WrongPassphrase: if it is not this vault's.
    :raises NeedsConfirmation: if the words are required; the hint contains them.
    """
    # Before the lock, because the passphrase takes a second of work, for which others would wait.
    is_confirmed = _leaves_vault(context.vault.keys(), names)
    if is_confirmed:
        confirm(context, tuple(dict.fromkeys(names)), passphrase, recovery_key, words)
    with context.state_lock():
        inventory = context.read()
        removed = _removed(context, inventory, names)
        if inventory.digest() != digest and (
            not change or _plan_of(context, inventory, removed, dependents).change != change
        ):
            raise plan_outdated("Could not release")
        if not is_confirmed and _leaves_vault(removed.entries, names):
            confirm(context, tuple(removed.sections), passphrase, recovery_key, words)
        # The last one first, because adopt captured each section after those before it had been edited.
        last_first = tuple(removed.sections)[::-1]
        released: list[str] = []

        def next_names() -> Iterator[str]:
            for name in context.steps.each("releasing", last_first):
                released.append(name)
                yield name

        changes = _file_changes(context, inventory, removed, next_names())
        if not released:
            raise Stopped("Release stopped", "nothing has changed")
        removed = removed.limited_to(released)
        _require_keys_restored(inventory, removed, changes)
        files = _written_files(inventory, removed)
        write_check.remove_group_writes(context, "Could not release", files, group_write)
        for name in removed.sections:
            require_known_file(context, inventory, name, f"Could not release {name}")
        try:
            with _rollback_on_error(context, inventory, removed) as edits:
                for file in changes:
                    if file.path not in files:
                        continue
                    try:
                        edits[file.path] = _write(context, inventory, removed, file)
                    except WriteNotConfirmed as error:
                        edits[file.path] = Edit(error.before, error.after)
                        raise
                context.change_definitions(
                    lambda definitions: managed_profiles.remove(definitions, removed.sections)
                )
        except KeyturnError as error:
            context.record_failures("release", dict.fromkeys(removed.sections, error))
            raise
        _remove_from_vault(context, removed.sections)
    context.log_success_of_all(tuple(removed.sections), "release", "settings restored to the shared files")
    return tuple(removed.sections)


def _leaves_vault(entries: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return True if an access key of `names` is in the vault, so that the release writes it in plaintext."""
    return any(entries.get(key_entry(name)) for name in names)


def confirmation(names: Sequence[str]) -> str:
    """Return the text that confirms the release of plaintext secrets if there is only a keyring slot."""
    if len(names) > MAX_CONFIRMED_NAMES:
        return f"release {len(names)} profiles"
    return "release " + " ".join(names)


def confirm(
    context: Context,
    names: Sequence[str],
    passphrase: Secret | None,
    recovery_key: Secret | None,
    words: str | None,
) -> None:
    """Check that the user confirmed writing a plaintext secret to the files (safety, requirement 11)."""
    if recovery_key is not None:
        Vault(context.paths.vault_dir).unlock(recovery_key=recovery_key)
        return
    if "passphrase" in context.vault.slots():
        if passphrase is None:
            raise NeedsUnlock(
                "Could not release",
                "a secret leaves the vault in plaintext, which requires the vault's passphrase",
                "Type it, or use --passphrase-fd N",
            )
        Vault(context.paths.vault_dir).unlock(passphrase=passphrase)
        return
    expected = confirmation(names)
    if words != expected:
        raise NeedsConfirmation(
            "Could not release",
            "a secret leaves the vault in plaintext, which requires confirmation",
            f"Type, or pass with --confirm: {expected}",
        )


def _removed(context: Context, inventory: Inventory, names: Sequence[str]) -> _Removed:
    """Return what adopt removed from the profiles.

    :raises NotFound: if a profile is not managed by keyturn.
    :raises RotationHalted: if a rotation of a key is unfinished.
    :raises ChangeRefused: if a profile's settings or previous key would be lost.
    :raises VaultCorrupt: if its entry is invalid.
    """
    entries = context.vault.keys()
    sections: dict[str, tuple[RemovedSettings, ...]] = {}
    lines = profiles_by_line(inventory.shared.profiles)
    _require_no_rotation(context, inventory, tuple(dict.fromkeys(names)))
    for name in dict.fromkeys(names):
        entry = entries.get(removed_entry(name))
        if entry is None:
            context.managed_profile(inventory, name)
            _require_no_line(inventory, name, lines)
        try:
            removed = entry["sections"] if entry is not None else ()
            sections[name] = tuple(from_table(RemovedSettings, table) for table in removed)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise invalid_entry(removed_entry(name)) from None
        for held in (entries.get(key_entry(name)), entry.get("key") if entry else None):
            if held:
                credentials_in(name, held)
    return _Removed(sections, entries)


def _require_no_rotation(context: Context, inventory: Inventory, names: Sequence[str]) -> None:
    """Check that no rotation is in progress, because it is undecided which of the two keys would be restored.

    :raises RotationHalted: if a rotation of a key is unfinished.
    """
    for name, record in record_store.pending_records(context, inventory, names).items():
        raise RotationHalted(
            f"Could not release {name}",
            f"a rotation of its key is pending at step {record.step}",
            progress_of(record).summary_parts(),
        )
    previous = vault_keys.previous_keys(context)
    for name in names if previous else ():
        definition = inventory.definitions.get(name)
        entry = definition.key if definition is not None and definition.key else name
        if entry in previous:
            vault_keys.require_no_previous_key(context, entry, name)


def _require_no_line(inventory: Inventory, name: str, lines: ProfilesByLine) -> None:
    """Check that no process line would remain for a profile whose removed settings are missing from the
    vault, for example after restoring an older generation.

    :raises ChangeRefused: if there is such a line.
    """
    for other in lines.get(name, ()):
        origin = inventory.shared.origin(other, LINE_KEY)
        location = f"line {origin.line} of {origin.file}" if origin else "its credential_process line"
        raise ChangeRefused(
            f"Could not release {name}",
            "the vault does not contain its original settings",
            f"Remove {location} manually, then release it again; it will need a new access key",
        )


def _files(inventory: Inventory, removed: _Removed) -> tuple[tuple[Path, FileKind], ...]:
    """Return the files to write. The config file is last, so that the key is readable before the process line
    is removed.
    """
    files = {
        (Path(settings.path), settings.kind) for group in removed.sections.values() for settings in group
    }
    if any(known_delivery(inventory, name) for name in removed.sections):
        files.add((inventory.path(FileKind.CREDENTIALS), FileKind.CREDENTIALS))
    return tuple(sorted(files, key=lambda file: file[1] is FileKind.CONFIG))


def _written_files(inventory: Inventory, removed: _Removed) -> list[Path]:
    return [path for path, _ in _files(inventory, removed)]


def _document(context: Context, inventory: Inventory, kind: FileKind, path: Path) -> Document:
    if inventory.path(kind) != path:
        raise ChangeRefused(
            "Could not release",
            f"the settings belong to {path}, but AWS tools now read {inventory.path(kind)}",
            "Set HOME, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE to the values at the time "
            "of the adoption",
        )  # fmt: skip
    inventory.require_parsable(kind, context.paths)
    return inventory.document_or_empty(kind)


class _Restoration:
    """One file while the settings of profiles are restored to it. The cost of each profile depends on its own
    sections alone.
    """

    def __init__(self, document: Document, inventory: Inventory, removed: _Removed) -> None:
        self.editor = Editor(document)
        self._inventory = inventory
        self._removed = removed
        self._renamed = profiles_by_line(inventory.shared.profiles)
        self._headers: dict[str, str] = {}
        """Header of each profile's section."""
        self._lines: dict[str, list[str]] = {}
        """Headers of the sections with a process line, by the profile that it calls keyturn for."""
        for section in document.sections:
            profile = profile_of(document.kind, section.name)
            if profile is not None:
                self._headers.setdefault(profile, section.name)
            self._note_line(section.name, section.values)

    def restore(self, name: str) -> None:
        """Restore the settings of one profile, and remove its delivered session and process lines."""
        record = current_delivery(self._inventory, name)
        own_key_ids = record.key_ids if record else ()
        if record is not None and self.editor.kind is FileKind.CREDENTIALS:
            withdraw_from(self.editor, self._inventory, record)
        settings = [
            settings
            for settings in self._removed.sections[name]
            if settings.path == self.editor.document.path
        ]
        for removed in reversed(settings):
            current = self._with_current_name(removed, _new_name(self._renamed, name))
            adopt_edits.restore(
                self.editor,
                current,
                profile=name,
                own_key_ids=own_key_ids,
                replacements=self._removed.key_replacements(name),
            )
            self._note_line(current.section, self.editor.values(current.section))
        header = self._headers.get(name)
        if header is not None and not settings:
            adopt_edits.remove_process_line(self.editor, header, name, own_key_ids)
        for header in self._lines.get(name, ()):
            adopt_edits.remove_process_line(self.editor, header, name, ())

    def _note_line(self, header: str, values: Mapping[str, str]) -> None:
        profile = profile_of_line(values[LINE_KEY]) if LINE_KEY in values else None
        if profile is not None:
            self._lines.setdefault(profile, []).append(header)

    def _with_current_name(self, settings: RemovedSettings, new_name: str | None) -> RemovedSettings:
        """Return the settings with the current name of their section."""
        if new_name is None or self.editor.has_section(settings.section):
            return settings
        header = self._headers.get(new_name) or header_for(settings.kind, new_name)
        return replace(settings, section=header)


def _new_name(lines: ProfilesByLine, name: str) -> str | None:
    """Return the name that the user gave to a managed profile in the shared files, recognized by its process
    line.

    Return None if the profile was not renamed, or several profiles have its line.
    """
    names = lines.get(name, [])
    return names[0] if len(names) == 1 and names != [name] else None


def _file_changes(
    context: Context, inventory: Inventory, removed: _Removed, names: Iterable[str]
) -> tuple[_FileChange, ...]:
    """Return the files with the settings of `names` restored.

    :param names: profiles in reverse order of their adoption.
    """
    documents = {
        (path, kind): _document(context, inventory, kind, path) for path, kind in _files(inventory, removed)
    }
    files = {file: _Restoration(document, inventory, removed) for file, document in documents.items()}
    for name in names:
        for file in files.values():
            file.restore(name)
    return tuple(
        _FileChange(path, kind, document, files[path, kind].editor.finish())
        for (path, kind), document in documents.items()
    )


def _require_keys_restored(inventory: Inventory, removed: _Removed, changes: Sequence[_FileChange]) -> None:
    """Check that each key that leaves the vault is in a file.

    :raises ChangeRefused: if one would be in none of them.
    """
    written = {change.path for change in changes}
    unchanged = [document for kind in FileKind if (document := inventory.document(kind)) is not None]
    documents = [change.before.reparse(change.after) for change in changes]
    documents += [document for document in unchanged if Path(document.path) not in written]
    values = {
        value for document in documents for section in document.sections for value in section.values.values()
    }
    for name in removed.sections:
        key = removed.key(name)
        if key is not None and not all(
            key[part] in values or any(key[part].encode() in document.data for document in documents)
            for part in ("key_id", "secret")
        ):
            raise ChangeRefused(
                f"Could not release {name}",
                f"the original place of {masked_key_id(key['key_id'])} is unknown, so the key would be lost",
                ("It stays in the vault. To back it up, ", THEN_RUN, Remedy("vault export", flag="FILE")),
            )


@contextlib.contextmanager
def _rollback_on_error(
    context: Context, inventory: Inventory, removed: _Removed
) -> Iterator[dict[Path, Edit]]:
    """Undo all edits if one fails, and report files that cannot be restored because they have changed since.

    Yields the table in which the caller records each edit.
    """
    keys = (removed.key(name) for name in removed.sections)
    secrets = [key["secret"].encode() for key in keys if key is not None]
    edits: dict[Path, Edit] = {}
    try:
        yield edits
    except KeyturnError as error:
        not_undone = [
            path
            for path, kind in reversed(_files(inventory, removed))
            if not _undo_edit(context, path, kind, edits.get(path), secrets)
        ]
        if not_undone:
            places = " and ".join(context.paths.display(path) for path in not_undone)
            error.why += f"; the plaintext secrets restored to {places} before that are still there"
            error.hint = "Fix the cause, then release it again"
        raise


def _undo_edit(
    context: Context, path: Path, kind: FileKind, edit: Edit | None, secrets: Sequence[bytes]
) -> bool:
    """Undo an edit and return True, or return False if it remains. An edit that failed may have been written
    without confirmation.
    """
    try:
        now = context.files.read(path)
        if edit is None:
            return not any(secret in (now or b"") for secret in secrets)
        expect = None if now is None and not edit.after else edit.after
        context.files.edit(path, lambda _: edit.before or b"", kind=kind, expect=expect)
    except KeyturnError:
        return False
    return True


def _write(context: Context, inventory: Inventory, removed: _Removed, file: _FileChange) -> Edit:
    def change(document: Document) -> bytes:
        if document.data == file.before.data:
            return file.after
        restoration = _Restoration(document, inventory, removed)
        for name in reversed(tuple(removed.sections)):
            restoration.restore(name)
        return restoration.editor.finish()

    edit = context.files.edit(file.path, change, kind=file.kind, earlier=file.before)
    created = any(
        settings.file_made
        for group in removed.sections.values()
        for settings in group
        if Path(settings.path) == file.path
    )
    if created and edit.after == b"":
        context.files.remove(file.path, expect=edit.after)
    return edit


def _remove_from_vault(context: Context, sections: Sections) -> None:
    """Delete the restored settings, keys and sessions from the vault. If another profile still has lines in a
    file that adopt created, mark that profile as the file's creator.
    """
    created = {settings.path for group in sections.values() for settings in group if settings.file_made}

    def edit(entries: dict[str, Any]) -> None:
        for name in sections:
            entries.pop(removed_entry(name), None)
            entries.pop(key_entry(name), None)
            entries.pop(consent_entry(name), None)
        for entry in entries.values():
            for table in entry.get("sections", ()) if isinstance(entry, dict) else ():
                if table["path"] in created:
                    table["file_made"] = True
                    created.discard(table["path"])

    def forget(sessions: dict[str, Any]) -> None:
        for name in sections:
            sessions.pop(name, None)

    context.vault.change_sessions(forget, must_save=True)

    def update_index(index: Index) -> None:
        for name in sections:
            index.profiles.pop(name, None)
            key = index.keys.pop(name, None)
            if key is not None:
                end_mfa_sessions_of_key(index, key.key_id)

    context.index.change(update_index)
    # This is last, because an interrupted release can be repeated as long as the vault holds the settings.
    context.vault.change_keys(edit)
    record_store.forget_finished_rotations(context, list(sections))
