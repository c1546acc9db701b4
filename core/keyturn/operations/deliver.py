"""Deliver and stop: put a managed profile's session where clients find it, and withdraw it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from keyturn.awsconfig import process_line
from keyturn.awsconfig.document import Document, Editor, FileKind, edit, header_for, remove_items, set_items
from keyturn.awsconfig.native_profiles import credential_items
from keyturn.awsconfig.sdk_limits import line_limit, name_limit
from keyturn.delivery import credentials_file
from keyturn.model.errors import (
    THEN_RUN,
    ChangeRefused,
    FileChanged,
    KeyturnError,
    Remedy,
    UsageError,
    WriteNotConfirmed,
)
from keyturn.model.profile import Credentials, Delivery, VaultState
from keyturn.model.text import from_iso
from keyturn.operations import write_check
from keyturn.operations.adopt_edits import LINE_KEY
from keyturn.operations.context import Context
from keyturn.operations.credentials import session_cache
from keyturn.operations.credentials.session_cache import UndeliveredSession
from keyturn.operations.operation import operation
from keyturn.profiles.inventory import Inventory, own_section
from keyturn.profiles.status import delivers_key, needs_process_line
from keyturn.providers.base import FetchedSession
from keyturn.storage import managed_profiles
from keyturn.storage.index import DeliveryRecord, Index
from keyturn.storage.managed_profiles import ManagedProfile


def check(
    context: Context, name: str, to: Delivery, as_name: str | None = None
) -> tuple[ManagedProfile, ManagedProfile]:
    """Check that a delivery will not be refused, before the vault is opened and AWS is asked.

    :returns: the definition now, and with the new delivery.
    :raises KeyturnError: as :func:`deliver`.
    """
    what = f"Could not deliver {name}"
    write_check.require_index_and_history(context, what)
    inventory = context.begin()
    old = context.managed_profile(inventory, name)
    if to is Delivery.NATIVE or (as_name and to is not Delivery.CREDENTIALS_FILE):
        raise UsageError(what, "--as requires --to credentials-file")
    new = managed_profiles.with_delivery(old, to, as_name)
    files = []
    if needs_process_line(new):
        inventory.require_file(FileKind.CONFIG)
        files.append(inventory.path(inventory.process_line_file()))
    if new.deliver_as:
        credentials_file.check_name(new.deliver_as)
        _require_free_section(inventory, new)
    previous = current_delivery(inventory, name)
    if (old.delivery, old.deliver_as) != (new.delivery, new.deliver_as):
        require_known_file(context, inventory, name, what)
    if to is Delivery.CREDENTIALS_FILE or previous is not None:
        files.append(context.paths.aws_credentials)
    if to is Delivery.CREDENTIALS_FILE:
        inventory.require_file(FileKind.CREDENTIALS)
        if delivers_key(new, inventory.index):
            why = "it delivers its long-term key, which is never written to a file in plaintext"
            raise KeyturnError(what, why, "Use --to credential-process")
        if inventory.shared.credentials is not None:
            section = new.deliver_as or name
            own_key_ids = _ids_in_section(inventory.shared.credentials, section, previous)
            session = inventory.index.of(name).session
            ids = (*own_key_ids, session.key_id) if session else own_key_ids
            credentials_file.require_free(inventory.shared.credentials, section, ids)
    write_check.require_writable(context, what, files)
    return old, new


@operation("deliver", check=check, as_name="as")
def deliver(context: Context, name: str, to: Delivery, as_name: str | None = None) -> str:
    """Change the delivery of a managed profile and return a message about it.

    :param as_name: section of the credentials file, if it differs from the profile's name.
    :raises NotFound: if the profile is not managed by keyturn.
    :raises NeedsMfa: if a session must be fetched for the credentials file first; nothing has changed.
    :raises UsageError: if AWS tools use no file of the kind that is written.
    :raises ChangeRefused: if `as_name` belongs to another profile.
    """
    inventory = context.begin()
    if to is Delivery.CREDENTIALS_FILE:
        session_cache.require_own_environment(context, inventory, name)
    with context.log_failure(name, "deliver"):
        _, new = check(replace(context, first_reading=inventory), name, to, as_name)
        if to is Delivery.CREDENTIALS_FILE:
            if not inventory.caller_credential_source(name):
                context.require_open()
            with session_cache.fetch_to_deliver(context, inventory, name, only_if_due=True) as undelivered:
                context.update_index(undelivered.edit_index)
                # Checked again, because other operations may have been done before the lock was free.
                locked = replace(context, first_reading=undelivered.inventory)
                old, new = check(locked, name, to, as_name)
                _change_delivery(context, undelivered.inventory, old, new, undelivered)
        else:
            with context.state_lock():
                inventory = context.read(inventory)
                old, new = check(replace(context, first_reading=inventory), name, to, as_name)
                _change_delivery(context, inventory, old, new, None)
        context.log_success(name, "deliver", f"to {to}" + (f" as {as_name}" if as_name else ""))
    return _delivery_message(name, new) + _client_limits(context, inventory, new)


def _change_delivery(
    context: Context,
    inventory: Inventory,
    old: ManagedProfile,
    new: ManagedProfile,
    session: UndeliveredSession | None,
) -> None:
    """Replace the old delivery with the new one. The definition is written first, so that a crash in between
    leaves it consistent.

    :param inventory: as it was read under the state lock, which the caller holds.
    """
    name = new.name

    def edit(definitions: dict[str, ManagedProfile]) -> None:
        if definitions.get(name) != old:
            raise FileChanged(
                f"Could not deliver {name}",
                "its definition has changed in the meantime",
                "Check it, then try again",
            )
        definitions[name] = new

    if (old.delivery, old.deliver_as) != (new.delivery, new.deliver_as):
        require_known_file(context, inventory, name, f"Could not deliver {name}")
        withdraw(context, inventory, name)
    context.change_definitions(edit)
    try:
        if session is not None:
            write_session(
                context, replace(session, inventory=context.read(inventory), edit_index=lambda _: None)
            )
        write_process_line(context, new)
    except WriteNotConfirmed:
        raise  # the file matches the new definition
    except KeyturnError:
        context.change_definitions(lambda definitions: definitions.__setitem__(name, old))
        raise


def _require_free_section(inventory: Inventory, definition: ManagedProfile) -> None:
    """Refuse to deliver into the section of a profile that has its own credentials."""
    section = definition.deliver_as or definition.name
    what = f"Could not deliver {definition.name} as {section}"
    if section in inventory.definitions:
        raise ChangeRefused(what, "a profile with this name is managed by keyturn", "Choose another name")
    others = [
        other
        for other in inventory.definitions.values()
        if other.deliver_as == section and other.name != definition.name
    ]
    if others:
        raise ChangeRefused(what, f"{others[0].name} is delivered there", "Choose another name")
    items = [item for item in credential_items(inventory.shared, section) if item.kind is FileKind.CONFIG]
    if items:
        why = f"that profile has its own credentials ({items[0].key})"
        raise ChangeRefused(what, why, "Choose another name")


def _delivery_message(name: str, definition: ManagedProfile) -> str:
    if definition.delivery is Delivery.CREDENTIALS_FILE:
        return (
            f"{name}: written to [{definition.deliver_as or name}] of the credentials file until it expires"
        )
    if definition.delivery is Delivery.CREDENTIAL_PROCESS:
        return f"{name}: resolved by AWS clients through credential_process"
    return f"{name}: not delivered; keyturn refreshes it on demand"


def _client_limits(context: Context, inventory: Inventory, definition: ManagedProfile) -> str:
    """Return clauses about the SDKs that cannot use the profile's line, or an empty string."""
    if not needs_process_line(definition):
        return ""
    limits = (
        name_limit(definition.name, inventory.process_line_file()),
        line_limit(process_line.format_line(context.program(), definition.name)),
    )
    return "".join(f"; {limit}" for limit in limits if limit is not None)


