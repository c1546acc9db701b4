"""Find the definition of a managed profile, or say how a profile becomes one."""

from __future__ import annotations

from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.model.errors import THEN_RUN, Hint, NotFound, Remedy
from keyturn.model.profile import VaultState
from keyturn.operations.context import Context
from keyturn.profiles.inventory import Inventory
from keyturn.storage.managed_profiles import ManagedProfile


def managed_profile(context: Context, inventory: Inventory, name: str) -> ManagedProfile:
    """Return the definition of a managed profile.

    :raises NotFound: if the profile does not exist or is not managed by keyturn.
    :raises ChangeRefused: if `profiles.toml` cannot be read.
    """
    inventory.require_definitions()
    definition = inventory.definitions.get(name)
    if definition is None:
        inventory.row(name)
        raise NotFound(f"{name} is not managed by keyturn", "", _hint(context, inventory, name))
    return definition


def _hint(context: Context, inventory: Inventory, name: str) -> Hint:
    if not is_keyturn_process_line(str(inventory.settings(name).get("credential_process", "")), name):
        return ("Adopt it first: ", Remedy("adopt", name))
    if context.vault.state() is VaultState.ABSENT:
        return (
            "Its vault is on another machine or was lost. Export it there, and here ",
            THEN_RUN,
            Remedy("vault import", flag="FILE"),
        )
    return ("To restore its settings from the vault, ", THEN_RUN, Remedy("release", name))
