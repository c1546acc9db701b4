"""Settings: change a managed profile's definition and end the sessions that depended on the old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyturn.awsconfig.document import Document, FileKind, remove_items, set_items
from keyturn.model.errors import FileChanged, KeyturnError, NotFound, Remedy
from keyturn.model.profile import VaultState
from keyturn.operations import deliver, write_check
from keyturn.operations.context import Context
from keyturn.operations.operation import operation
from keyturn.profiles import settings, status
from keyturn.profiles.inventory import Inventory, own_section
from keyturn.providers import role_params, sts_limits
from keyturn.storage.index import Index
from keyturn.storage.managed_profiles import ManagedProfile


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """Result of a change of settings."""

    keys: tuple[str, ...]
    """Settings whose value changed."""
    ended: tuple[str, ...]
    """Profiles whose sessions were ended because they depended on the old definition."""


def check(context: Context, name: str, values: Mapping[str, str]) -> None:
    """Check that :func:`change` will accept the settings, before the user is asked to confirm them. Raises as
    that does.
    """
    what, inventory = f"Could not set {name}", context.read()
    inventory.row(name)
    if settings.REGION in values:
        region = settings.check_region(values[settings.REGION])
        kinds = _region_files(inventory, name, region)
        for kind in kinds if region else ():
            inventory.require_file(kind)
        write_check.require_writable(context, what, [inventory.path(kind) for kind in kinds])
    if values.keys() - {settings.REGION}:
        write_check.require_index(context, what)
        write_check.require_own_folders(context.paths)
        _definition_change(context, inventory, name, values)


def _definition_change(
    context: Context, inventory: Inventory, name: str, values: Mapping[str, str]
) -> tuple[ManagedProfile, ManagedProfile]:
    """Return the definition of a profile before and after a change of settings other than the region."""
    old = context.managed_profile(inventory, name)
    other_values = {key: value for key, value in values.items() if key != settings.REGION}
    new = settings.apply(old, other_values)
    _check_role(new)
    return old, new


def change(context: Context, name: str, values: Mapping[str, str]) -> SettingsChange:
    """Change settings of a profile. It needs neither the vault nor AWS.

    :param values: as :func:`keyturn.profiles.settings.parse` returned them. `region` is written to the shared
        files and is valid for any profile.
    :raises NotFound: if there is no such profile, or it is not managed by keyturn.
    :raises UsageError: if a value is invalid; nothing has changed.
    :raises ChangeRefused: if a file cannot be written; nothing has changed.
    """
    check(context, name, values)
    keys: list[str] = []
    ended: tuple[str, ...] = ()
    with context.log_failure(name, "set"):
        if values.keys() - {settings.REGION}:
            with context.state_lock():
                # Read again, because other operations may have been done before the lock was free.
                inventory = context.read()
                old, new = _definition_change(context, inventory, name, values)
                before, after = settings.table(old), settings.table(new)
                keys = [key for key in values if before.get(key) != after.get(key)]
                _write_definition(context, old, new)
                if not new.same_source(old):
                    ended = _end_sessions(context, inventory, (name, *dependent_sessions(inventory, name)))
        if settings.REGION in values and _set_region(
            context, name, settings.check_region(values[settings.REGION])
        ):
            keys.append(settings.REGION)
        if keys:
            context.log_success(name, "set", ", ".join(keys))
    return SettingsChange(tuple(keys), ended)


def _check_role(definition: ManagedProfile) -> None:
    """Read the policy file of a managed role and check its AssumeRole parameters.

    :raises KeyturnError: if AWS would refuse them, or the file cannot be read.
    """
    params = role_params.managed_role_params(definition)
    if params is not None:
        role_params.check(params)


def _write_definition(context: Context, old: ManagedProfile, new: ManagedProfile) -> None:
    name = new.name

    def edit(definitions: dict[str, ManagedProfile]) -> None:
        if definitions.get(name) != old:
            raise FileChanged(
                f"Could not set {name}",
                "its definition has changed in the meantime",
                "Check it, then try again",
            )
        definitions[name] = new

    context.change_definitions(edit)
    if new.duration_seconds != old.duration_seconds:
        context.update_index(lambda index: index.update(name, accepted_seconds=None))
    if not new.same_source(old):
        context.update_index(lambda index: index.update(name, denied_signer=None))


def dependent_sessions(inventory: Inventory, name: str) -> tuple[str, ...]:
    """Return the managed profiles whose sessions are made from another profile's session."""
    return tuple(
        definition.name
        for definition in inventory.definitions.values()
        if name in status.source_of(definition, inventory.natives, inventory.definitions)[1]
    )


