"""Deliver and stop: where a managed profile's session goes, and how it is taken away again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from keyturn import definitions as defs
from keyturn.acts import fetching
from keyturn.acts.desk import Desk
from keyturn.adoption import LINE_KEY
from keyturn.awsfiles.document import Document, FileKind, header_for, profile_of, remove_items, set_items
from keyturn.definitions import Definition
from keyturn.delivery import credential_process, credentials_file
from keyturn.errors import KeyturnError, NotFound, UsageError
from keyturn.index import Delivered, Index
from keyturn.listing import needs_line
from keyturn.model import Credentials, Delivery, State, session_state
from keyturn.reading import Reading


def deliver(desk: Desk, name: str, to: Delivery, as_name: str | None) -> str:
    """Sends a managed profile's sessions elsewhere from now on; returns what was done, as a sentence.

    :param as_name: the credentials file's section, where it shall differ from the name.
    :raises NotFound: keyturn does not manage the profile.
    :raises NeedsMfa: a session must be fetched for the credentials file first; nothing has changed.
    """
    with desk.recording(name, "deliver"):
        reading = desk.read()
        old = managed(reading, name)
        if to is Delivery.NATIVE or (as_name and to is not Delivery.CREDENTIALS_FILE):
            raise UsageError(f"delivery of {name}", "--as goes with --to credentials-file only")
        new = defs.with_delivery(old, to, as_name)
        if as_name:
            credentials_file.check_name(as_name)
        session = _session_for(desk, reading, new) if to is Delivery.CREDENTIALS_FILE else None
        moved = old.delivery is Delivery.CREDENTIALS_FILE and (old.deliver_as, old.delivery) != (
            new.deliver_as,
            to,
        )
        if moved:
            withdraw(desk, name)
        if session is not None:
            put(desk, new, session)
        place_line(desk, new)
        defs.change(desk.places.profiles_file, lambda table: table.__setitem__(name, new))
        desk.record(name, "deliver", f"to {to}" + (f" as {as_name}" if as_name else ""))
    return _sentence(name, new)


def _sentence(name: str, one: Definition) -> str:
    if one.delivery is Delivery.CREDENTIALS_FILE:
        return f"{name}: its session stands in [{one.deliver_as or name}] of the credentials file until it expires"
    if one.delivery is Delivery.CREDENTIAL_PROCESS:
        return f"{name}: AWS clients ask keyturn for it by credential_process"
    return f"{name}: delivered nowhere; exec, env and the app can still use it"


def managed(reading: Reading, name: str) -> Definition:
    """The definition of a managed profile.

    :raises NotFound: keyturn does not manage one by that name.
    """
    found = reading.definitions.get(name)
    if found is None:
        reading.row(name)
        raise NotFound(
            f"managed profile {name}", "keyturn does not manage it", f"Adopt it first: keyturn adopt {name}"
        )
    return found


def _session_for(desk: Desk, reading: Reading, one: Definition) -> Credentials:
    desk.require_open()
    if one.delivers_key:
        why = "it delivers the long-term key itself, which never goes into a file in clear"
        raise KeyturnError(f"delivery of {one.name}", why, "Use --to credential-process")
    cached = fetching.VaultSessions(desk).get(one.name)
    if cached is not None and session_state(cached.facts(), desk.clock()) is State.FRESH:
        return cached.issued.credentials
    return fetching.fetch(desk, reading, one.name)


def put(desk: Desk, one: Definition, credentials: Credentials) -> None:
    """Writes a session into the credentials file, in place of the one before, and notes it for withdrawal."""
    path, section = desk.places.aws_credentials, one.deliver_as or one.name
    reading = desk.read()
    before = reading.index.of(one.name).delivered
    ours = set(before.key_ids) if before else set()
    present = reading.shared.credentials
    region = reading.natives[one.name].region if one.deliver_as and one.name in reading.natives else None
    made = before.made if before and before.section == section else not (present and present.section(section))
    both = (credentials.access_key_id, *sorted(ours))
    note = Delivered(str(path), section, both, credentials.expires, made)
    desk.index.change(lambda index: index.update(one.name, delivered=note))

    def change(document: Document) -> bytes:
        return credentials_file.put(document, section, credentials, ours, region)

    try:
        desk.files.edit(path, change, kind=FileKind.CREDENTIALS)
    except KeyturnError:
        desk.index.change(lambda index: index.update(one.name, delivered=before))
        raise
    only = Delivered(str(path), section, (credentials.access_key_id,), credentials.expires, made)
    desk.index.change(lambda index: index.update(one.name, delivered=only))


def withdraw(desk: Desk, name: str) -> bool:
    """Takes what was delivered for `name` out of the credentials file; True if something was noted as delivered."""
    note = desk.index.load().of(name).delivered
    if note is None:
        return False

    def change(document: Document) -> bytes:
        return credentials_file.withdraw(document, note.section, note.key_ids, made=note.made)

    if Path(note.path).exists():
        desk.files.edit(Path(note.path), change, kind=FileKind.CREDENTIALS)
    desk.index.change(lambda index: index.update(name, delivered=None))
    return True


def withdraw_expired(desk: Desk) -> tuple[str, ...]:
    """Withdraws every delivered session that has ended; needs no vault. Returns the profiles concerned."""
    now = desk.clock()
    ended = [
        name
        for name, known in desk.index.load().profiles.items()
        if known.delivered and known.delivered.expires and known.delivered.expires <= now
    ]
    done = []
    for name in ended:
        try:
            withdraw(desk, name)
        except KeyturnError as error:
            desk.record(name, "withdraw", error.line())
            continue
        desk.record(name, "withdraw", "expired")
        done.append(name)
    return tuple(done)


def stop(desk: Desk, name: str) -> str:
    """Ends a session: withdraws what was delivered and forgets what is cached. AWS itself cannot be told.

    :raises NotFound: there is no such profile.
    """
    with desk.recording(name, "stop"):
        reading = desk.read()
        reading.row(name)
        withdrawn = withdraw(desk, name)
        desk.require_open()
        had = desk.vault.session(name) is not None
        desk.vault.change_sessions(lambda sessions: sessions.pop(name, None))

        def edit(index: Index) -> None:
            index.update(name, session=None, delivered=None)

        desk.index.change(edit)
        desk.record(name, "stop", "withdrawn and forgotten" if withdrawn else "forgotten")
    if not had and not withdrawn:
        return f"{name}: there was no session"
    return f"{name}: session forgotten" + (", withdrawn from the credentials file" if withdrawn else "")


def place_line(desk: Desk, one: Definition) -> None:
    """Puts our `credential_process` line where this definition wants it, and takes it away where it does not."""
    reading = desk.read()
    wanted = credential_process.line(desk.program(), one.name) if needs_line(one) else None
    home = line_home(reading)
    for kind, path in (
        (FileKind.CONFIG, desk.places.aws_config),
        (FileKind.CREDENTIALS, desk.places.aws_credentials),
    ):
        document = reading.document(kind)
        line = wanted if kind is home else None
        section = own_section(document, kind, one.name)
        if document is None and line is None:
            continue
        if section is None and line is None:
            continue
        target = section or header_for(kind, one.name)

        def change(found: Document, target: str = target, line: str | None = line) -> bytes:
            return _with_line(found, target, one.name, line)

        if document is None or change(document) != document.data:
            desk.files.edit(path, change, kind=kind)


def _with_line(document: Document, section: str, profile: str, line: str | None) -> bytes:
    if line is not None:
        return set_items(document, section, {LINE_KEY: line})
    present = document.section(section)
    values = {item.key: item.value for item in present.items} if present else {}
    if credential_process.is_ours(values.get(LINE_KEY, ""), profile):
        return remove_items(document, section, (LINE_KEY,))
    return document.data


def line_home(reading: Reading) -> FileKind:
    """The file that takes `credential_process` lines: the config file, unless AWS tools refuse it as it stands."""
    refused: Collection[str] = {problem.path for problem in reading.shared.problems}
    return (
        FileKind.CREDENTIALS
        if reading.shared.config is None and str(reading.shared.config_path) in refused
        else FileKind.CONFIG
    )


def own_section(document: Document | None, kind: FileKind, profile: str) -> str | None:
    """The section of a file that belongs to a profile, as its header spells it."""
    for section in document.sections if document else ():
        if profile_of(kind, section.name) == profile:
            return section.name
    return None
