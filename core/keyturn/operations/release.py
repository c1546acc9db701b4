"""Release: restore the settings that adopt removed. A secret is deleted from the vault only after the files
hold it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keyturn.awsconfig import diff
from keyturn.awsconfig.document import Document, FileKind, header_for
from keyturn.awsconfig.writer import Edit
from keyturn.model.errors import (
    THEN_RUN,
    ChangeRefused,
    FileChanged,
    KeyturnError,
    NeedsConfirmation,
    NeedsUnlock,
    Remedy,
    RotationHalted,
    WriteNotConfirmed,
)
from keyturn.model.json_codec import from_table
from keyturn.model.profile import Plan
from keyturn.model.secret import Secret
from keyturn.model.text import masked_key_id
from keyturn.operations import adopt_edits, write_check
from keyturn.operations.adopt_edits import LINE_KEY, RemovedSettings
from keyturn.operations.context import Context, credentials_in, invalid_entry, key_entry, removed_entry
from keyturn.operations.credentials.session_cache import end_mfa_sessions_of_key
from keyturn.operations.deliver import current_delivery, require_known_file, withdraw
from keyturn.operations.key_delivery import consent_entry
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store, vault_keys
from keyturn.operations.rotation.progress import progress_of
from keyturn.profiles.inventory import Inventory, own_section
from keyturn.profiles.status import profiles_with_line
from keyturn.storage import managed_profiles
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn.vault.vault import Vault

Sections = Mapping[str, tuple[RemovedSettings, ...]]
"""Settings to restore, by profile."""


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
    dependents = _dependents(inventory.definitions.values(), names)
    included = dependents if with_dependents else ()
    sections = _removed_sections(context, inventory, (*names, *included))
    changes = _file_changes(context, inventory, sections)
    keys = {name: context.vault.key(key_entry(name)) for name in sections}
    group_writes = write_check.find_group_writes(context, "Could not release", _written_files(sections))
    return Plan(
        action="release",
        names=tuple(sections),
        dependants=included,
        diff=tuple(
            line
            for path, before, after in changes
            for line in diff.diff(context.paths.display(path), before, after)
        ),
        secrets=tuple(
            f"{name}: secret access key of {masked_key_id(key['key_id'])} returns to the file in plaintext"
            for name, key in keys.items()
            if key
        ),
        warnings=(*write_check.warnings(group_writes, context.paths), *_warnings(inventory, sections)),
        needs_vault=True,
        digest=inventory.digest(),
        group_write=group_writes,
        remaining=() if with_dependents else dependents,
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
    new_names = {name: _new_name(inventory, name) for name in sections}
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
) -> tuple[str, ...]:
    """Execute what :func:`plan` returned.

    :param passphrase: the vault's passphrase; required if a secret leaves the vault and the vault has a
        passphrase slot.
    :param recovery_key: accepted in place of the passphrase.
    :param words: `release NAME...`; required instead if there is only a keyring slot.
    :param group_write: paths whose group write permission the plan removes.
    :raises FileChanged: if the files have changed since the plan.
    :raises NeedsUnlock: if the passphrase is required.
    :raises WrongPassphrase: if it is not this vault's.
    :raises NeedsConfirmation: if the words are required; the hint contains them.
    """
    with context.state_lock():
        inventory = context.read()
        if inventory.digest() != digest:
            raise FileChanged(
                "Could not release",
                "the files have changed since the plan was shown",
                "Review the plan again, then confirm",
            )
        sections = _removed_sections(context, inventory, names)
        if any(context.vault.key(key_entry(name)) for name in sections):
            confirm(context, tuple(sections), passphrase, recovery_key, words)
        _file_changes(context, inventory, sections)
        files = _written_files(sections)
        write_check.remove_group_writes(context, "Could not release", files, group_write)
        for name in sections:
            require_known_file(context, inventory, name, f"Could not release {name}")
        for name in sections:
            withdraw(context, inventory, name)
        try:
            with _rollback_on_error(context, sections) as edits:
                for path, kind in _files(sections):
                    try:
                        edits[path] = _write(context, inventory, sections, path, kind)
                    except WriteNotConfirmed as error:
                        edits[path] = Edit(error.before, error.after)
                        raise
                context.change_definitions(lambda definitions: managed_profiles.remove(definitions, sections))
        except KeyturnError as error:
            for name in sections:
                context.record_failure(name, "release", error)
            raise
        _remove_from_vault(context, sections)
    for name in sections:
        context.log_success(name, "release", "settings restored to the shared files")
    return tuple(sections)


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
    expected = "release " + " ".join(names)
    if words != expected:
        raise NeedsConfirmation(
            "Could not release",
            "a secret leaves the vault in plaintext, which requires confirmation",
            f"Type, or pass with --confirm: {expected}",
        )


def _removed_sections(context: Context, inventory: Inventory, names: Sequence[str]) -> Sections:
    sections: dict[str, tuple[RemovedSettings, ...]] = {}
    for name in dict.fromkeys(names):
        _require_no_rotation(context, name)
        entry = context.vault.key(removed_entry(name))
        if entry is None:
            context.managed_profile(inventory, name)
            _require_no_line(inventory, name)
        key = context.vault.key(key_entry(name))
        try:
            removed = entry["sections"] if entry is not None else ()
            sections[name] = tuple(from_table(RemovedSettings, table) for table in removed)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise invalid_entry(removed_entry(name)) from None
        for held in (key, entry.get("key") if entry else None):
            if held:
                credentials_in(name, held)
    return sections


def _require_no_rotation(context: Context, name: str) -> None:
    """Check that no rotation is in progress, because it is undecided which of the two keys would be restored.

    :raises RotationHalted: if a rotation of the key is unfinished.
    """
    record = record_store.pending_record(context, name)
    if record is not None:
        raise RotationHalted(
            f"Could not release {name}",
            f"a rotation of its key is pending at step {record.step}",
            progress_of(record).summary_parts(),
        )
    definition = context.read().definitions.get(name)
    vault_keys.require_no_previous_key(
        context, definition.key if definition is not None and definition.key else name, name
    )


def _require_no_line(inventory: Inventory, name: str) -> None:
    """Check that no process line would remain for a profile whose removed settings are missing from the
    vault, for example after restoring an older generation.

    :raises ChangeRefused: if there is such a line.
    """
    for other in profiles_with_line(inventory.shared.profiles, name):
        origin = inventory.shared.origin(other, LINE_KEY)
        location = f"line {origin.line} of {origin.file}" if origin else "its credential_process line"
        raise ChangeRefused(
            f"Could not release {name}",
            "the vault does not contain its original settings",
            f"Remove {location} manually, then release it again; it will need a new access key",
        )


def _files(sections: Sections) -> tuple[tuple[Path, FileKind], ...]:
    """Return the files to write. The config file is last, so that the key is readable before the process line
    is removed.
    """
    files = {(Path(settings.path), settings.kind) for group in sections.values() for settings in group}
    return tuple(sorted(files, key=lambda file: file[1] is FileKind.CONFIG))


def _written_files(sections: Sections) -> list[Path]:
    return [path for path, _ in _files(sections)]


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


def _released_document(
    document: Document, context: Context, inventory: Inventory, sections: Sections, path: Path
) -> bytes:
    """Return the file with all settings restored, in reverse order of their removal."""
    for name, group in reversed(list(sections.items())):
        replacements = _key_replacements(context, name)
        record = current_delivery(inventory, name)
        own_key_ids = record.key_ids if record else ()
        current_section = own_section(document, document.kind, name)
        new_name = _new_name(inventory, name)
        of_file = [settings for settings in group if Path(settings.path) == path]
        for settings in reversed(of_file):
            current = _current_line(document, settings, new_name)
            data = adopt_edits.restore(
                document, current, profile=name, own_key_ids=own_key_ids, replacements=replacements
            )
            document = document.reparse(data)
        if current_section and not of_file:
            data = adopt_edits.without_process_line(document, current_section, name, own_key_ids)
            document = document.reparse(data)
        for section in [section.name for section in document.sections]:
            document = document.reparse(adopt_edits.without_process_line(document, section, name, ()))
    return document.data


def _new_name(inventory: Inventory, name: str) -> str | None:
    """Return the name that the user gave to a managed profile in the shared files, recognized by its process
    line.

    Return None if the profile was not renamed, or several profiles have its line.
    """
    names = profiles_with_line(inventory.shared.profiles, name)
    return names[0] if len(names) == 1 and names != [name] else None


def _current_line(document: Document, settings: RemovedSettings, new_name: str | None) -> RemovedSettings:
    """Return the settings with the current name of their section."""
    if new_name is None or document.section(settings.section) is not None:
        return settings
    section = own_section(document, settings.kind, new_name) or header_for(settings.kind, new_name)
    return replace(settings, section=section)


def _file_changes(
    context: Context, inventory: Inventory, sections: Sections
) -> tuple[tuple[Path, bytes, bytes], ...]:
    """Return path, old and new content of each file to write.

    :raises ChangeRefused: if a key would be in none of the files after it leaves the vault.
    """
    changes = []
    for path, kind in _files(sections):
        before = _document(context, inventory, kind, path)
        changes.append((path, before.data, _released_document(before, context, inventory, sections, path)))
    written = {path for path, _, _ in changes}
    documents = [document for kind in FileKind if (document := inventory.document(kind)) is not None]
    texts = [after for _, _, after in changes]
    texts += [document.data for document in documents if Path(document.path) not in written]
    for name in sections:
        key = context.vault.key(key_entry(name))
        if key and not all(
            any(key[part].encode() in text for text in texts) for part in ("key_id", "secret")
        ):
            raise ChangeRefused(
                f"Could not release {name}",
                f"the original place of {masked_key_id(key['key_id'])} is unknown, so the key would be lost",
                ("It stays in the vault. To back it up, ", THEN_RUN, Remedy("vault export", flag="FILE")),
            )
    return tuple(changes)


def _key_replacements(context: Context, name: str) -> dict[str, str]:
    """Return the current key by the values of the removed one, if the key was rotated."""
    entry, current = context.vault.key(removed_entry(name)), context.vault.key(key_entry(name))
    old = entry.get("key") if entry else None
    if not old or not current or old == current:
        return {}
    return {old["key_id"]: current["key_id"], old["secret"]: current["secret"]}


@contextlib.contextmanager
def _rollback_on_error(context: Context, sections: Sections) -> Iterator[dict[Path, Edit]]:
    """Undo all edits if one fails, and report files that cannot be restored because they have changed since.

    Yields the table in which the caller records each edit.
    """
    secrets = [key["secret"].encode() for name in sections if (key := context.vault.key(key_entry(name)))]
    edits: dict[Path, Edit] = {}
    try:
        yield edits
    except KeyturnError as error:
        not_undone = [
            path
            for path, kind in reversed(_files(sections))
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


def _write(context: Context, inventory: Inventory, sections: Sections, path: Path, kind: FileKind) -> Edit:
    edit = context.files.edit(
        path,
        lambda document: _released_document(document, context, inventory, sections, path),
        kind=kind,
        earlier=_document(context, inventory, kind, path),
    )
    created = any(
        settings.file_made for group in sections.values() for settings in group if Path(settings.path) == path
    )
    if created and edit.after == b"":
        context.files.remove(path, expect=edit.after)
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
