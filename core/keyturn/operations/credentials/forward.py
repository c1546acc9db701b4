"""Credentials for the remote end of a forwarded socket: temporary credentials of the profiles in `forward` of
`config.toml`.
"""

from __future__ import annotations

from datetime import timedelta

from keyturn.delivery import credential_process
from keyturn.model.errors import THEN_RUN, ChangeRefused, KeyturnError, NeedsInteraction, NotFound, Remedy
from keyturn.operations import key_delivery
from keyturn.operations.context import Context
from keyturn.operations.credentials.get_credentials import credential_document
from keyturn.profiles.inventory import Inventory
from keyturn.storage import config


def get_forwarded_credentials(context: Context, name: str, min_left: timedelta | None = None) -> str:
    """Return the credential document of a profile for another machine.

    :param min_left: the session must be valid for at least this time.
    :raises NotFound: if the profile is not in `forward`, no matter if it exists.
    :raises ChangeRefused: if its credentials must not leave this machine.
    :raises NeedsInteraction: if a person at this machine must renew it first. The remote user is never
        prompted.
    """
    _require_named(context, name)
    _require_temporary(context, context.read(), name)
    try:
        document = credential_document(context, name, min_left, None, is_remote=True)
    except NeedsInteraction as error:
        raise NeedsInteraction(
            error.what, error.why, ("On the machine that forwards it, ", THEN_RUN, Remedy("refresh", name))
        ) from None
    credentials, _ = credential_process.parse(document)
    if credentials.session_token is None or credentials.expires is None:
        raise _stored_locally(name, "its credentials do not expire")
    return document


def _require_named(context: Context, name: str) -> None:
    """Check that the profile is in `forward`. This runs first, because a request for another profile should
    cost little.
    """
    try:
        names = config.load(context.paths.config_file).forward
    except (KeyturnError, OSError):
        raise ChangeRefused(
            f"Could not forward {name}",
            "config.toml of the forwarding machine is invalid",
            ("See the problem there: ", Remedy("list")),
        ) from None
    if name not in names:
        raise NotFound(
            f"Profile not found: {name}",
            "it is not forwarded to this machine",
            "Add it to `forward` in config.toml of the forwarding machine",
        )


def _require_temporary(context: Context, inventory: Inventory, name: str) -> None:
    definition = inventory.definitions.get(name)
    if definition is not None and key_delivery.hands_out_key(context, inventory, definition):
        raise _stored_locally(name, "it delivers its long-term key")
    if inventory.caller_credential_source(name):
        raise _stored_locally(name, "it uses the caller's credentials")


def _stored_locally(name: str, why: str) -> KeyturnError:
    return ChangeRefused(
        f"Could not forward {name}",
        f"{why}, which must not leave the forwarding machine",
        "Forward a role that uses it as its source profile",
    )
