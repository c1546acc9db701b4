"""The `keyturn vault` commands: create, unlock and lock the vault, and manage what unlocks it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from keyturn.agent import rpc_client
from keyturn.cli.options import as_json, credential_service, opens_vault, yes
from keyturn.cli.output import emit, say, tell_if_slow, warn
from keyturn.cli.prompts import (
    VaultUnlocker,
    ask_new_passphrase,
    ask_secret,
    confirm,
    create_vault,
    given_or_asked,
    on_terminal,
)
from keyturn.model.errors import (
    ChangeRefused,
    KeyturnError,
    NeedsInteraction,
    NeedsUnlock,
    NeedsVault,
    Remedy,
    UsageError,
    VaultError,
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
    """Manage the vault, the encrypted store of long-term keys and sessions."""


@vault.command()
@click.option(
    "--slot",
    type=click.Choice(["keyring", "passphrase"]),
    help="Unlock with the system keyring or a passphrase.",
)
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the new passphrase from file descriptor N."
)
@click.option("--recovery-out-fd", type=int, metavar="M", help="Write the recovery key to file descriptor M.")
@click.option(
    "--anew", is_flag=True, help="Create it even if managed profiles need keys of a vault that is lost."
)
def init(*, slot: str | None, passphrase_fd: int | None, recovery_out_fd: int | None, anew: bool) -> None:
    """Create the vault. Shows the recovery key once, or writes it to --recovery-out-fd."""
    service = credential_service()
    if service.context.vault.state() is not VaultState.ABSENT:
        raise VaultExists("Vault already exists", "", Remedy("vault status"))
    error: KeyturnError | None = None if anew else vault_operations.missing_error(service.context)
    error = error or vault_operations.read_only_error(service.context)
    if error is not None:
        raise error
    chosen_slot = slot or (
        "passphrase" if passphrase_fd is not None or service.keyring_backend() is None else "keyring"
    )
    passphrase = None
    if chosen_slot == "passphrase":
        unanswerable = NeedsInteraction(
            "Could not create the vault", "there is no terminal for the passphrase", "Use --passphrase-fd N"
        )
        passphrase = passphrases.check(
            given_or_asked(passphrase_fd, "the passphrase", ask_new_passphrase, unanswerable)
        )
    if recovery_out_fd is None and on_terminal():
        create_vault(service, chosen_slot, passphrase, anew=anew)
    else:
        _init_without_prompt(service, chosen_slot, passphrase, recovery_out_fd, anew=anew)
    say(f"Vault created and unlocked. It unlocks with the {chosen_slot}.")


def _init_without_prompt(
    service: CredentialService, slot: str, passphrase: Secret | None, out_fd: int | None, *, anew: bool
) -> None:
    if out_fd is not None:
        _require_writable(out_fd)
    with tell_if_slow("Creating the vault"):
        recovery_key = service.create_vault(slot, passphrase, anew=anew)
    if out_fd is None:
        warn("The recovery key has not been shown yet. Run: keyturn vault recovery-key")
        return
    os.write(out_fd, recovery_key.reveal().encode() + b"\n")
    service.confirm_recovery_key()


def _require_writable(descriptor: int) -> None:
    try:
        os.write(descriptor, b"")
    except OSError as error:
        raise UsageError(
            "Invalid --recovery-out-fd",
            f"file descriptor {descriptor} is not writable ({error.strerror})",
            "Open it, for example: 3>file",
        ) from None


@vault.command()
@opens_vault
def unlock(unlocker: VaultUnlocker) -> None:
    """Unlock the vault for 12 hours with the given secret, the system keyring or the passphrase.

    An agent of another version of keyturn is replaced; requests in progress are finished.
    """
    service = unlocker.service
    state = service.snapshot().vault
    if state is VaultState.ABSENT:
        raise vault_operations.missing_error(service.context) or NeedsVault(
            "No vault yet", "", Remedy("vault init")
        )
    if state is VaultState.OPEN and not unlocker.has_given_secret:
        if not service.needs_new_agent() or not unlocker.can_unlock:
            say("Vault is unlocked.")
            return
        state = service.context.vault.state()
    if state is VaultState.CLOSED and not unlocker.has_given_secret:
        unlocker.unlock_by_keyring()
    else:
        unlocker.unlock()
    if service.context.vault.state() is VaultState.OPEN:
        warn("The agent could not be started, so the vault locks again when this command ends.")
    say("Vault is unlocked.")


@vault.command()
def lock() -> None:
    """Lock the vault and stop the agent."""
    credential_service().lock()
    say("Vault is locked.")


@vault.command()
@as_json
def status(*, json_: bool) -> None:
    """Show the vault's state and what unlocks it."""
    service = credential_service()
    snapshot = service.snapshot()
    if snapshot.vault in (VaultState.LOCKED, VaultState.CLOSED):
        rpc_client.require_responsive(service.agent_socket)
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
        VaultState.ABSENT: "There is no vault yet. It is created with the first secret, or with: keyturn "
        "vault init",
        VaultState.LOCKED: "Locked. To unlock it with your passphrase: keyturn vault unlock",
        VaultState.CLOSED: "Closed. The system keyring unlocks it when needed.",
        VaultState.OPEN: "Open. The agent holds it unlocked.",
        VaultState.BROKEN: "Unreadable. keyturn does not overwrite it.",
    }
    fault = vault_operations.missing_error(service.context) or service.vault_error()
    if fault is None or snapshot.vault is not VaultState.ABSENT:
        say(state_texts[snapshot.vault])
    if fault is not None:
        say(fault.line())
    if slots:
        say(f"Unlocks with: {', '.join(slots)}, recovery key.")
    if not snapshot.recovery_key_seen:
        say("The recovery key has not been shown yet. Run: keyturn vault recovery-key")


