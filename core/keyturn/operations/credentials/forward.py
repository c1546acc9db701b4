"""What the far end of an SSH line may have: temporary credentials of the profiles that `config.toml` names, nothing else."""

from __future__ import annotations

from datetime import timedelta

from keyturn.delivery import credential_process
from keyturn.model.errors import ChangeRefused, KeyturnError, NeedsInteraction, NotFound
from keyturn.operations.context import Context
from keyturn.operations.credentials.get_credentials import credential_document
from keyturn.profiles import status
from keyturn.profiles.inventory import Inventory
from keyturn.storage import config


def get_forwarded_credentials(context: Context, name: str, min_left: timedelta | None = None) -> str:
    """The credential_process document of a profile, for another machine.

    :param min_left: it must live so long at min_left.
    :raises NotFound: it is not named in `config.toml`, whether there is such a profile or not.
    :raises Protected: it is, and has nothing that may leave this machine.
    :raises NeedsPerson: somebody at this machine must renew it first; the far end is never asked for anything.
    """
    _require_named(context, name)
    _require_temporary(context.read(), name)
    try:
        document = credential_document(context, name, min_left, None, is_remote=True)
    except NeedsInteraction as error:
        hint = f"On the machine that forwards it, run: keyturn refresh {name}"
        raise NeedsInteraction(error.what, error.why, hint) from None
    credentials, _ = credential_process.parse(document)
    if credentials.session_token is None or credentials.expires is None:
        raise _stored_locally(name, "its credentials have no end")
    return document


def _require_named(context: Context, name: str) -> None:
    """Before anything else is read, so that what is not named costs next to nothing."""
    try:
        names = config.load(context.paths.config_file).forward
    except (KeyturnError, OSError):
        why = "config.toml of the machine that forwards cannot be used"
        raise ChangeRefused(
            f"forwarding of {name}", why, "There, keyturn list says what is wrong with it"
        ) from None
    if name not in names:
        hint = "On the machine that forwards, name it in `forward` of config.toml"
        raise NotFound(f"profile {name}", "it is not forwarded to here", hint)


def _require_temporary(inventory: Inventory, name: str) -> None:
    definition = inventory.definitions.get(name)
    if definition is not None and definition.delivers_key:
        raise _stored_locally(name, "it hands out its long-term key")
    if status.caller_credential_source(name, inventory.natives, inventory.definitions):
        raise _stored_locally(name, "it takes its credentials from whoever asks")


def _stored_locally(name: str, why: str) -> KeyturnError:
    return ChangeRefused(
        f"forwarding of {name}", f"{why}, which never leaves its machine", "Use a role behind it instead"
    )
