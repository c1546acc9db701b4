"""The `keyturn vault` commands: create, unlock and lock the vault, and manage what unlocks it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import click

from keyturn.agent import client
from keyturn.cli.options import as_json, credential_service, opens_vault, yes
from keyturn.cli.output import emit, say, warn
from keyturn.cli.prompts import (
    VaultUnlocker,
    ask_new_passphrase,
    ask_secret,
    confirm,
    create_vault,
    from_descriptor,
    on_terminal,
)
from keyturn.model.errors import (
    ChangeRefused,
    NeedsInteraction,
    NeedsUnlock,
    NeedsVault,
    UsageError,
    VaultExists,
)
from keyturn.model.profile import VaultState
from keyturn.model.secret import Secret
from keyturn.operations import vault as vault_operations
from keyturn.service import CredentialService
from keyturn.system.files import create_file, os_error_text
from keyturn.vault import passphrase as passphrases
from keyturn.vault.passphrase import EXPORT_LIMIT


@click.group()
def vault() -> None:
    """The encrypted store of long-term keys and sessions."""


@vault.command()
@click.option(
    "--slot", type=click.Choice(["keyring", "passphrase"]), help="What opens it: the system keyring, or you."
)
@click.option("--passphrase-fd", type=int, metavar="N", help="Read the new passphrase from descriptor N.")
@click.option("--recovery-out-fd", type=int, metavar="M", help="Write the recovery key to descriptor M.")
@click.option("--anew", is_flag=True, help="Even if managed profiles need the keys of a vault that is gone.")
def init(*, slot: str | None, passphrase_fd: int | None, recovery_out_fd: int | None, anew: bool) -> None:
    """Make the vault. Shows the recovery key once, or writes it to --recovery-out-fd."""
    service = credential_service()
    if service.context.vault.state() is not VaultState.ABSENT:
        raise VaultExists("vault init", "there is a vault already", "See: keyturn vault status")
    error = None if anew else vault_operations.missing_error(service.context)
    if error is not None:
        raise error
    chosen_slot = slot or (
        "passphrase" if passphrase_fd is not None or service.keyring_backend() is None else "keyring"
    )
    passphrase = None
    if chosen_slot == "passphrase":
        if passphrase_fd is not None:
            passphrase = passphrases.check(from_descriptor(passphrase_fd, "passphrase"))
        elif on_terminal():
            passphrase = ask_new_passphrase()
        else:
            raise NeedsInteraction(
                "vault init", "there is no terminal to type a passphrase on", "Give it by --passphrase-fd N"
            )
    if recovery_out_fd is None and on_terminal():
        create_vault(service, chosen_slot, passphrase, anew=anew)
    else:
        _init_without_prompt(service, chosen_slot, passphrase, recovery_out_fd, anew=anew)
    say(f"The vault is made and open; the {chosen_slot} opens it.")


def _init_without_prompt(
    service: CredentialService, slot: str, passphrase: Secret | None, out_fd: int | None, *, anew: bool
) -> None:
    if out_fd is not None:
        _require_writable(out_fd)
    recovery_key = service.create_vault(slot, passphrase, anew=anew)
    if out_fd is None:
        warn("the recovery key was not shown to anybody. See it by: keyturn vault recovery-key")
        return
    os.write(out_fd, recovery_key.reveal().encode() + b"\n")
    service.confirm_recovery_key()


def _require_writable(descriptor: int) -> None:
    try:
        os.write(descriptor, b"")
    except OSError as error:
        why = f"file descriptor {descriptor} cannot be written to ({error.strerror})"
        raise UsageError("--recovery-out-fd", why, "Open it, for example: 3>file") from None


@vault.command()
@opens_vault
def unlock(unlocker: VaultUnlocker) -> None:
    """Open the vault for 12 hours: by what is given, else by the system keyring, else by the typed passphrase."""
    service = unlocker.service
    state = service.snapshot().vault
    if state is VaultState.ABSENT:
        raise NeedsVault("vault unlock", "there is no vault yet", "Run: keyturn vault init")
    if state is VaultState.OPEN and not unlocker.has_given_secret:
        say("The vault is open.")
        return
    if state is VaultState.CLOSED and not unlocker.has_given_secret:
        unlocker.unlock_by_keyring()
    else:
        unlocker.unlock()
    if service.context.vault.state() is VaultState.OPEN:
        warn("no agent could be started, so the vault is closed again when this command ends")
    say("The vault is open.")


@vault.command()
def lock() -> None:
    """Close the vault: the agent ends, and with it all that could open it without you."""
    credential_service().lock()
    say("The vault is locked.")


@vault.command()
@as_json
def status(*, json_: bool) -> None:
    """Whether there is a vault, what opens it, and whether it is open."""
    service = credential_service()
    snapshot = service.snapshot()
    if snapshot.vault in (VaultState.LOCKED, VaultState.CLOSED):
        client.require_responsive(service.paths.socket)
    slots = (
        service.context.vault.slots() if snapshot.vault not in (VaultState.ABSENT, VaultState.BROKEN) else ()
    )
    if json_:
        emit(
            {
                "state": str(snapshot.vault), "slots": list(slots), "agent": snapshot.agent,
                "recovery_key_seen": snapshot.recovery_key_seen, "folder": str(service.paths.vault_dir),
            }
        )  # fmt: skip
        return
    state_texts = {
        VaultState.ABSENT: "There is no vault yet. It is made when the first secret is stored, or by: keyturn vault init",
        VaultState.LOCKED: "Locked. Your passphrase opens it: keyturn vault unlock",
        VaultState.CLOSED: "Closed. The system keyring opens it when it is needed.",
        VaultState.OPEN: "Open, held by the agent.",
        VaultState.BROKEN: "It cannot be read. Nothing is written over it.",
    }
    say(state_texts[snapshot.vault])
    fault = service.vault_fault()
    if fault is not None:
        say(fault.line())
    if slots:
        say(f"Opened by: {', '.join(slots)}, and the recovery key.")
    if not snapshot.recovery_key_seen:
        say("Nobody has been shown the recovery key. See it by: keyturn vault recovery-key")


@vault.command("recovery-key")
@yes
@opens_vault
def recovery_key(unlocker: VaultUnlocker, *, yes: bool) -> None:
    """Print the recovery key, which opens the vault by itself."""
    confirm("Show the recovery key, which opens everything", yes=yes)
    service = _open_here(unlocker)
    click.echo(service.context.vault.recovery_key().reveal())
    service.confirm_recovery_key()


@vault.command()
@click.option("--new-passphrase-fd", type=int, metavar="N", help="Read the new passphrase from descriptor N.")
@opens_vault
def passphrase(unlocker: VaultUnlocker, *, new_passphrase_fd: int | None) -> None:
    """Set the passphrase, or change it; the old one, or the keyring, opens the vault first."""
    service = _open_here(unlocker)
    service.context.vault.set_passphrase(_new_passphrase(new_passphrase_fd))
    say("The passphrase is set.")


@vault.command("reset-passphrase")
@click.option("--recovery-key-fd", type=int, metavar="N", help="Read the recovery key from descriptor N.")
@click.option("--new-passphrase-fd", type=int, metavar="N", help="Read the new passphrase from descriptor N.")
def reset_passphrase(*, recovery_key_fd: int | None, new_passphrase_fd: int | None) -> None:
    """Set a new passphrase by the recovery key, for one that is forgotten."""
    service = credential_service()
    if recovery_key_fd is not None:
        key = from_descriptor(recovery_key_fd, "recovery key")
    elif on_terminal():
        key = ask_secret("Recovery key (AGE-SECRET-KEY-1…)")
    else:
        raise NeedsInteraction(
            "vault reset-passphrase", "there is no terminal", "Give the key by --recovery-key-fd N"
        )
    service.context.vault.reset_passphrase(key, _new_passphrase(new_passphrase_fd))
    say("The passphrase is set.")


def _new_passphrase(descriptor: int | None) -> Secret:
    if descriptor is not None:
        return passphrases.check(from_descriptor(descriptor, "new passphrase"))
    if not on_terminal():
        raise NeedsInteraction(
            "the new passphrase", "there is no terminal to type it on", "Give it by --new-passphrase-fd N"
        )
    return ask_new_passphrase()


def _open_here(unlocker: VaultUnlocker) -> CredentialService:
    """Unlock the vault in this process, because the agent's unlocked vault is not enough for these commands."""
    service = unlocker.service
    state = service.context.vault.state()
    if unlocker.recovery_key_fd is not None:
        service.unlock_here(recovery_key=unlocker.recovery_key())
    elif state is VaultState.CLOSED and unlocker.passphrase_fd is None:
        service.unlock_here()
    elif state is not VaultState.ABSENT:
        given_passphrase = unlocker.passphrase("Passphrase of the keyturn vault")
        if given_passphrase is None:
            raise NeedsUnlock(
                "the vault", "its passphrase is needed for this", "Give it by --passphrase-fd N"
            )
        service.unlock_here(given_passphrase)
    service.context.require_open()
    return service