def write_session(context: Context, session: UndeliveredSession) -> None:
    """Write a session to the credentials file, replace the previous one, and record it for withdrawal.

    The file is not written if the profile is no longer delivered there. The caller holds
    :meth:`Context.state_lock`.

    :raises ChangeRefused: if the section holds foreign credentials, or `profiles.toml` cannot be read.
    """
    sessions = {session.name: session.fetched}
    if not write_sessions(context, session.inventory, sessions, session.edit_index):
        context.update_index(session.edit_index)


def write_sessions(
    context: Context,
    inventory: Inventory,
    sessions: Mapping[str, FetchedSession],
    edit_index: Callable[[Index], object] = lambda _: None,
) -> tuple[str, ...]:
    """Write the sessions of several profiles to the credentials file at once, as :func:`write_session` does
    for one.

    :param sessions: by profile.
    :param edit_index: another edit of the index, made with the record of the deliveries.
    :returns: the profiles that are delivered there. If there are none, nothing is written.
    """
    inventory.require_definitions()
    document = inventory.shared.credentials
    writes = [
        _delivery_write(context, inventory, definition, fetched.issued.credentials)
        for name, fetched in sessions.items()
        if (definition := inventory.definitions.get(name)) is not None
        and definition.delivery is Delivery.CREDENTIALS_FILE
    ]
    if not writes:
        return ()

    def record_deliveries(index: Index) -> None:
        edit_index(index)
        for write in writes:
            index.update(write.name, delivered=write.record)

    context.index.change(record_deliveries)

    def put_sessions(editor: Editor) -> None:
        for write in writes:
            credentials_file.put_section(
                editor, write.record.section, write.credentials, write.own_key_ids, write.region
            )

    # Until this edit is confirmed, both the old and the new key id stay recorded as keyturn's.
    context.files.edit(
        context.paths.aws_credentials,
        lambda current: edit(current, put_sessions),
        kind=FileKind.CREDENTIALS,
        earlier=document,
    )

    def forget_old_key_ids(index: Index) -> None:
        for write in writes:
            key_ids = (write.credentials.access_key_id,)
            index.update(write.name, delivered=replace(write.record, key_ids=key_ids))

    context.update_index(forget_old_key_ids)
    return tuple(write.name for write in writes)