@vault.command("recovery-key")
@yes
@opens_vault
def recovery_key(unlocker: VaultUnlocker, *, yes: bool) -> None:
    """Print the recovery key, which unlocks the vault."""
    confirm("Show the recovery key, which unlocks all secrets", yes=yes)
    service = _open_here(unlocker)
    click.echo(service.context.vault.recovery_key().reveal())
    service.confirm_recovery_key()


@vault.command()
@click.option(
    "--new-passphrase-fd", type=int, metavar="N", help="Read the new passphrase from file descriptor N."
)
@opens_vault
def passphrase(unlocker: VaultUnlocker, *, new_passphrase_fd: int | None) -> None:
    """Set or change the passphrase. Unlocks the vault with the old passphrase or the keyring first."""
    service = _open_here(unlocker)
    new = _new_passphrase(new_passphrase_fd)
    with tell_if_slow("Setting the passphrase"):
        service.context.vault.set_passphrase(new)
    say("Passphrase set.")


@vault.command("reset-passphrase")
@click.option(
    "--recovery-key-fd", type=int, metavar="N", help="Read the recovery key from file descriptor N."
)
@click.option(
    "--new-passphrase-fd", type=int, metavar="N", help="Read the new passphrase from file descriptor N."
)
def reset_passphrase(*, recovery_key_fd: int | None, new_passphrase_fd: int | None) -> None:
    """Set a new passphrase with the recovery key, if the old one is forgotten."""
    service = credential_service()
    unanswerable = NeedsInteraction(
        "Could not reset the passphrase", "there is no terminal", "Use --recovery-key-fd N"
    )
    prompt = partial(ask_secret, "Recovery key (AGE-SECRET-KEY-1…)")
    key = given_or_asked(recovery_key_fd, "the recovery key", prompt, unanswerable)
    new = _new_passphrase(new_passphrase_fd)
    with tell_if_slow("Setting the passphrase"):
        service.context.vault.reset_passphrase(key, new)
    say("Passphrase set.")


def _new_passphrase(descriptor: int | None) -> Secret:
    name = "the new passphrase"
    unanswerable = NeedsInteraction(
        f"Could not read {name}", "there is no terminal", "Use --new-passphrase-fd N"
    )
    return passphrases.check(given_or_asked(descriptor, name, ask_new_passphrase, unanswerable))


def _open_here(unlocker: VaultUnlocker) -> CredentialService:
    """Unlock the vault in this process, because the agent's unlocked vault is not enough for these
    commands.
    """
    service = unlocker.service
    state = service.context.vault.state()
    if unlocker.recovery_key_fd is not None:
        service.unlock_here(recovery_key=unlocker.recovery_key())
    elif state is VaultState.CLOSED and unlocker.passphrase_fd is None:
        with tell_if_slow("Opening the vault"):
            service.unlock_here()
    elif state is not VaultState.ABSENT:
        given_passphrase = unlocker.passphrase("Passphrase of the keyturn vault")
        if given_passphrase is None:
            raise NeedsUnlock("Passphrase required", "there is no terminal", "Use --passphrase-fd N")
        with tell_if_slow("Opening the vault"):
            service.unlock_here(given_passphrase)
    service.context.require_open()
    return service


