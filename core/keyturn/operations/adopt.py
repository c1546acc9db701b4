"""Adopt: move the credentials of native profiles to keyturn. The plan is shown first; then the vault,
`profiles.toml` and the shared files are written in this order.

A crash at any point leaves each profile either native or managed, because a secret is in the vault before any
file loses it and the shared files change last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from keyturn.awsconfig import diff, process_line
from keyturn.awsconfig.document import Document, Editor, FileKind
from keyturn.awsconfig.native_profiles import credential_items, dependants
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.model.errors import (
    RUN,
    ChangeRefused,
    FileChanged,
    KeyturnError,
    Remedy,
    Stopped,
    WriteNotConfirmed,
)
from keyturn.model.json_codec import to_table
from keyturn.model.key_ids import is_long_term
from keyturn.model.profile import Delivery, DiffLine, Key, Kind, Plan, Profile
from keyturn.model.text import masked_key_id
from keyturn.operations import adopt_edits, adopt_warnings, key_metadata, write_check
from keyturn.operations.adopt_edits import LINE_KEY, SectionEdit
from keyturn.operations.context import Context, key_entry, removed_entry
from keyturn.operations.key_delivery import set_consent
from keyturn.operations.operation import operation
from keyturn.operations.rotation import record_store
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.status import why_not_adoptable
from keyturn.storage import managed_profiles
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile

ProfileEdits = Sequence[tuple[FileKind, SectionEdit]]
"""Edits of one profile's sections, config file first."""


@dataclass(frozen=True)
class AdoptionPlan:
    """Changes of an adoption, computed from one inventory."""

    definitions: Mapping[str, ManagedProfile]
    keys: Mapping[str, Mapping[str, str]]
    """New vault entries by profile. They hold plaintext secrets."""
    edits: Mapping[str, ProfileEdits]
    """By profile, as :attr:`definitions`."""
    dependants: tuple[str, ...]
    """Profiles that were not requested but are adopted too, because a requested one is their source."""
    resumed: frozenset[str]
    """Profiles whose adoption was interrupted: they are in the vault and in `profiles.toml`, but their
    settings are still in the shared files.
    """

    def __repr__(self) -> str:
        return f"AdoptionPlan({sorted(self.definitions)})"

    def edits_of(self, kind: FileKind) -> tuple[SectionEdit, ...]:
        """Return the edits of one file."""
        return tuple(edit for edits in self.edits.values() for of, edit in edits if of is kind)

    @property
    def kinds(self) -> tuple[FileKind, ...]:
        """The files that are edited, config file first."""
        return tuple(kind for kind in FileKind if self.edits_of(kind))

    def limited_to(self, names: Collection[str]) -> AdoptionPlan:
        """Return the plan for some of its profiles."""
        return replace(
            self,
            definitions={name: self.definitions[name] for name in self.definitions if name in names},
            keys={name: self.keys[name] for name in self.keys if name in names},
            edits={name: self.edits[name] for name in self.edits if name in names},
            dependants=tuple(name for name in self.dependants if name in names),
            resumed=self.resumed & set(names),
        )


def plan(context: Context, names: Sequence[str], *, session_none: bool = False) -> Plan:
    """Return the changes that adopting `names` would make. Nothing is written.

    :raises NotFound: if a profile does not exist.
    :raises UnsafeFile: if a file that the adoption writes cannot be written.
    :raises KeyturnError: if a profile cannot be adopted.
    """
    inventory = context.read()
    adoption = build_plan(inventory, context.program(), names, session_none=session_none)
    return _plan_of(context, inventory, adoption, session_none=session_none)