@dataclass(frozen=True, slots=True)
class _DeliveryWrite:
    """A session that is about to be written to the credentials file."""

    name: str
    credentials: Credentials
    own_key_ids: Collection[str]
    """Ids of the temporary keys that keyturn may have written to the section before."""
    region: str | None
    record: DeliveryRecord


def _delivery_write(
    context: Context, inventory: Inventory, definition: ManagedProfile, credentials: Credentials
) -> _DeliveryWrite:
    name, document = definition.name, inventory.shared.credentials
    section = definition.deliver_as or name
    previous = current_delivery(inventory, name)
    own_key_ids = _ids_in_section(document, section, previous)
    created = (
        previous.created_section
        if previous and previous.section == section
        else not (document and document.section(section))
    )
    region = _region_to_write(context, inventory, name) if definition.deliver_as else None
    record = DeliveryRecord(
        str(context.paths.aws_credentials), section, (credentials.access_key_id, *sorted(own_key_ids)),
        credentials.expires, created, region if created else None,
    )  # fmt: skip
    return _DeliveryWrite(name, credentials, own_key_ids, region, record)


def _region_to_write(context: Context, inventory: Inventory, name: str) -> str | None:
    """Return the region of a profile, or that of this process's environment. The caller's is for its request
    alone.
    """
    region = inventory.settings(name).get("region") or context.environ.get("AWS_DEFAULT_REGION")
    return str(region) if region and name in inventory.natives else None


def current_delivery(inventory: Inventory, name: str) -> DeliveryRecord | None:
    """Return what was delivered to the credentials file for a profile. If the index was lost, recognize a
    delivery by the marks in its section.
    """
    record, definition = inventory.index.of(name).delivered, inventory.definitions.get(name)
    if record is not None or definition is None or definition.delivery is not Delivery.CREDENTIALS_FILE:
        return record
    section, document = definition.deliver_as or name, inventory.shared.credentials
    values = document.values(section) if document is not None else {}
    key_id = values.get("aws_access_key_id", "")
    if not credentials_file.looks_delivered(values):
        return None
    expires = from_iso(values.get("aws_expiration"))
    return DeliveryRecord(inventory.shared.credentials_path, section, (key_id,), expires)


def _deliveries(inventory: Inventory) -> dict[str, DeliveryRecord]:
    """Return all deliveries to the credentials file by profile."""
    names = sorted({*inventory.index.profiles, *inventory.definitions})
    return {name: record for name in names if (record := current_delivery(inventory, name)) is not None}