def _end_sessions(context: Context, inventory: Inventory, names: tuple[str, ...]) -> tuple[str, ...]:
    """Withdraw and delete the sessions of profiles.

    :param inventory: as it was read under :meth:`Context.state_lock`, which the caller holds.
    """
    now = context.clock()
    ended = [
        name
        for name in names
        if deliver.withdraw(context, inventory, name) or inventory.index.of(name).session is not None
    ]

    def forget(sessions: dict[str, object]) -> None:
        for name in names:
            sessions.pop(name, None)

    if context.vault.state() is VaultState.OPEN:
        context.vault.change_sessions(forget)

    def update_index(index: Index) -> None:
        for name in names:
            index.update(name, session=None, stopped=now)

    context.index.change(update_index)
    return tuple(ended)


def _set_region(context: Context, name: str, region: str) -> bool:
    """Write a region to the profile's section, or remove it from both files. Return True if a file
    changed.
    """
    inventory = context.read()
    is_changed = False
    for kind in _region_files(inventory, name, region):
        document = inventory.document(kind)
        target = inventory.header(kind, name)

        def edit(current: Document, target: str = target) -> bytes:
            return (
                set_items(current, target, {"region": region})
                if region
                else remove_items(current, target, ("region",))
            )

        if document is None or edit(document) != document.data:
            context.files.edit(inventory.path(kind), edit, kind=kind, earlier=document)
            is_changed = True
    return is_changed


def _region_files(inventory: Inventory, name: str, region: str) -> list[FileKind]:
    """Return the files in which a profile's region is changed. The credentials file takes precedence if both
    have one, as botocore reads them; a new one goes into the config file.
    """
    kinds = [kind for kind in FileKind if _has_region(inventory.document(kind), kind, name)]
    return [FileKind.CONFIG] if region and not kinds else kinds


def _has_region(document: Document | None, kind: FileKind, name: str) -> bool:
    header = own_section(document, kind, name)
    return document is not None and header is not None and "region" in document.values(header)


@operation("mfa-devices")
def mfa_devices(context: Context, name: str) -> tuple[str, ...]:
    """Return the serial numbers of the MFA devices of a managed profile's IAM user. Security keys are left
    out, because they show no codes.

    :raises NotFound: if the profile's sessions do not come from a key in the vault.
    :raises NeedsUnlock: if the vault is locked.
    """
    inventory = context.begin()
    definition = context.managed_profile(inventory, name)
    entry, _, problem = status.source_of(definition, inventory.natives, inventory.definitions)
    if problem or entry is None or inventory.caller_credential_source(name):
        raise NotFound(
            f"Could not list the MFA devices of {name}",
            problem or "its sessions do not come from an access key in the vault",
            ("Set it manually: ", Remedy("set", name, "mfa_serial=SERIAL")),
        )
    context.require_open()
    key = context.key(entry)
    native = inventory.natives.get(entry)
    aws = context.aws(entry, native.region if native else None)
    arn = aws.get_caller_identity(key).arn
    user = arn.rpartition("/")[2] if ":user/" in arn else None
    try:
        serials = aws.list_mfa_devices(key, user)
    except KeyturnError as error:
        error.hint = ("Set the device manually: ", Remedy("set", name, "mfa_serial=SERIAL"))
        raise
    return tuple(serial for serial in serials if sts_limits.shows_codes(serial))