def _plan_of(context: Context, inventory: Inventory, adoption: AdoptionPlan, *, session_none: bool) -> Plan:
    """Return the changes of an adoption as they are shown."""
    paths = context.paths
    lines: list[DiffLine] = []
    copies: list[str] = []
    for kind in FileKind:
        before = inventory.document(kind)
        after = adopt_edits.remove_settings(inventory.document_or_empty(kind), adoption.edits_of(kind))
        heading = paths.display(inventory.path(kind))
        lines += diff.diff(heading, before.data if before else None, after)
        copies += adopt_warnings.find_key_copies(after, heading, adoption.keys)
    warnings = adopt_warnings.warnings(inventory, adoption.definitions, session_none=session_none)
    limits = adopt_warnings.client_limits(
        adoption.definitions, inventory.process_line_file(), context.program()
    )
    files = _written_files(inventory, adoption)
    group_writes = write_check.find_group_writes(context, "Could not adopt", files)
    return Plan(
        action="adopt",
        names=tuple(adoption.definitions),
        dependants=adoption.dependants,
        diff=tuple(lines),
        secrets=tuple(
            f"{name}: secret access key of {masked_key_id(key['key_id'])}"
            for name, key in adoption.keys.items()
        ),
        warnings=(*write_check.warnings(group_writes, paths), *copies, *limits, *warnings),
        needs_vault=True,
        digest=inventory.digest(),
        session_none=session_none,
        group_write=group_writes,
    )


def build_plan(
    inventory: Inventory, program: str, names: Sequence[str], *, session_none: bool
) -> AdoptionPlan:
    """Return the definitions, vault entries and file edits for adopting `names` and their dependants."""
    requested = dict.fromkeys(names)
    for name in requested:
        _require_adoptable(inventory, name)
    by_source = dependants(inventory.shared)
    implied = [
        name
        for root in requested
        for name in by_source.get(root, ())
        if name not in requested and why_not_adoptable(inventory.natives[name]) is None
        and (name not in inventory.definitions or is_unfinished(inventory, name))
    ]  # fmt: skip
    implied = list(dict.fromkeys(implied))
    resumed = frozenset(name for name in (*requested, *implied) if name in inventory.definitions)
    definitions: dict[str, ManagedProfile] = {}
    keys: dict[str, Mapping[str, str]] = {}
    edits: dict[str, ProfileEdits] = {}
    for name in (*requested, *implied):
        if name in resumed:
            definitions[name] = inventory.definitions[name]
        else:
            settings, key = inventory.settings(name), _plaintext_key(inventory, name)
            if key is not None:
                keys[name] = key
            definitions[name] = _definition(
                name, inventory.natives[name], settings, key, session_none=session_none
            )
        edits[name] = _edits(inventory, name, process_line.format_line(program, name))
    return AdoptionPlan(definitions, keys, edits, tuple(implied), resumed)


def check(inventory: Inventory, program: str, name: str) -> None:
    """Check that a profile can be adopted by itself.

    :raises KeyturnError: if it cannot.
    """
    _require_adoptable(inventory, name)
    for kind, edit in _edits(inventory, name, process_line.format_line(program, name)):
        document = inventory.document(kind)
        if document is not None and edit.remove:
            adopt_edits.remove_settings(document, (edit,))


def _require_adoptable(inventory: Inventory, name: str) -> None:
    what, row = f"Could not adopt {name}", inventory.row(name)
    if is_unfinished(inventory, name):
        row = inventory.natives[name]
    refusal = why_not_adoptable(row)
    if refusal is not None:
        raise KeyturnError(what, refusal.why, refusal.hint)
    if row.kind is Kind.IAM_KEY and _plaintext_key(inventory, name) is None:
        raise KeyturnError(
            what,
            "its key is not the long-term key of an IAM user (AKIA…, without a session token in either file)",
            "keyturn stores AWS keys only; correct the profile if it has one",
        )
    for kind in FileKind:
        document = inventory.document(kind)
        if document is not None and any(key in document.defaults for key in _CREDENTIAL_KEYS):
            raise ChangeRefused(
                what,
                f"[DEFAULT] of {document.path} sets credentials for every profile of the file",
                "Move them to a profile of their own first",
            )


_CREDENTIAL_KEYS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "role_arn",
    "source_profile",
)