@vault.command()
@opens_vault
def restore(unlocker: VaultUnlocker) -> None:
    """Go back to the newest state of a damaged vault that can be read. What is damaged is moved aside, not lost."""
    service = unlocker.service
    if unlocker.recovery_key_fd is not None:
        _say_all(service.restore_vault(recovery_key=unlocker.recovery_key()))
        return
    passphrase = None
    if unlocker.passphrase_fd is not None or service.context.vault.state() is VaultState.LOCKED:
        passphrase = unlocker.passphrase("Passphrase of the keyturn vault")
        if passphrase is None:
            raise NeedsUnlock(
                "vault restore", "it takes the passphrase or the recovery key", "Give --passphrase-fd N"
            )
    _say_all(service.restore_vault(passphrase))


def _say_all(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


@vault.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--new-passphrase-fd", type=int, metavar="N", help="Read the export's passphrase from descriptor N."
)
@yes
@opens_vault
def export(unlocker: VaultUnlocker, *, file: Path, new_passphrase_fd: int | None, yes: bool) -> None:
    """Write the vault and the managed profiles to FILE, sealed by a passphrase of its own (any age program opens it)."""
    exists_error = ChangeRefused("vault export", f"{file} exists", "Name another file")
    if os.path.lexists(file):
        raise exists_error
    if not file.absolute().parent.is_dir():
        raise UsageError("vault export", f"{file.parent} is no folder", "Make it first, or name another file")
    service = _open_here(unlocker)
    confirm("Export all long-term keys", yes=yes)
    if new_passphrase_fd is None and on_terminal():
        click.echo("The export gets a passphrase of its own.", err=True)
    sealed = service.export_vault(_new_passphrase(new_passphrase_fd))
    with os_error_text(f"writing {file}"):
        try:
            create_file(file.absolute(), sealed)
        except FileExistsError:
            raise exists_error from None
    service.context.log_success("vault", "export", f"to {file}")
    say(f"Exported to {file}.")
    for row in service.snapshot().profiles:
        if row.rotation.waits is not None:
            warn(
                f"{row.name}: a rotation of its key waits, and the journal is not in the export. End it, then export anew: "
                f"keyturn rotate {row.name} --status"
            )