@vault.command()
@opens_vault
def restore(unlocker: VaultUnlocker) -> None:
    """Restore the newest readable state of a damaged vault. Damaged files are moved aside."""
    service = unlocker.service
    passphrase = recovery_key = None
    if unlocker.recovery_key_fd is not None:
        recovery_key = unlocker.recovery_key()
    elif unlocker.passphrase_fd is not None or _opens_with_passphrase(service):
        passphrase = unlocker.passphrase("Passphrase of the keyturn vault")
        if passphrase is None:
            raise NeedsUnlock(
                "Could not restore the vault",
                "it needs the passphrase or the recovery key",
                "Use --passphrase-fd N",
            )
    with tell_if_slow("Opening the vault"):
        messages = service.restore_vault(passphrase, recovery_key)
    say(*messages)


def _opens_with_passphrase(service: CredentialService) -> bool:
    """Return True if only a passphrase opens the vault, even if its keys are missing or damaged."""
    try:
        slots = service.context.vault.slots()
    except VaultError:
        return False  # recipient.txt is damaged: the recovery key is needed
    return "passphrase" in slots and "keyring" not in slots


@vault.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--new-passphrase-fd", type=int, metavar="N", help="Read the export's passphrase from file descriptor N."
)
@yes
@opens_vault
def export(unlocker: VaultUnlocker, *, file: Path, new_passphrase_fd: int | None, yes: bool) -> None:
    """Export the vault and the managed profiles to FILE, encrypted with a new passphrase (age format)."""
    exists_error = ChangeRefused(
        "Could not export the vault", f"{file} already exists", "Choose another file"
    )
    if os.path.lexists(file):
        raise exists_error
    if not file.absolute().parent.is_dir():
        raise UsageError(
            "Could not export the vault",
            f"{file.parent} is not a folder",
            "Create it, or choose another file",
        )
    service = _open_here(unlocker)
    confirm("Export all long-term keys", yes=yes)
    if new_passphrase_fd is None and on_terminal():
        click.echo("The export needs a new passphrase.", err=True)
    new = _new_passphrase(new_passphrase_fd)
    with tell_if_slow("Encrypting the export"):
        sealed = service.export_vault(new)
    with os_error_text(f"Could not write {file}"):
        try:
            create_file(file.absolute(), sealed)
        except FileExistsError:
            raise exists_error from None
    service.context.log_success("vault", "export", f"to {file}")
    say(f"Exported to {file}.")
    for row in service.snapshot().profiles:
        if row.rotation.pending_step is not None:
            warn(
                f"{row.name}: a rotation is pending, and the export does not include its journal. Finish it, "
                "then export again: "
                f"keyturn rotate {row.name} --status"
            )


@vault.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--slot", type=click.Choice(["keyring", "passphrase"]), default="passphrase", show_default=True)
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the export's passphrase from file descriptor N."
)
@click.option(
    "--new-passphrase-fd",
    type=int,
    metavar="N",
    help="Read the vault's new passphrase from file descriptor N.",
)
def import_(*, file: Path, slot: str, passphrase_fd: int | None, new_passphrase_fd: int | None) -> None:
    """Create the vault from an export, and add its managed profiles. An existing vault must be the same one;
    its keys are not changed.
    """
    service = credential_service()
    is_absent = service.context.vault.state() is VaultState.ABSENT
    exported = _read_export(file)
    unanswerable = NeedsInteraction(
        "Could not import the vault",
        "there is no terminal",
        "Use --passphrase-fd N for the export's passphrase",
    )
    prompt = partial(ask_secret, "Passphrase of the export")
    export_passphrase = given_or_asked(passphrase_fd, "the passphrase of the export", prompt, unanswerable)
    new_passphrase = _new_passphrase(new_passphrase_fd) if slot == "passphrase" and is_absent else None
    with tell_if_slow("Opening the export"):
        lines = service.import_vault(exported, export_passphrase, slot, new_passphrase)
    say("Vault created." if is_absent else "The vault already existed; its keys are not changed.", *lines)


def _read_export(file: Path) -> bytes:
    """Return the bytes of an export, at most one more than the size limit. Pipes are refused, because they
    could block forever."""
    what = f"Could not read {file}"
    if not file.is_file():
        raise UsageError(
            what, "it is not a regular file", ("Give a file written by: ", Remedy("vault export"))
        )
    with os_error_text(what), file.open("rb") as stream:
        return stream.read(EXPORT_LIMIT + 1)