def _plaintext_key(inventory: Inventory, name: str) -> Mapping[str, str] | None:
    """Return the profile's plaintext access key as a vault entry, or None if it has no long-term key."""
    credentials = inventory.static_credentials(name)
    if (
        credentials is None
        or credentials.session_token is not None
        or not is_long_term(credentials.access_key_id)
    ):
        return None
    return {"key_id": credentials.access_key_id, "secret": credentials.secret_access_key.reveal()}


def _definition(
    name: str,
    native: Profile,
    settings: Mapping[str, object],
    key: Mapping[str, str] | None,
    *,
    session_none: bool,
) -> ManagedProfile:
    def text(setting: str) -> str | None:
        value = settings.get(setting)
        return value if isinstance(value, str) and value else None

    duration = text("duration_seconds") or ""
    role = native.kind is Kind.ROLE
    return ManagedProfile(
        name=name,
        kind=native.kind,
        key=name if key is not None else None,
        role_arn=text("role_arn") if role else None,
        source_profile=text("source_profile") if role else None,
        credential_source=text("credential_source") if role else None,
        external_id=text("external_id") if role else None,
        mfa_serial=text("mfa_serial"),
        role_session_name=text("role_session_name") if role else None,
        duration_seconds=int(duration) if duration.isascii() and duration.isdigit() else None,
        session_none=session_none and not role,
    )


def _edits(inventory: Inventory, name: str, line: str) -> ProfileEdits:
    """Return one profile's edits: its credential settings are removed from both files, and the process line
    is added.
    """
    line_file = inventory.process_line_file()
    inventory.require_file(line_file)
    items = credential_items(inventory.shared, name)
    edits = []
    for kind in FileKind:
        keys = tuple(item.key for item in items if item.kind is kind)
        own_line = line if kind is line_file else None
        if keys or own_line is not None:
            edits.append((kind, SectionEdit(inventory.header(kind, name), keys, own_line)))
    return edits


def _written_files(inventory: Inventory, adoption: AdoptionPlan) -> list[Path]:
    """Return the shared files that an adoption edits."""
    return [inventory.path(kind) for kind in adoption.kinds]


@operation("adopt")
def adopt(
    context: Context,
    names: Sequence[str],
    digest: str,
    *,
    session_none: bool = False,
    group_write: Sequence[str] = (),
    change: str = "",
) -> tuple[str, ...]:
    """Execute what :func:`plan` returned. All profiles are read, written and verified together. If it is
    stopped, those that were prepared until then are adopted.

    :param digest: the plan's digest.
    :param group_write: paths whose group write permission the plan removes.
    :param change: the plan's :attr:`~keyturn.model.profile.Plan.change`. If the files have changed, the
        adoption goes on as long as its own change is still the same.
    :returns: the adopted profiles.
    :raises FileChanged: if the change is another one than the plan's; nothing has changed then.
    :raises Stopped: if it was stopped before the first profile.
    :raises ChangeRefused: if a file cannot be written safely; all files are restored.
    """
    with context.state_lock():
        inventory = context.read()
        inventory.require_definitions()
        adoption = build_plan(inventory, context.program(), names, session_none=session_none)
        if inventory.digest() != digest and (
            not change or _plan_of(context, inventory, adoption, session_none=session_none).change != change
        ):
            raise plan_outdated("Could not adopt")
        for kind in adoption.kinds:
            inventory.require_parsable(kind, context.paths)
        prepared = _prepare(context, inventory, adoption)
        adoption = adoption.limited_to(prepared.removed)
        files = _written_files(inventory, adoption)
        write_check.remove_group_writes(context, "Could not adopt", files, group_write)
        entries = context.vault.keys() if adoption.resumed else {}
        for name in adoption.resumed:
            require_all_in_vault(name, entries.get(removed_entry(name)), prepared.removed.pop(name))
        record_store.forget_finished_rotations(context, list(adoption.definitions))
        _store_in_vault(context, adoption, prepared.removed)
        context.change_definitions(lambda definitions: definitions.update(adoption.definitions))
        inventory = _write_files(context, inventory, adoption, prepared)
    context.log_success_of_all(tuple(adoption.definitions), "adopt", "settings moved to keyturn")
    key_metadata.refresh_key_metadata(
        context, inventory, [(definition, None) for definition in adoption.definitions.values()]
    )
    return tuple(adoption.definitions)