@vault.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--slot", type=click.Choice(["keyring", "passphrase"]), default="passphrase", show_default=True)
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the export's passphrase from descriptor N."
)
@click.option(
    "--new-passphrase-fd", type=int, metavar="N", help="Read the vault's new passphrase from descriptor N."
)
def import_(*, file: Path, slot: str, passphrase_fd: int | None, new_passphrase_fd: int | None) -> None:
    """Make this machine's vault from an export, and define the managed profiles that are not here yet. A vault that is here already must be the same; its keys stay as they are."""
    service = credential_service()
    is_absent = service.context.vault.state() is VaultState.ABSENT
    exported = _read_export(file)
    if passphrase_fd is not None:
        export_passphrase = from_descriptor(passphrase_fd, "passphrase of the export")
    elif on_terminal():
        export_passphrase = ask_secret("Passphrase of the export")
    else:
        raise NeedsInteraction(
            "vault import", "there is no terminal", "Give the export's passphrase by --passphrase-fd N"
        )
    new_passphrase = _new_passphrase(new_passphrase_fd) if slot == "passphrase" and is_absent else None
    lines = service.import_vault(exported, export_passphrase, slot, new_passphrase)
    say("The vault is made." if is_absent else "The vault was here already; its keys are as they were.")
    _say_all(lines)


def _read_export(file: Path) -> bytes:
    """Return the bytes of an export, at most one more than the size limit. Pipes are refused, because they
    could block forever."""
    what = f"reading {file}"
    if not file.is_file():
        raise UsageError(what, "it is no regular file", "Name the file that `keyturn vault export` wrote")
    with os_error_text(what), file.open("rb") as stream:
        return stream.read(EXPORT_LIMIT + 1)
