"""Facade of the core: state and operations for the command line, the app and the agent.

Reading state never unlocks the vault and never calls AWS. An operation that needs the vault's identity runs
in the process that holds it: the agent if one answers, otherwise this process.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

from keyturn.agent import rpc_client, shutdown
from keyturn.agent.protocol import Agent
from keyturn.aws.api import AwsFactory
from keyturn.aws.botocore_providers import resolved_providers
from keyturn.aws.client import BotoClientFactory
from keyturn.awsconfig.parser import FileKind
from keyturn.awsconfig.process_line import is_keyturn_process_line
from keyturn.awsconfig.writer import SharedFiles, require_file
from keyturn.model.errors import (
    AgentHangs,
    AgentUnavailable,
    KeyturnError,
    NeedsUnlock,
    NeedsVault,
    NotFound,
    Remedy,
    UsageError,
)
from keyturn.model.profile import (
    Delivery,
    Kind,
    Plan,
    Profile,
    Refreshed,
    Renew,
    Snapshot,
    State,
    VaultState,
    in_use,
    session_state,
    state_of,
)
from keyturn.model.secret import Secret
from keyturn.model.steps import UNWATCHED, Steps
from keyturn.operations import (
    adopt,
    configure,
    deliver,
    key_delivery,
    registry,
    release,
    startup_recovery,
    vault,
)
from keyturn.operations.context import Context
from keyturn.operations.credentials import document_cache, forward, get_credentials, refresh, refresh_many
from keyturn.operations.credentials.auto_renew import AutoRenewal
from keyturn.operations.credentials.refresh_many import RefreshOutcome
from keyturn.operations.operation import Operation
from keyturn.operations.rotation import vault_keys
from keyturn.operations.rotation.rotation_client import RotationClient
from keyturn.profiles import settings
from keyturn.profiles.inventory import Inventory, stamp
from keyturn.storage.activity import ActivityLog
from keyturn.storage.history import History
from keyturn.storage.index import Index, IndexFile
from keyturn.storage.paths import Paths, paths_for
from keyturn.system.caller_environment import CallerEnvironment
from keyturn.system.caller_variables import caller_variables
from keyturn.system.clock import Clock, clock_for
from keyturn.system.executable import keyturn_program
from keyturn.vault.keyring import SystemKeyring
from keyturn.vault.vault import Vault

#: Timeout of a status request. A running agent answers in a fraction of a millisecond.
STATUS_SECONDS = 0.5
#: Timeout of a status request that decides if an agent is replaced.
AWAIT_SECONDS = 10.0
#: Timeout of an operation, which may wait for AWS and for another process that calls AWS.
OPERATION_SECONDS = 110.0
#: Timeout of an operation that opens the passphrase slot, which takes long on a busy machine and has limits
#: of its own.
PASSPHRASE_OPERATION_SECONDS = 660.0

P = ParamSpec("P")
R = TypeVar("R")


class CredentialService:
    """State of all profiles, and the operations on them.

    :param context: paths, clock, vault, files and AWS client of this process.
    :param use_agent: True if the agent may be called and started; False in the agent itself.
    """

    def __init__(self, context: Context, *, use_agent: bool = True) -> None:
        self.context = context
        self.paths: Paths = context.paths
        self.clock: Clock = context.clock
        self._use_agent = use_agent
        self._generations = itertools.count(1)
        self._last_stamp: tuple[object, ...] = ()
        self._last_agent: Agent | None = None
        self._auto_renewal = AutoRenewal(context)
        self.rotation = RotationClient(
            self._run, context.clock, lambda name: vault_keys.entry_of(context.read(), name)
        )

    @classmethod
    def from_environ(
        cls,
        environ: Mapping[str, str],
        *,
        use_agent: bool = True,
        serves_others: bool = False,
        aws: AwsFactory | None = None,
    ) -> CredentialService:
        """Return the service for the environment `environ`. No file is read yet.

        :param serves_others: True in the agent.
        :param aws: replaces the AWS client, for tests.
        """
        paths = paths_for(environ)
        clock = clock_for(environ)
        index = IndexFile(paths.index_file)
        vault = Vault(
            paths.vault_dir,
            SystemKeyring(environ),
            expected_generation=lambda: index.load().vault_generation,
            expected_recipient=lambda: index.load().vault_recipient,
        )
        history = History(paths.history_dir, vault.seal, clock)
        known_sections: dict[str, tuple[str, ...]] = {}
        files = SharedFiles(
            paths.locks_dir, keep=history.keep, known_sections=lambda path: known_sections.get(str(path), ())
        )
        context = Context(
            paths=paths,
            environ=environ,
            clock=clock,
            vault=vault,
            files=files,
            index=index,
            activity=ActivityLog(paths.state_dir / "activity.jsonl"),
            aws=aws or BotoClientFactory(clock),
            program=lambda: keyturn_program(environ),
            resolved_providers=resolved_providers,
            serves_others=serves_others,
            known_sections=known_sections,
        )
        return cls(context, use_agent=use_agent)

    def watched(self, steps: Steps) -> CredentialService:
        """Return the service for a front end that shows the steps of an operation and can stop it."""
        return CredentialService(replace(self.context, steps=steps), use_agent=self._use_agent)

    # State. Nothing here unlocks the vault or calls AWS.

    def now(self) -> datetime:
        """Return the current time, aware UTC."""
        return self.clock()

    def index(self) -> Index:
        """Return the current content of the index."""
        return self.context.index.load()

    def snapshot(self) -> Snapshot:
        """Return everything that the user interfaces show, read from the shared files, `profiles.toml`,
        `config.toml` and the index.
        """
        self._last_stamp = stamp(self.paths, self.context.environ)
        inventory = self.context.read()
        state, agent = self._vault_state()
        self._last_agent = agent
        sandbox = self.context.environ.get("KEYTURN_SANDBOX")
        return Snapshot(
            generation=next(self._generations),
            profiles=inventory.rows(),
            problems=inventory.problems,
            warnings=inventory.warnings(),
            vault=state,
            agent=agent is not None,
            paused=agent is not None and agent.paused,
            recovery_key_seen=inventory.index.recovery_key_seen or state is VaultState.ABSENT,
            sandbox=f". {sandbox}/env" if sandbox else None,
        )

    def has_changed(self) -> bool:
        """Return True if the agent, or the stat values of a file, have changed since the last
        :meth:`snapshot`.
        """
        if self._last_agent is not None and self._find_agent() != self._last_agent:
            return True
        return stamp(self.paths, self.context.environ) != self._last_stamp

    def due_profiles(self) -> tuple[str, ...]:
        """Return the managed profiles in use whose session is due or expired and can be renewed without
        interaction.
        """
        inventory = self.context.read()
        state, _ = self._vault_state()
        return tuple(row.name for row in inventory.rows() if self._is_due(row, state))

    def unused_profiles(self) -> tuple[str, ...]:
        """Return the managed profiles that are not in use and whose session has expired, if it can be renewed
        without interaction. Nothing renews them until somebody asks.
        """
        inventory, now = self.context.read(), self.clock()
        state, _ = self._vault_state()
        return tuple(
            row.name
            for row in inventory.rows()
            if _can_renew(row) and not in_use(row, now)
            if session_state(row.session, now) is State.EXPIRED
            if state_of(row, state, now) in (State.EXPIRED, State.NONE)
        )

    def _is_due(self, row: Profile, vault: VaultState) -> bool:
        now = self.clock()
        if not _can_renew(row) or not in_use(row, now):
            return False
        return state_of(row, vault, now) in (State.SOON, State.EXPIRED, State.NONE)

    def _vault_state(self) -> tuple[VaultState, Agent | None]:
        """Return the vault's state, and the agent that holds it open or None."""
        state = self.context.vault.state()
        agent = self._find_agent() if state in (VaultState.LOCKED, VaultState.CLOSED) else None
        return (state, None) if agent is None else (VaultState.OPEN, agent)

    def takes_code(self, name: str) -> bool:
        """Return True if a refresh of `name` uses a typed MFA code: it requires one, or it makes a new MFA
        session with it although it could do without.
        """
        rows = {row.name: row for row in self.context.read().rows()}
        row = rows.get(name)
        if row is None:
            return False
        source = rows.get(row.chain[0]) if row.kind == Kind.ROLE and row.chain else None
        is_from_user = source is not None and source.kind == Kind.IAM_KEY and source.mfa_serial is not None
        return row.needs_person or row.mfa_serial is not None or is_from_user

    def region(self, name: str) -> str | None:
        """Return the region of a profile in the shared files, or None."""
        return next((row.region for row in self.context.read().rows() if row.name == name), None)

    def lacks_consent(self, name: str) -> bool:
        """Return True if `session = "none"` of a profile is not confirmed, so that sessions are delivered."""
        inventory = self.context.read()
        return name in inventory.definitions and inventory.row(name).lacks_consent

    def settings(self, name: str) -> dict[str, object]:
        """Return all settings of a profile that :meth:`set` can change; only the region for a native one.

        :raises NotFound: if there is no such profile.
        """
        inventory = self.context.read()
        row, definition = inventory.row(name), inventory.definitions.get(name)
        return {settings.REGION: row.region, **(settings.table(definition) if definition else {})}

    def uses_caller_credentials(self, name: str) -> bool:
        """Return True if the profile's chain ends in a `credential_source` (environment, EC2 or ECS role).

        Such sessions belong to the calling process, so they are resolved locally: neither the vault nor the
        agent is used.
        """
        return bool(self.context.read().caller_credential_source(name))

    # Sessions.

    def refresh(self, name: str, mfa_code: str | None = None) -> Refreshed:
        """See :func:`keyturn.operations.credentials.refresh.refresh`."""
        return self._run(refresh.refresh, name, mfa_code)

    def refresh_many(self, names: Sequence[str]) -> tuple[RefreshOutcome, ...]:
        """Refresh several profiles, eight at a time, without an MFA code. Return the outcome of each one that
        was begun before the operation was stopped, in the order of `names`.

        See :func:`keyturn.operations.credentials.refresh_many.refresh_many`.

        :raises NeedsVault: or NeedsUnlock, VaultCorrupt: if no process can run it now.
        """
        inventory = self.context.read()
        outcomes: dict[str, RefreshOutcome] = {}
        own: list[str] = []
        others: list[str] = []
        for name in dict.fromkeys(names):
            try:
                refresh.require_refreshable(inventory.row(name))
            except KeyturnError as error:
                outcomes[name] = RefreshOutcome(name, error=error)
                continue
            is_own = inventory.caller_credential_source(name) or (
                self._use_agent and inventory.has_own_process(name)
            )
            (own if is_own else others).append(name)
        if others:
            tables = self._run(refresh_many.refresh_many, others)
            outcomes |= {table["profile"]: RefreshOutcome.from_json(table) for table in tables}
        if own:
            with ThreadPoolExecutor(refresh_many.CALLS_AT_ONCE) as pool:
                for outcome in pool.map(self._refresh_here, self.context.steps.each("refreshing", own)):
                    outcomes[outcome.profile] = outcome
        return tuple(outcomes[name] for name in names if name in outcomes)

    def _refresh_here(self, name: str) -> RefreshOutcome:
        """Refresh a profile whose credentials belong to this process."""
        try:
            return RefreshOutcome(name, self.refresh(name))
        except KeyturnError as error:
            return RefreshOutcome(name, error=error)

    def credential_process(self, name: str, caller: CallerEnvironment | None = None) -> str:
        """See :func:`keyturn.operations.credentials.refresh.document`.

        :param caller: the environment of the process that asks, in the agent.
        """
        service = self._for_caller(caller)
        if service is not self:
            return service.credential_process(name)
        document = self._from_forwarded_socket(name, None, also_native=True)
        if document is not None:
            return document
        return document_cache.document(self.context, name, lambda: self._run(refresh.document, name))

    def get_credentials(
        self, name: str, min_left: timedelta | None = None, mfa_code: str | None = None
    ) -> str:
        """See :func:`keyturn.operations.credentials.get_credentials.get_credentials`."""
        min_left_seconds = None if min_left is None else int(min_left.total_seconds())
        document = (
            self._from_forwarded_socket(name, min_left_seconds, also_native=False)
            if mfa_code is None
            else None
        )
        if document is not None:
            return document
        return self._run(get_credentials.get_credentials, name, min_left, mfa_code)

    def get_forwarded_credentials(self, name: str, min_left_seconds: int | None = None) -> str:
        """See :func:`keyturn.operations.credentials.forward.get_forwarded_credentials`."""
        min_left = None if min_left_seconds is None else timedelta(seconds=min_left_seconds)
        return forward.get_forwarded_credentials(self.context, name, min_left)

    def deliver(self, name: str, to: Delivery, as_name: str | None = None) -> str:
        """See :func:`keyturn.operations.deliver.deliver`. The vault is needed for delivery to the credentials
        file only.
        """
        if to is not Delivery.CREDENTIALS_FILE:
            return deliver.deliver(self.context, name, to, as_name)
        require_file(self.paths.aws_credentials, FileKind.CREDENTIALS)
        return self._run(deliver.deliver, name, to, as_name)

    def stop(self, name: str) -> str:
        """See :func:`keyturn.operations.deliver.stop`."""
        message = self._run_if_open(self.context, deliver.stop, name)
        return deliver.stop(self.context, name) if message is None else message

    # Profiles.

    def set(self, name: str, values: Mapping[str, str]) -> configure.SettingsChange:
        """See :func:`keyturn.operations.configure.change`. It needs the vault only for `session=none`, which
        the user has confirmed.
        """
        self.check_set(name, values)
        if values.get("session") == "none":
            self._run(key_delivery.allow, name)
        try:
            change = configure.change(self.context, name, values)
        except BaseException:
            if values.get("session") == "none":
                self._end_consent(name)
            raise
        if values.get("session", "none") != "none":
            self._end_consent(name)
        return change

    def check_set(self, name: str, values: Mapping[str, str]) -> None:
        """See :func:`keyturn.operations.configure.check`."""
        configure.check(self.context, name, values)

    def _end_consent(self, name: str) -> None:
        """Remove the consent to hand out a key, at the latest when the vault is opened again."""
        try:
            if self._run_if_open(self.context, key_delivery.forbid, name):
                return
        except KeyturnError:
            pass  # an agent of an earlier version, or a vault that cannot be written
        key_delivery.end_consent(self.context, name)

    def mfa_devices(self, name: str) -> tuple[str, ...]:
        """See :func:`keyturn.operations.configure.mfa_devices`."""
        return self._run(configure.mfa_devices, name)

    def check_adopt(self, name: str) -> None:
        """See :func:`keyturn.operations.adopt.check`."""
        adopt.check(self.context.read(), self.context.program(), name)

    def plan_adopt(self, names: Sequence[str], *, session_none: bool = False) -> Plan:
        """See :func:`keyturn.operations.adopt.plan`."""
        return adopt.plan(self.context, names, session_none=session_none)

    def adopt(self, plan: Plan) -> tuple[str, ...]:
        """See :func:`keyturn.operations.adopt.adopt`."""
        requested = [name for name in plan.names if name not in plan.dependants]
        return self._run(
            adopt.adopt, requested, plan.digest,
            session_none=plan.session_none, group_write=[item.path for item in plan.group_write],
            change=plan.change,
        )  # fmt: skip

    def plan_release(self, names: Sequence[str], *, with_dependents: bool = False) -> Plan:
        """See :func:`keyturn.operations.release.plan`."""
        return self._run(release.plan, names, with_dependents)

    def release(
        self,
        plan: Plan,
        passphrase: Secret | None = None,
        words: str | None = None,
        *,
        recovery_key: Secret | None = None,
    ) -> tuple[str, ...]:
        """See :func:`keyturn.operations.release.release`."""
        return self._run(
            release.release, plan.names, plan.digest,
            passphrase=passphrase, recovery_key=recovery_key, words=words,
            group_write=[item.path for item in plan.group_write],
            change=plan.change, dependents=plan.dependants,
        )  # fmt: skip

    # The vault.

    def create_vault(self, slot: str, passphrase: Secret | None = None, *, anew: bool = False) -> Secret:
        """Create the vault and leave it open.

        :param slot: `keyring` or `passphrase`.
        :param anew: create it even if managed profiles need the keys of a vault that is missing.
        :returns: the recovery key, to be shown once.
        :raises VaultExists: if there is a vault, readable or not.
        :raises VaultCorrupt: if a vault that managed profiles need is missing.
        """
        recovery_key = vault.create(self.context, slot, passphrase, anew=anew)
        self._move_identity_to_agent(recovery_key=recovery_key)
        return recovery_key

    def _move_identity_to_agent(self, *, recovery_key: Secret) -> None:
        """Start an agent that holds the identity. If none can be started, this process keeps it."""
        if not self._use_agent:
            return
        try:
            rpc_client.start(self.paths, self.context.environ, recovery_key=recovery_key)
        except KeyturnError:
            return
        self.context.vault.forget()

    def confirm_recovery_key(self) -> None:
        """Record that the user has saved the recovery key."""
        self.context.update_index(lambda index: replace(index, recovery_key_seen=True))

    def unlock(
        self,
        passphrase: Secret | None = None,
        recovery_key: Secret | None = None,
        *,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Open the vault in the agent, or in this process if no agent can be started.

        Without arguments the system keyring opens it.

        :param cancelled: set by another thread to end the wait. The vault then stays locked, unless it was
            open a moment before.
        :raises WaitCancelled: if it was cancelled.
        :raises WrongPassphrase: if the passphrase or key is not this vault's.
        :raises AgentHangs: if the agent exists but does not respond.
        :raises KeyturnError: if the keyring is locked, denied or absent, or the vault is unreadable.
        """
        if self._use_agent:
            try:
                rpc_client.start(
                    self.paths,
                    self.context.environ,
                    passphrase=passphrase,
                    recovery_key=recovery_key,
                    cancelled=cancelled,
                )
            except AgentHangs:
                raise
            except AgentUnavailable:
                pass
            else:
                return
        self.unlock_here(passphrase, recovery_key, cancelled=cancelled)

    def unlock_here(
        self,
        passphrase: Secret | None = None,
        recovery_key: Secret | None = None,
        *,
        cancelled: threading.Event | None = None,
    ) -> None:
        """Open the vault in this process; errors as :meth:`unlock`."""
        vault.open_vault(self.context, passphrase, recovery_key, cancelled)

    def lock(self) -> None:
        """Stop the agent and forget the identity in this process too."""
        shutdown.lock_all(self.paths.sockets)
        self.context.vault.forget()

    def keyring_backend(self) -> str | None:
        """Return the name of the trusted system keyring, or None if there is none that works. Takes up to 3
        s.
        """
        try:
            return SystemKeyring(self.context.environ).backend()
        except KeyturnError:
            return None

    def vault_error(self) -> KeyturnError | None:
        """Return the error of the vault's files as far as it shows while locked, or None."""
        try:
            self.context.vault.check()
        except NeedsVault:
            return None
        except KeyturnError as error:
            return error
        return None

    def restore_vault(
        self, passphrase: Secret | None = None, recovery_key: Secret | None = None
    ) -> tuple[str, ...]:
        """Stop the agent and restore the vault; see :func:`keyturn.operations.vault.restore`."""
        shutdown.lock_all(self.paths.sockets)
        return vault.restore(self.context, passphrase, recovery_key)

    def export_vault(self, passphrase: Secret) -> bytes:
        """See :func:`keyturn.operations.vault.export_vault`. The vault must be open in this process."""
        return vault.export_vault(self.context, passphrase)

    def import_vault(
        self, exported: bytes, export_passphrase: Secret, slot: str, passphrase: Secret | None = None
    ) -> tuple[str, ...]:
        """See :func:`keyturn.operations.vault.import_vault`."""
        return vault.import_vault(self.context, exported, export_passphrase, slot, passphrase)

    # The agent.

    def run_operation(
        self,
        op: str,
        args: Mapping[str, object],
        caller: CallerEnvironment | None = None,
        steps: Steps = UNWATCHED,
    ) -> object:
        """Run an operation in this process, which holds the identity.

        :param caller: the environment of the process that asks.
        :param steps: the front end of the process that asks.
        """
        return registry.dispatch(replace(self.context.for_caller(caller), steps=steps), op, args)

    def _for_caller(self, caller: CallerEnvironment | None) -> CredentialService:
        """Return the service for one request of a process with the environment `caller`."""
        context = self.context.for_caller(caller)
        return self if context is self.context else CredentialService(context, use_agent=self._use_agent)

    def pause(self, *, paused: bool) -> None:
        """Pause or resume automatic renewal in the agent.

        :raises AgentUnavailable: if no agent runs; then nothing is renewed anyway.
        """
        rpc_client.call(self.agent_socket, {"op": "pause" if paused else "resume"})

    def renew_due(self, may_go_on: Callable[[], bool] = lambda: True) -> tuple[str, ...]:
        """See :meth:`keyturn.operations.credentials.auto_renew.AutoRenewal.run`."""
        return self._auto_renewal.run(may_go_on)

    def withdraw_delivered(self) -> tuple[str, ...]:
        """See :func:`keyturn.operations.deliver.withdraw_all`."""
        return deliver.withdraw_all(self.context)

    def withdraw_expired(self) -> tuple[str, ...]:
        """See :func:`keyturn.operations.startup_recovery.recover`."""
        return startup_recovery.recover(self.context)

    def wait_until_secrets_saved(self) -> None:
        """See :meth:`keyturn.operations.context.Context.wait_until_secrets_saved`."""
        self.context.wait_until_secrets_saved()

    # Where an operation runs: in this process, in the agent that holds the vault open, or at the host of a
    # forwarded socket.

    def needs_new_agent(self) -> bool:
        """Return True if an agent of another build of keyturn runs. It serves; the next unlock replaces
        it."""
        # On a busy machine one answers late, and one that is overlooked would go on with its old build.
        agent = self._find_agent(AWAIT_SECONDS)
        return agent is not None and not agent.is_current

    @property
    def agent_socket(self) -> Path:
        """The socket of the agent that runs, or the one at which an agent would listen."""
        return rpc_client.find_socket(self.context.paths.sockets)

    def _find_agent(self, seconds: float = STATUS_SECONDS) -> Agent | None:
        """Return the agent that answers, or None if there is none or `use_agent` is False."""
        return rpc_client.find_agent(self.agent_socket, seconds) if self._use_agent else None

    def _run(self, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation where the vault is open. If none is, open the vault with the system keyring if
        that needs no interaction.

        An operation that calls :meth:`Context.begin` gets the inventory that was read here.

        :raises NeedsVault: or NeedsUnlock, VaultCorrupt: if no process can run it now.
        """
        arguments = operation.arguments(*args, **kwargs)
        context = self.context
        if "name" in arguments:
            inventory = context.read()
            name = str(arguments["name"])
            context = replace(context, first_reading=inventory)
            if operation.check is not None:
                operation.check(context, *args, **kwargs)
            if inventory.caller_credential_source(name):
                return operation.function(context, *args, **kwargs)
            if self._use_agent and inventory.has_own_process(name):
                return operation.function(replace(context, runs_own_process=True), *args, **kwargs)
        result = self._run_if_open(context, operation, *args, **kwargs)
        if result is None:
            state = self.context.vault.state()
            if state is VaultState.CLOSED:
                self.unlock()
                # It reads again, because a prompt of the keyring may have taken long.
                result = self._run_if_open(self.context, operation, *args, **kwargs)
            if result is None:
                if state is VaultState.ABSENT and "name" in arguments:
                    inventory.row(name)  # a new vault would not help if there is no such profile
                raise vault.locked_error(self.context, state)
        return result

    def _run_if_open(
        self, context: Context, operation: Operation[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R | None:
        """Run an operation where the vault is open. Return None if no process has it open."""
        if context.vault.state() is VaultState.OPEN:
            return operation.function(context, *args, **kwargs)
        if self._use_agent:
            socket, files = self.agent_socket, registry.shared_files(context)
            arguments = {**operation.arguments(*args, **kwargs), "files": files}
            has_passphrase = arguments.get("passphrase") is not None
            seconds = PASSPHRASE_OPERATION_SECONDS if has_passphrase else OPERATION_SECONDS
            try:
                result = rpc_client.run(
                    socket,
                    operation.name,
                    arguments,
                    seconds,
                    variables=caller_variables(context.environ),
                    steps=None if context.steps is UNWATCHED else context.steps,
                )
            except AgentHangs:
                raise
            except UsageError as error:
                if not registry.is_unknown_operation(error, operation.name):
                    raise
                if context.vault.state() is not VaultState.CLOSED:
                    raise NeedsUnlock(
                        "The running agent is of another version of keyturn",
                        "it cannot do this, and the next unlock replaces it",
                        Remedy("vault unlock"),
                    ) from None
            except AgentUnavailable:
                # A slow agent may still run it, and a second run could undo the first.
                if self._find_agent() is not None:
                    raise
            else:
                return operation.result_from_json(result)
        return None

    def _from_forwarded_socket(
        self, name: str, min_left_seconds: int | None, *, also_native: bool
    ) -> str | None:
        """Return the credential document of a profile from the socket that SSH forwards, for a profile that
        is not managed here. Return None if the socket is not used.

        :param also_native: use the socket for native profiles too, because the caller has no other source for
            them.
        :raises NotFound: or another error of the remote host, if the profile is unknown here.
        """
        socket = self.context.paths.forwarded
        if not self._use_agent or not rpc_client.has_forwarded_socket(str(socket)):
            return None
        inventory = self.context.read()
        if name in inventory.definitions or inventory.managed_profiles_error is not None:
            return None
        try:
            return rpc_client.get_forwarded_credentials(socket, name, min_left_seconds)
        except (NotFound, AgentUnavailable):
            if name in inventory.natives and not also_native and not _has_own_process_line(inventory, name):
                return None
            raise


def _can_renew(row: Profile) -> bool:
    """Return True if a profile is to be renewed and that needs no interaction."""
    if not row.managed or row.needs_person or row.delivers_key or row.credential_source:
        return False
    return row.renew is Renew.AUTO


def _has_own_process_line(inventory: Inventory, name: str) -> bool:
    """Return True if a native profile's own `credential_process` calls keyturn, so that no other source has
    its credentials.
    """
    line = inventory.settings(name).get("credential_process")
    return isinstance(line, str) and is_keyturn_process_line(line, name)