def _own_key_ids(document: Document | Editor, record: DeliveryRecord) -> set[str]:
    """Return the ids of the temporary keys that keyturn may have written to the section. An earlier one
    reappears if another program writes back an old copy of the file.
    """
    values = document.values(record.section)
    restored = {values["aws_access_key_id"]} if credentials_file.looks_delivered(values) else set()
    return {*record.key_ids, *restored}


def _ids_in_section(document: Document | None, section: str, previous: DeliveryRecord | None) -> set[str]:
    """Return the ids of the temporary keys that keyturn may have written to a section, by the previous
    delivery of its profile.
    """
    if previous is None:
        return set()
    if document is None or previous.section != section:
        return set(previous.key_ids)
    return _own_key_ids(document, previous)


def withdraw(context: Context, inventory: Inventory, name: str) -> bool:
    """Remove the delivered session of `name` from the credentials file. Return True if it was there.

    The index only tells where to look, because anybody who can write it could name any file and section: the
    file must be the credentials file of this environment, and its section must hold a delivered session.

    :param inventory: as it was read under :meth:`Context.state_lock`, which the caller holds.
    """
    record = known_delivery(inventory, name)
    if record is None:
        return False

    def change(document: Document) -> bytes:
        return edit(document, lambda editor: withdraw_from(editor, inventory, record))

    is_removed = False
    if context.files.read(context.paths.aws_credentials) is not None:
        written = context.files.edit(context.paths.aws_credentials, change, kind=FileKind.CREDENTIALS)
        is_removed = written.before != written.after
    context.update_index(lambda index: index.update(name, delivered=None))
    return is_removed


def known_delivery(inventory: Inventory, name: str) -> DeliveryRecord | None:
    """Return what was delivered for a profile to the credentials file of this environment, or None."""
    record = current_delivery(inventory, name)
    return record if record is not None and _is_in_credentials_file(inventory, record) else None


def withdraw_from(editor: Editor, inventory: Inventory, record: DeliveryRecord) -> None:
    """Remove a delivered session from the credentials file, unless it was delivered to another one."""
    if _is_in_credentials_file(inventory, record):
        credentials_file.withdraw(
            editor,
            record.section,
            _own_key_ids(editor, record),
            is_created=record.created_section,
            region=record.region,
        )


def require_known_file(context: Context, inventory: Inventory, name: str, what: str) -> None:
    """Check that a delivered session can be withdrawn from here.

    :param what: the failure if it cannot ("Could not release ci-deploy").
    :raises ChangeRefused: if it was delivered to another credentials file and has not expired.
    """
    record = current_delivery(inventory, name)
    if record is None or _is_in_credentials_file(inventory, record):
        return
    if record.expires is None or record.expires > context.clock():
        raise ChangeRefused(
            what,
            f"its session is in {record.path}, which is not the credentials file of this shell",
            (
                f"Set AWS_SHARED_CREDENTIALS_FILE={shlex.quote(record.path)}, then ",
                THEN_RUN,
                Remedy("stop", name),
            ),
        )


def _is_in_credentials_file(inventory: Inventory, record: DeliveryRecord) -> bool:
    """Return True if a delivery was made to the credentials file of this environment."""
    known = inventory.shared.credentials_path
    return record.path == known or os.path.realpath(record.path) == os.path.realpath(known)


def _expiry(inventory: Inventory, record: DeliveryRecord) -> datetime | None:
    """Return the expiry of a delivered session as its section states it, because the index could name any
    time. None if there is no delivered session. If the file cannot be read, return the time in the index: the
    withdrawal then fails, and tells why."""
    document = inventory.shared.credentials
    if not _is_in_credentials_file(inventory, record):
        return None
    if document is None:
        is_problem = any(item.path == inventory.shared.credentials_path for item in inventory.shared.problems)
        return record.expires if is_problem else None
    return credentials_file.expiry_of(document.values(record.section))


def withdraw_all(context: Context) -> tuple[str, ...]:
    """Withdraw every delivered session, expired or not, and return the profiles concerned.

    It needs no open vault. The delivery settings and the cached sessions are kept.
    """
    return _withdraw_each(
        context,
        context.read(),
        lambda inventory, record: _expiry(inventory, record) is not None,
        "the agent stopped",
    )


