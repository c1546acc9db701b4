"""Deliver and stop: where a managed profile's session goes, and how it is taken away again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from keyturn.awsconfig import process_line
from keyturn.awsconfig.document import Document, FileKind, header_for, remove_items, set_items
from keyturn.awsconfig.native_profiles import credential_items
from keyturn.delivery import credentials_file
from keyturn.model.errors import (
    ChangeRefused,
    FileChanged,
    KeyturnError,
    NotFound,
    UsageError,
    WriteNotConfirmed,
)
from keyturn.model.profile import Delivery, VaultState
from keyturn.model.text import from_iso
from keyturn.operations.adopt_edits import LINE_KEY
from keyturn.operations.context import Context
from keyturn.operations.credentials import mfa_sessions, session_cache
from keyturn.profiles import status
from keyturn.profiles.inventory import Inventory
from keyturn.profiles.profile_sections import line_home, own_section, path_of
from keyturn.profiles.status import needs_line
from keyturn.providers.cached_session import FetchedSession
from keyturn.storage import managed_profiles
from keyturn.storage.index import DeliveryRecord, Index
from keyturn.storage.managed_profiles import ManagedProfile


def deliver(desk: Context, name: str, to: Delivery, as_name: str | None) -> str:
    """Sends a managed profile's sessions elsewhere from now on; returns what was done, as a sentence.

    :param as_name: the credentials file's section, where it shall differ from the name.
    :raises NotFound: keyturn does not manage the profile.
    :raises NeedsMfa: a session must be fetched for the credentials file first; nothing has changed.
    :raises Protected: `as_name` is another profile's.
    """
    reading = desk.read()
    if to is Delivery.CREDENTIALS_FILE:
        session_cache.refuse_for_others(desk, reading, name)
    with desk.recording(name, "deliver"):
        old = managed(reading, name)
        if to is Delivery.NATIVE or (as_name and to is not Delivery.CREDENTIALS_FILE):
            raise UsageError(f"delivery of {name}", "--as goes with --to credentials-file only")
        new = managed_profiles.with_delivery(old, to, as_name)
        if new.deliver_as:
            credentials_file.check_name(new.deliver_as)
            _refuse_taken(reading, new)
        session = _session_for(desk, reading, new) if to is Delivery.CREDENTIALS_FILE else None
        with desk.exclusive():
            if session is not None:
                session_cache.require_unchanged(desk, reading, name, session)
            _move(desk, reading, new, session)
        desk.record(name, "deliver", f"to {to}" + (f" as {as_name}" if as_name else ""))
    return _sentence(name, new)


def _move(desk: Context, reading: Inventory, new: ManagedProfile, session: FetchedSession | None) -> None:
    """Takes away the old delivery and makes the new one; the definition comes first, for a crash in between."""
    name = new.name
    old = reading.definitions[name]

    def edit(table: dict[str, ManagedProfile]) -> None:
        if table.get(name) != old:
            raise FileChanged(
                f"delivery of {name}", "its definition changed meanwhile", "Look again, then retry"
            )
        table[name] = new

    if (old.delivery, old.deliver_as) != (new.delivery, new.deliver_as):
        withdraw(desk, name)
    managed_profiles.change(desk.places.profiles_file, edit)
    try:
        if session is not None:
            put(desk, reading, name, session)
        place_line(desk, new)
    except WriteNotConfirmed:
        raise  # the file is as the new definition says
    except KeyturnError:
        managed_profiles.change(desk.places.profiles_file, lambda table: table.__setitem__(name, old))
        raise


def _refuse_taken(reading: Inventory, one: ManagedProfile) -> None:
    """Keeps a delivery under another name out of profiles that have credentials of their own."""
    section = one.deliver_as or one.name
    what = f"delivery of {one.name} as {section}"
    if section in reading.definitions:
        raise ChangeRefused(what, "keyturn manages a profile by that name", "Choose another name")
    others = [
        each for each in reading.definitions.values() if each.deliver_as == section and each.name != one.name
    ]
    if others:
        raise ChangeRefused(what, f"{others[0].name} is delivered there", "Choose another name")
    found = [item for item in credential_items(reading.shared, section) if item.kind is FileKind.CONFIG]
    if found:
        why = f"that profile has credentials of its own ({found[0].key})"
        raise ChangeRefused(what, why, "Choose another name")


def _sentence(name: str, one: ManagedProfile) -> str:
    if one.delivery is Delivery.CREDENTIALS_FILE:
        return f"{name}: its session stands in [{one.deliver_as or name}] of the credentials file until it expires"
    if one.delivery is Delivery.CREDENTIAL_PROCESS:
        return f"{name}: AWS clients ask keyturn for it by credential_process"
    return f"{name}: delivered nowhere; keyturn goes on renewing it on demand"


def managed(reading: Inventory, name: str) -> ManagedProfile:
    """The definition of a managed profile.

    :raises NotFound: keyturn does not manage one by that name.
    :raises Protected: what is managed cannot be read.
    """
    reading.require_definitions()
    found = reading.definitions.get(name)
    if found is None:
        reading.row(name)
        what, why = f"managed profile {name}", "keyturn does not manage it"
        raise NotFound(what, why, f"Adopt it first: keyturn adopt {name}")
    return found


def _session_for(desk: Context, reading: Inventory, one: ManagedProfile) -> FetchedSession:
    if not status.asker_source(one.name, reading.natives, reading.definitions):
        desk.require_open()
    if one.delivers_key:
        why = "it delivers the long-term key itself, which never goes into a file in clear"
        raise KeyturnError(f"delivery of {one.name}", why, "Use --to credential-process")
    return session_cache.fetch(desk, reading, one.name)


def put(desk: Context, asked: Inventory, name: str, fetched: FetchedSession) -> None:
    """Writes a session into the credentials file, in place of the one before, and notes it for withdrawal.

    Nothing is written for a profile that is no more delivered there. The caller holds :meth:`Desk.exclusive`.

    :param asked: what was read before the session was asked for.
    :raises Protected: the section holds somebody else's credentials, or what is managed cannot be read.
    :raises FileChanged: the session is of what the profile was before, or was stopped meanwhile.
    """
    reading = desk.read()
    reading.require_definitions()
    one = reading.definitions.get(name)
    if one is None or one.delivery is not Delivery.CREDENTIALS_FILE:
        return
    session_cache.require_unchanged(desk, asked, name, fetched)
    credentials = fetched.issued.credentials
    section = one.deliver_as or name
    before = standing(reading, one)
    present = reading.shared.credentials
    ours = _ours(present, before) if before and before.section == section and present else set()
    ours |= set(before.key_ids) if before else set()
    made = before.made if before and before.section == section else not (present and present.section(section))
    region = reading.natives[name].region if one.deliver_as and name in reading.natives else None
    note = DeliveryRecord(
        str(desk.places.aws_credentials), section, (credentials.access_key_id, *sorted(ours)),
        credentials.expires, made, region if made else None,
    )  # fmt: skip
    desk.index.change(lambda index: index.update(name, delivered=note))

    def change(document: Document) -> bytes:
        return credentials_file.put(document, section, credentials, ours, region)

    # Whatever happens now, all key ids that may stand there stay noted as ours.
    desk.files.edit(desk.places.aws_credentials, change, kind=FileKind.CREDENTIALS)
    only = replace(note, key_ids=(credentials.access_key_id,))
    desk.note(lambda index: index.update(name, delivered=only))


def standing(reading: Inventory, one: ManagedProfile) -> DeliveryRecord | None:
    """What was delivered into the credentials file for a profile: as noted, else, if the index was lost, what stands in
    its section with the marks that only a delivery of ours leaves."""
    note = reading.index.of(one.name).delivered
    if note is not None or one.delivery is not Delivery.CREDENTIALS_FILE:
        return note
    name, document = one.deliver_as or one.name, reading.shared.credentials
    section = document.section(name) if document else None
    values = {item.key: item.value for item in section.items} if section else {}
    key_id = values.get("aws_access_key_id", "")
    if not credentials_file.looks_delivered(values):
        return None
    expires = from_iso(values.get("aws_expiration"))
    return DeliveryRecord(reading.shared.credentials_path, name, (key_id,), expires)


def _ours(document: Document, note: DeliveryRecord) -> set[str]:
    """The key ids that keyturn itself may have put where it delivered to. An earlier one is there again after another
    program wrote back what it had read before."""
    section = document.section(note.section)
    values = {item.key: item.value for item in section.items} if section else {}
    again = {values["aws_access_key_id"]} if credentials_file.looks_delivered(values) else set()
    return {*note.key_ids, *again}


def withdraw(desk: Context, name: str) -> bool:
    """Takes what was delivered for `name` out of the credentials file; True if something stood there.

    The caller holds :meth:`Desk.exclusive`.
    """
    reading = desk.read()
    one = reading.definitions.get(name)
    note = standing(reading, one) if one is not None else reading.index.of(name).delivered
    if note is None:
        return False

    def change(document: Document) -> bytes:
        return credentials_file.withdraw(
            document, note.section, _ours(document, note), made=note.made, region=note.region
        )

    if os.path.exists(note.path):  # noqa: PTH110  # Path.exists raises for a path that can be none
        desk.files.edit(Path(note.path), change, kind=FileKind.CREDENTIALS)
    desk.note(lambda index: index.update(name, delivered=None))
    return True


def withdraw_all(desk: Context) -> tuple[str, ...]:
    """Withdraws every delivered session, ended or not; needs no identity. Their profiles stay what they are, and the
    sessions stay in the vault. Returns the profiles concerned."""
    reading = desk.read()
    noted = {name for name, known in reading.index.profiles.items() if known.delivered}
    noted |= {name for name, one in reading.definitions.items() if standing(reading, one) is not None}
    return _withdrawn(desk, sorted(noted), "the agent ended")


def withdraw_expired(desk: Context) -> tuple[str, ...]:
    """Withdraws every delivered session that has ended; needs no identity. Returns the profiles concerned."""
    now = desk.clock()
    index = desk.index.load()
    noted = {name for name, known in index.profiles.items() if known.delivered}
    if not noted and not desk.places.profiles_file.exists():
        return ()
    reading = desk.read()
    ended = [name for name in noted if _has_ended(reading.index.of(name).delivered, now)]
    ended += [
        name
        for name, one in reading.definitions.items()
        if name not in noted and _has_ended(standing(reading, one), now)
    ]
    return _withdrawn(desk, ended, "expired")


def _withdrawn(desk: Context, names: Sequence[str], why: str) -> tuple[str, ...]:
    done = []
    for name in names:
        try:
            with desk.exclusive():
                withdraw(desk, name)
        except KeyturnError as error:
            desk.record_failure(name, "withdraw", error)
            continue
        desk.record(name, "withdraw", why)
        done.append(name)
    return tuple(done)


def _has_ended(note: DeliveryRecord | None, now: datetime) -> bool:
    return note is not None and note.expires is not None and note.expires <= now


def stop(desk: Context, name: str) -> str:
    """Ends a session: withdraws what was delivered and forgets what is cached. AWS itself cannot be told.

    It needs no open vault: where that is closed, what is sealed in it is marked as over.

    :raises NotFound: there is no such profile.
    """
    with desk.recording(name, "stop"):
        reading = desk.read()
        reading.row(name)
        now = desk.clock()
        with desk.exclusive():
            withdrawn = withdraw(desk, name)
            had = desk.known(name).session is not None
            if desk.vault.state() is VaultState.OPEN:
                desk.vault.change_sessions(lambda sessions: sessions.pop(name, None))
            # Where nobody can tell which devices it asks, all are stopped.
            ended = (
                mfa_sessions.serials_of(reading, name)
                if reading.unreadable is None
                else reading.index.devices
            )
            for serial in ended:
                mfa_sessions.forget(desk, serial)

            def edit(index: Index) -> None:
                index.update(name, session=None, delivered=None, asked=None, stopped=now)

            desk.index.change(edit)
        if had or withdrawn:
            desk.record(name, "stop", "withdrawn and forgotten" if withdrawn else "forgotten")
    if not had and not withdrawn:
        return f"{name}: there was no session"
    return f"{name}: session forgotten" + (", withdrawn from the credentials file" if withdrawn else "")


def place_line(desk: Context, one: ManagedProfile) -> None:
    """Puts our `credential_process` line where this definition wants it, and takes it away where it does not."""
    reading = desk.read()
    wanted = process_line.line(desk.program(), one.name) if needs_line(one) else None
    home = line_home(reading)
    for kind in FileKind:
        document = reading.document(kind)
        line = wanted if kind is home else None
        section = own_section(document, kind, one.name)
        if line is None and (document is None or section is None):
            continue
        target = section or header_for(kind, one.name)

        def change(found: Document, target: str = target, line: str | None = line) -> bytes:
            return _with_line(found, target, one.name, line)

        if document is None or change(document) != document.data:
            desk.files.edit(path_of(desk.places, kind), change, kind=kind)


def _with_line(document: Document, section: str, profile: str, line: str | None) -> bytes:
    if line is not None:
        return set_items(document, section, {LINE_KEY: line})
    present = document.section(section)
    values = {item.key: item.value for item in present.items} if present else {}
    if process_line.is_ours(values.get(LINE_KEY, ""), profile):
        return remove_items(document, section, (LINE_KEY,))
    return document.data
