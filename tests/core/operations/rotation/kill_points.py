"""A rotation in its own process, killed at a system call, while AWS continues in this process."""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from keyturn.model.errors import KeyturnError
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.operations.context import key_entry
from keyturn.operations.rotation.record import Step
from keyturn.operations.rotation.record_store import records
from keyturn.service import CredentialService
from keyturn_sandbox.aws_errors import Refusal
from keyturn_sandbox.id_generator import IdGenerator
from keyturn_sandbox.policy.principals import AccessKey, User
from keyturn_sandbox.services import iam, sts
from keyturn_sandbox.state import SandboxState
from keyturn_tui import main
from tests.core.operations.rotation.direct_iam import FaultyAws
from tests.resilience.crash_injection.crash_home import KEY_ID, NOW, SECRET, Home

PROFILE = "dev"
_APIS = {"iam": iam, "sts": sts}
_SIZE = struct.Struct(">I")


@dataclass
class Cloud:
    """The AWS of one run: a user with the key that the home holds. It answers over a socket, one call per
    connection."""

    path: str
    now: datetime = NOW
    state: SandboxState = field(init=False)
    user: User = field(init=False)

    def __post_init__(self) -> None:
        self.reset()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def reset(self) -> None:
        """Start again with a new sandbox that holds only the first key."""
        self.now = NOW
        self.state = SandboxState(self._moment, IdGenerator(fixed=False))
        self.user = self.state.add_user("123456789012", PROFILE, age=timedelta(days=100))
        self.user.keys.append(AccessKey(KEY_ID, Secret(SECRET), NOW - timedelta(days=94)))

    def _moment(self) -> datetime:
        return self.now

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError, EOFError, struct.error):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        api, action, key_id, secret, params = _receive(connection)
        signer = Credentials(key_id, Secret(secret))
        try:
            found = FaultyAws(self.state)._dispatch(_APIS[api], action, signer, params)
        except Refusal as refused:
            answer: Any = (False, (refused.code, refused.status, refused.message))
        else:
            answer = (True, _plain(found))
        _send(connection, answer)


def _plain(found: Any) -> Any:
    """Return the value without `Secret`, which pickle refuses."""
    if isinstance(found, Secret):
        return {"secret": found.reveal()}
    if isinstance(found, dict):
        return {name: _plain(value) for name, value in found.items()}
    return [_plain(each) for each in found] if isinstance(found, list) else found


def _secret(found: Any) -> Any:
    if isinstance(found, dict):
        if set(found) == {"secret"}:
            return Secret(found["secret"])
        return {name: _secret(value) for name, value in found.items()}
    return [_secret(each) for each in found] if isinstance(found, list) else found


def _send(connection: socket.socket, subject: Any) -> None:
    data = pickle.dumps(subject)
    connection.sendall(_SIZE.pack(len(data)) + data)


def _receive(connection: socket.socket) -> Any:
    (size,) = _SIZE.unpack(connection.recv(_SIZE.size, socket.MSG_WAITALL))
    return pickle.loads(connection.recv(size, socket.MSG_WAITALL))  # noqa: S301  # from this very process


@dataclass
class CloudClient(FaultyAws):
    """Connection to a :class:`Cloud` in another process."""

    path: str = ""

    def _dispatch(self, api: Any, action: str, signer: Credentials, params: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.path)
            name = api.__name__.rpartition(".")[2]
            _send(connection, (name, action, signer.access_key_id, signer.secret_access_key.reveal(), params))
            is_done, answer = _receive(connection)
        if not is_done:
            raise Refusal(*answer)
        return _secret(answer)


def rotate(cloud: Cloud) -> Callable[[Home], int]:
    """Run the rotation to its last step, at the boundary of the console script."""

    def run(home: Home) -> int:
        service = CredentialService.from_environ(home.environ)
        wire = CloudClient(cloud.state, path=cloud.path)
        service = CredentialService(replace(service.context, aws=wire, sleep=lambda _: None), use_agent=False)
        try:
            service.unlock_here(recovery_key=home.recovery_key)
            rotation = service.rotation
            for _ in rotation.run_to_end(
                rotation.start(PROFILE), lambda: rotation.advance(PROFILE), lambda _: None
            ):
                pass
        except Exception as error:  # noqa: BLE001  # the boundary of the console script
            return main._report(error)
        return 0

    return run


def next_start(home: Home, cloud: Cloud, later: timedelta) -> CredentialService:
    """Start a later process, after `later` has passed."""
    service = CredentialService.from_environ(home.environ, use_agent=False, aws=FaultyAws(cloud.state))
    cloud.now = NOW + later
    service = CredentialService(
        replace(service.context, clock=lambda: NOW + later, sleep=lambda _: None), use_agent=False
    )
    service.unlock_here(recovery_key=home.recovery_key)
    return service


def working_keys(cloud: Cloud, service: CredentialService) -> set[str]:
    """Return the IDs of the keys on disk that AWS accepts."""
    on_disk = {
        entry["key_id"]: entry["secret"]
        for name, entry in service.context.vault.keys().items()
        if name.startswith(key_entry(""))
    }
    for record in records(service.context):
        for key in (record.old, record.new) if not record.step.is_last else ():
            if key is not None:
                on_disk.setdefault(key.access_key_id, key.secret_access_key.reveal())
    return {
        key.key_id
        for key in cloud.user.keys
        if key.status == "Active" and on_disk.get(key.key_id) == key.secret.reveal()
    }


def broken_promises(home: Home, cloud: Cloud) -> Iterator[str]:
    """Return the broken promises after a killed rotation; empty if there are none."""
    service = next_start(home, cloud, timedelta(minutes=5))
    if not working_keys(cloud, service):
        yield "no key that works is on disk"
    last = None
    for _ in range(20):
        try:
            last = service.rotation.advance(PROFILE)
        except KeyturnError as error:
            if error.exit_code == 3:
                break
            yield f"resume: {error.line()}"
            break
        if last.orphans:
            service.rotation.delete_other_key(PROFILE, last.orphans[0][-4:])
            last = None
            break
        if last.is_halted or last.is_finished:
            break
    if not working_keys(cloud, service):
        yield "no key that works is on disk after the resume"
    keys = service.rotation.status(PROFILE)["keys"]
    if {key["key_id"] for key in keys if key["held"]} != {key.key_id for key in cloud.user.keys}:
        yield f"a key is left that nobody holds: {keys}"
    if last is not None and not last.is_finished and last.step is not Step.DEACTIVATED:
        yield f"it came to a halt at {last.step}: {last.summary()}"