def withdraw_expired(context: Context) -> tuple[str, ...]:
    """Withdraw every delivered session that has expired, and return the profiles concerned. It needs no open
    vault.
    """
    has_delivered = any(state.delivered for state in context.index.load().profiles.values())
    if not has_delivered and not context.paths.profiles_file.exists():
        return ()
    now = context.clock()

    def has_expired(inventory: Inventory, record: DeliveryRecord) -> bool:
        expires = _expiry(inventory, record)
        return expires is not None and expires <= now

    return _withdraw_each(context, context.read(), has_expired, "expired")


def _withdraw_each(
    context: Context, inventory: Inventory, is_due: Callable[[Inventory, DeliveryRecord], bool], reason: str
) -> tuple[str, ...]:
    """Withdraw the deliveries that are due, also by a second look under the lock, because a session may have
    been renewed in between.
    """
    withdrawn = []
    due = [name for name, record in _deliveries(inventory).items() if is_due(inventory, record)]
    for name in due:
        try:
            with context.state_lock():
                current = context.read(inventory)
                record = current_delivery(current, name)
                if record is None or not is_due(current, record):
                    continue
                withdraw(context, current, name)
        except KeyturnError as error:
            context.record_failure(name, "withdraw", error)
            continue
        context.log_success(name, "withdraw", reason)
        withdrawn.append(name)
    return tuple(withdrawn)


@operation("stop")
def stop(context: Context, name: str) -> str:
    """End a session: withdraw it and delete it from the cache. AWS cannot revoke it.

    It needs no open vault: if the vault is locked, the cached session is marked as stopped.

    :raises NotFound: if there is no such profile.
    """
    write_check.require_index(context, f"Could not stop {name}")
    with context.log_failure(name, "stop"):
        inventory = context.read()
        inventory.row(name)
        now = context.clock()
        with context.state_lock():
            inventory = context.read(inventory)
            require_known_file(context, inventory, name, f"Could not stop {name}")
            withdrawn = withdraw(context, inventory, name)
            had_session = inventory.index.of(name).session is not None
            if context.vault.state() is VaultState.OPEN:
                context.vault.change_sessions(lambda sessions: sessions.pop(name, None))
            # If profiles.toml is unreadable, the profile's MFA device is unknown, so all devices are stopped.
            serials = (
                session_cache.mfa_serials(inventory, name)
                if inventory.managed_profiles_error is None
                else inventory.index.devices
            )

            def edit(index: Index) -> None:
                for serial in serials:
                    session_cache.end_mfa_sessions(index, serial)
                index.update(name, session=None, delivered=None, last_use=None, stopped=now)

            context.index.change(edit)
        if had_session or withdrawn:
            context.log_success(name, "stop", "withdrawn and deleted" if withdrawn else "deleted")
    if not had_session and not withdrawn:
        return f"{name}: no session"
    return f"{name}: session deleted" + (", withdrawn from the credentials file" if withdrawn else "")


def write_process_line(context: Context, definition: ManagedProfile) -> None:
    """Write the `credential_process` line where the definition requires it, and remove it elsewhere."""
    inventory = context.read()
    expected_line = (
        process_line.format_line(context.program(), definition.name)
        if needs_process_line(definition)
        else None
    )
    line_file = inventory.process_line_file()
    for kind in FileKind:
        document = inventory.document(kind)
        line = expected_line if kind is line_file else None
        section = own_section(document, kind, definition.name)
        if line is None and (document is None or section is None):
            continue
        target = section or header_for(kind, definition.name)

        def change(current: Document, target: str = target, line: str | None = line) -> bytes:
            return _with_line(current, target, definition.name, line)

        if document is None or change(document) != document.data:
            context.files.edit(inventory.path(kind), change, kind=kind, earlier=document)


def _with_line(document: Document, section: str, profile: str, line: str | None) -> bytes:
    if line is not None:
        return set_items(document, section, {LINE_KEY: line})
    if process_line.is_keyturn_process_line(document.values(section).get(LINE_KEY, ""), profile):
        return remove_items(document, section, (LINE_KEY,))
    return document.data
