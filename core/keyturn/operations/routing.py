"""Routing of operations: to this process, to the agent that holds the vault open, or to the host of a
forwarded socket.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar

from keyturn.agent import rpc_client
from keyturn.agent.protocol import Agent
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.model.errors import AgentHangs, AgentUnavailable, NotFound
from keyturn.model.profile import VaultState
from keyturn.operations import registry, vault
from keyturn.operations.context import Context
from keyturn.operations.operation import Operation
from keyturn.profiles.inventory import Inventory

#: Timeout of a status request. A running agent answers in a fraction of a millisecond.
STATUS_SECONDS = 0.5
#: Timeout of an operation, which may wait for AWS and for another process that calls AWS.
OPERATION_SECONDS = 110.0

P = ParamSpec("P")
R = TypeVar("R")


class OperationRouter:
    """Runs operations for one process.

    :param get_context: returns the context of this process.
    :param use_agent: False in the agent itself, which must not call another one.
    :param unlock: opens the vault without interaction, or raises.
    """

    def __init__(
        self, get_context: Callable[[], Context], *, use_agent: bool, unlock: Callable[[], None]
    ) -> None:
        self._get_context = get_context
        self._use_agent = use_agent
        self._unlock = unlock

    @property
    def _context(self) -> Context:
        return self._get_context()

    def agent(self) -> Agent | None:
        """Return the agent that answers, or None if there is none or `use_agent` is False."""
        socket = self._context.paths.socket
        if not self._use_agent or not socket.exists():
            return None
        return rpc_client.find_agent(socket, STATUS_SECONDS)

    def run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation where the vault is open. If none is, open the vault with the system keyring if
        that needs no interaction.

        An operation that calls :meth:`Context.begin` gets the inventory that was read here.

        :raises NeedsVault: or NeedsUnlock, VaultCorrupt: if no process can run it now.
        """
        arguments = operation.arguments(*args, **kwargs)
        context = self._context
        if "name" in arguments:
            inventory = context.read()
            name = str(arguments["name"])
            context = replace(context, first_reading=inventory)
            if operation.check is not None:
                operation.check(inventory.row(name))
            if inventory.caller_credential_source(name):
                return operation.function(context, *args, **kwargs)
        result = self._try_run(context, operation, *args, **kwargs)
        if result is None:
            state = self._context.vault.state()
            if state is VaultState.CLOSED:
                self._unlock()
                # It reads again, because a prompt of the keyring may have taken long.
                result = self._try_run(self._context, operation, *args, **kwargs)
            if result is None:
                raise vault.locked_error(self._context, state)
        return result

    def try_run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Run an operation where the vault is open. Return None if no process has it open."""
        return self._try_run(self._context, operation, *args, **kwargs)

    def _try_run(
        self, context: Context, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        if context.vault.state() is VaultState.OPEN:
            return operation.function(context, *args, **kwargs)
        if self._use_agent:
            socket, files = context.paths.socket, registry.shared_files(context)
            arguments = {**operation.arguments(*args, **kwargs), "files": files}
            try:
                result = rpc_client.run(socket, operation.name, arguments, OPERATION_SECONDS)
            except AgentHangs:
                raise
            except AgentUnavailable:
                # A slow agent may still run it, and a second run could undo the first.
                if self.agent() is not None:
                    raise
            else:
                return operation.result_from_json(result)
        return None

    def uses_caller_credentials(self, name: str) -> bool:
        """Return True if the profile's chain ends in a `credential_source` (environment, EC2 or ECS role).

        Such sessions belong to the calling process, so they are resolved locally: neither the vault nor the
        agent is used.
        """
        return bool(self._context.read().caller_credential_source(name))

    def from_forwarded_socket(
        self, name: str, min_left_seconds: int | None, *, also_native: bool
    ) -> str | None:
        """Return the credential document of a profile from the socket that SSH forwards, for a profile that
        is not managed here. Return None if the socket is not used.

        :param also_native: use the socket for native profiles too, because the caller has no other source for
            them.
        :raises NotFound: or another error of the remote host, if the profile is unknown here.
        """
        socket = self._context.paths.forwarded
        if not self._use_agent or not rpc_client.has_forwarded_socket(str(socket)):
            return None
        inventory = self._context.read()
        if name in inventory.definitions or inventory.managed_profiles_error is not None:
            return None
        try:
            return rpc_client.get_forwarded_credentials(socket, name, min_left_seconds)
        except (NotFound, AgentUnavailable):
            if name in inventory.natives and not also_native and not _has_own_process_line(inventory, name):
                return None
            raise


def _has_own_process_line(inventory: Inventory, name: str) -> bool:
    """Return True if a native profile's own `credential_process` calls keyturn, so that no other source has
    its credentials.
    """
    line = inventory.settings(name).get("credential_process")
    return isinstance(line, str) and is_keyturn_process_line(line, name)
