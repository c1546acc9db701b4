"""Where an act is done: in this process, by the agent that holds the vault open, or on the machine that SSH comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from keyturn.agent import client
from keyturn.agent.protocol import Agent
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.model.errors import AgentHangs, AgentUnavailable, NotFound
from keyturn.model.profile import VaultState
from keyturn.operations import rpc, vault
from keyturn.operations.context import Context
from keyturn.operations.operation import Operation
from keyturn.profiles import status
from keyturn.profiles.inventory import Inventory

#: An agent that is there answers in a fraction of a millisecond.
STATUS_SECONDS = 0.5
#: An act may wait for AWS, and for another process that is asking AWS.
OPERATION_SECONDS = 110.0

P = ParamSpec("P")
R = TypeVar("R")


class OperationRouter:
    """Has acts done for one process.

    :param desk: gives the desk of this process.
    :param use_agent: whether others may be asked; the agent itself says no.
    :param unlock: opens the vault without a person, or raises.
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
        """The agent that answers, if one may be asked."""
        socket = self._context.paths.socket
        if not self._use_agent or not socket.exists():
            return None
        return client.find_agent(socket, STATUS_SECONDS)

    def run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation where the identity is; the system keyring opens the vault if that needs no person.

        :raises NeedsVault: or NeedsUnlock, VaultCorrupt: if no process can run it now.
        """
        arguments = operation.arguments(*args, **kwargs)
        if self.uses_caller_credentials(arguments.get("name")):
            return operation.result_from_json(self._run_here(operation, arguments))
        result = self._try_run(operation, arguments)
        if result is None:
            state = self._context.vault.state()
            if state is VaultState.CLOSED:
                self._unlock()
                result = self._try_run(operation, arguments)
            if result is None:
                raise vault.locked_error(self._context, state)
        return operation.result_from_json(result)

    def try_run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Run an operation where the identity is; return None if no process has the vault open."""
        result = self._try_run(operation, operation.arguments(*args, **kwargs))
        return None if result is None else operation.result_from_json(result)

    def _try_run(self, operation: Operation[..., Any], arguments: dict[str, object]) -> object:
        if self._context.vault.state() is VaultState.OPEN:
            return self._run_here(operation, arguments)
        if self._use_agent:
            socket, files = self._context.paths.socket, rpc.shared_files(self._context)
            try:
                return client.run(socket, operation.name, {**arguments, "files": files}, OPERATION_SECONDS)
            except AgentHangs:
                raise
            except AgentUnavailable:
                # A slow agent may still be at it, and running the operation a second time could undo the first.
                if self.agent() is not None:
                    raise
        return None

    def _run_here(self, operation: Operation[..., Any], arguments: dict[str, object]) -> object:
        return rpc.dispatch(self._context, operation.name, arguments)

    def uses_caller_credentials(self, name: object) -> bool:
        """Whether a profile's credentials are those of whoever asks: then no vault and no agent is asked for them."""
        inventory = self._context.read()
        return isinstance(name, str) and bool(
            status.caller_credential_source(name, inventory.natives, inventory.definitions)
        )

    def from_forwarded_socket(
        self, name: str, min_left_seconds: int | None, *, also_native: bool
    ) -> str | None:
        """What a socket that SSH carries here gives for a profile that is not managed here; None where it gives none.

        :param also_native: nothing else could give credentials of a native profile either.
        :raises NotFound: or another error of the far machine, where nothing here knows the profile.
        """
        socket = self._context.paths.forwarded
        if not self._use_agent or not client.has_forwarded_socket(str(socket)):
            return None
        inventory = self._context.read()
        if name in inventory.definitions or inventory.managed_profiles_error is not None:
            return None
        try:
            return client.get_forwarded_credentials(socket, name, min_left_seconds)
        except (NotFound, AgentUnavailable):
            if name in inventory.natives and not also_native and not _has_own_process_line(inventory, name):
                return None
            raise


def _has_own_process_line(inventory: Inventory, name: str) -> bool:
    """Whether a native profile's own line asks keyturn, so that nothing else could give its credentials."""
    line = inventory.settings(name).get("credential_process")
    return isinstance(line, str) and is_keyturn_process_line(line, name)