def plan_outdated(what: str) -> FileChanged:
    """Return the error for a plan that another change has overtaken."""
    return FileChanged(
        what, "the files have changed since the plan was shown", "Review the plan again, then confirm"
    )


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An adoption before anything is written."""

    removed: dict[str, list[dict[str, Any]]]
    """Settings to be removed by profile, in the form of vault entries."""
    files: Mapping[FileKind, bytes]
    """The files after the adoption, if they are still as they were read."""


def _prepare(context: Context, inventory: Inventory, adoption: AdoptionPlan) -> _Prepared:
    """Capture what is removed from the files, and edit them in memory, until the operation is stopped.

    :raises Stopped: if it was stopped before the first profile.
    :raises ChangeRefused: if a file cannot be edited.
    """
    removed: dict[str, list[dict[str, Any]]] = {}
    editors = {kind: Editor(inventory.document_or_empty(kind)) for kind in adoption.kinds}
    created = {kind for kind in adoption.kinds if inventory.document(kind) is None}
    for name in context.steps.each("adopting", tuple(adoption.definitions)):
        removed[name] = []
        for kind, edit in adoption.edits[name]:
            settings = adopt_edits.capture_removed(editors[kind], edit)
            removed[name].append(to_table(replace(settings, file_made=kind in created)))
            created.discard(kind)
            adopt_edits.remove(editors[kind], edit)
    if not removed:
        raise Stopped("Adoption stopped", "nothing has changed")
    return _Prepared(removed, {kind: editor.finish() for kind, editor in editors.items()})


def _store_in_vault(
    context: Context, adoption: AdoptionPlan, removed: Mapping[str, list[dict[str, Any]]]
) -> None:
    """Store keys and removed settings in the vault, and read the keys back."""

    def edit(entries: dict[str, Any]) -> None:
        for name, key in adoption.keys.items():
            entries[key_entry(name)] = dict(key)
        for name, sections in removed.items():
            entries[removed_entry(name)] = {"sections": sections, "key": dict(adoption.keys.get(name, {}))}
        for definition in adoption.definitions.values():
            set_consent(entries, definition, given=definition.session_none)

    generation = context.vault.change_keys(edit)
    stored = context.vault.keys() if adoption.keys else {}
    for name, key in adoption.keys.items():
        if stored.get(key_entry(name)) != dict(key):
            raise KeyturnError(
                "Could not adopt",
                "the vault returned another key than the one stored",
                Remedy("vault status"),
            )

    def update_index(index: Index) -> Index:
        for name, key in adoption.keys.items():
            index.keys[name] = Key(key["key_id"])
        for definition in adoption.definitions.values():
            index.update(definition.name, key_consent=definition.session_none)
        return index.with_generation(generation)

    context.index.change(update_index)


def _write_files(
    context: Context, inventory: Inventory, adoption: AdoptionPlan, prepared: _Prepared
) -> Inventory:
    """Edit the shared files and check that botocore resolves the result. If either fails, restore all files.
    Return the inventory after the adoption.

    If another program changed a file in between, so that it cannot be restored, the profiles stay managed,
    because they can be released then.
    """
    written: list[tuple[FileKind, bytes | None, bytes]] = []
    try:
        for kind in adoption.kinds:
            before, edits = inventory.document(kind), adoption.edits_of(kind)

            def change(
                document: Document,
                edits: tuple[SectionEdit, ...] = edits,
                before: Document | None = before,
                after: bytes = prepared.files[kind],
            ) -> bytes:
                if document.data == (before.data if before is not None else b""):
                    return after
                _require_planned_values(before, document, edits)
                return adopt_edits.remove_settings(document, edits)

            edit = context.files.edit(inventory.path(kind), change, kind=kind, earlier=before)
            written.append((kind, edit.before, edit.after))
        adopted = context.read(inventory)
        if not adopted.shared.problems:
            _verify(context, adoption)
        return adopted
    except KeyturnError as error:
        if isinstance(error, WriteNotConfirmed):
            written.append((kind, error.before, error.after))
        with contextlib.suppress(FileChanged):
            _roll_back(context, inventory, written)
            added = adoption.definitions.keys() - adoption.resumed
            context.change_definitions(lambda definitions: managed_profiles.remove(definitions, added))
        raise


def _require_planned_values(before: Document | None, now: Document, edits: tuple[SectionEdit, ...]) -> None:
    """Check that the settings to be removed are the ones that were stored in the vault.

    :raises FileChanged: if one of them has changed.
    """
    for edit in edits:
        planned, current = (_settings_in(document, edit) for document in (before, now))
        if current and current != planned:
            raise FileChanged(
                "Could not adopt",
                f"[{edit.section}] of {now.path} changed during the adoption",
                "Review the plan again, then confirm",
            )


def _settings_in(document: Document | None, edit: SectionEdit) -> dict[str, str]:
    values = document.values(edit.section) if document is not None else {}
    return {key: value for key, value in values.items() if key in edit.remove}


def _roll_back(
    context: Context, inventory: Inventory, written: list[tuple[FileKind, bytes | None, bytes]]
) -> None:
    for kind, before, after in reversed(written):
        path = inventory.path(kind)
        if before is None:
            context.files.remove(path, expect=after)
        else:
            context.files.edit(path, lambda _, before=before: before, kind=kind, expect=after)  # type: ignore[misc]  # a default argument binds the loop variable


def _verify(context: Context, adoption: AdoptionPlan) -> None:
    """Resolve each adopted profile with botocore, which must find keyturn's process line."""
    names = tuple(adoption.definitions)
    providers = context.resolved_providers(names)
    for name, (method, line) in zip(context.steps.show("verifying", names), providers, strict=True):
        if method != "custom-process" or not process_line.is_keyturn_process_line(line, name):
            raise ChangeRefused(
                f"Could not adopt {name}",
                f"AWS tools would still get its credentials from {method}",
                (RUN, Remedy("show", name), ", and ", Remedy("release", name), " to undo"),
            )


def is_unfinished(inventory: Inventory, name: str) -> bool:
    """Return True if the shared files still hold the credentials of a managed profile, which then take
    precedence over keyturn.
    """
    definition, native = inventory.definitions.get(name), inventory.natives.get(name)
    if definition is None or native is None or native.problem:
        return False
    return definition.delivery is Delivery.CREDENTIAL_PROCESS and native.kind is definition.kind


def require_all_in_vault(
    name: str, entry: Mapping[str, Any] | None, removed: Sequence[Mapping[str, Any]]
) -> None:
    """Check that the vault holds all settings that are about to be removed.

    :param entry: the vault's removed settings of the profile.
    :param removed: the settings to be removed now, by section.
    :raises KeyturnError: if the vault has no entry, or another value.
    """
    what = f"Could not adopt {name}"
    if entry is None:
        raise KeyturnError(what, "it is already managed by keyturn", ("See: ", Remedy("show", name)))
    stored_values = {
        (group["path"], group["section"]): dict(map(tuple, group["items"])) for group in entry["sections"]
    }
    for section in removed:
        values = stored_values.get((section["path"], section["section"]), {})
        conflicts = [
            key
            for key, value in section["items"]
            if values.get(key) != value and not (key == LINE_KEY and is_keyturn_process_line(value, name))
        ]
        if conflicts:
            raise ChangeRefused(
                what,
                f"keyturn manages it already, and {', '.join(conflicts)} of [{section['section']}] "
                "differs from what was adopted",
                "Move the settings added since to another profile",
            )
