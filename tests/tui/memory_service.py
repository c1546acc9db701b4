"""A service without files, vault or AWS that obeys the contract of the real one: its operations change its
snapshot.

It knows one passphrase, a sequence of MFA codes that work once, and refuses what the real one refuses. The
test sets the time; nothing here sleeps except where a test asks for a slow answer.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from keyturn.model.errors import (
    AgentUnavailable,
    FileChanged,
    KeyringAbsent,
    KeyturnError,
    NeedsConfirmation,
    NeedsInteraction,
    NeedsMfa,
    NeedsUnlock,
    NeedsVault,
    NotFound,
    RotationHalted,
    UsageError,
    VaultCorrupt,
    VaultExists,
    WrongMfaCode,
    WrongPassphrase,
)
from keyturn.model.profile import (
    Delivery,
    DiffLine,
    Failure,
    FileProblem,
    Kind,
    Plan,
    Profile,
    Refreshed,
    Renew,
    Rotation,
    Session,
    Snapshot,
    State,
    VaultState,
    in_use,
    session_state,
    state_of,
)
from keyturn.model.secret import Secret
from keyturn.model.steps import UNWATCHED, Steps
from keyturn.model.text import masked_key_id
from keyturn.operations.credentials.refresh_many import RefreshOutcome
from keyturn.profiles.status import why_not_adoptable
from keyturn.storage.paths import Paths, paths_for
from keyturn.system.secret_channel import WaitCancelled
from keyturn_tui.workers import ServicePort
from tests.tui.memory_rotation import MemoryRotation
from tests.tui.sample_profiles import NOW

PASSPHRASE = "correct horse"
RECOVERY = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWERTYU"


class MemoryService:
    """An implementation of `ServicePort`, which keeps `test_service_contract.py`.

    Its agent runs exactly while the vault is open, as the real one does after an unlock.

    :param slot: "keyring" or "passphrase": the guard of the vault, if there is one.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        *,
        vault: VaultState = VaultState.OPEN,
        slot: str = "passphrase",
        keyring: str | None = None,
        problems: Sequence[FileProblem] = (),
        now: datetime | None = NOW,
        home: Path = Path("/home/jo"),
    ) -> None:
        self._profiles = {profile.name: profile for profile in profiles}
        self._order = [profile.name for profile in profiles]
        self.vault = vault
        self.slot = slot
        self.keyring = keyring
        self.problems = tuple(problems)
        self.moment = now
        self.sandbox: str | None = None
        self.recovery_seen = True
        self.paused = False
        self.good_codes = {"111111", "222222", "333333"}
        self.withdrawals = 0
        self.calls: list[tuple[str, object]] = []
        self.fail_refresh: dict[str, KeyturnError] = {}
        self.changed_under_plan = 0
        self.steps = UNWATCHED
        self.gate: threading.Event | None = None
        self.unlock_gate: threading.Event | None = None
        """An unlock waits for this event, as on a busy machine."""
        self._withdrawn: set[str] = set()
        self._sessions_made = 0
        self._files_version = 1
        self._revisions: dict[str, int] = {}
        self._generation = 1
        self._shown = 0
        self._lock = threading.RLock()
        self._home = home
        self.rotation = MemoryRotation(self)

    @property
    def paths(self) -> Paths:
        return paths_for({"HOME": str(self._home), "KEYTURN_HOME": str(self._home / "keyturn")})

    def now(self) -> datetime:
        return self.moment if self.moment is not None else datetime.now(UTC)

    def move_clock(self, length: timedelta) -> None:
        self.moment = self.now() + length

    def snapshot(self) -> Snapshot:
        with self._lock:
            self._shown = self._generation
            return Snapshot(
                generation=self._generation,
                profiles=tuple(self._profiles[name] for name in self._order),
                problems=self.problems,
                vault=self.vault,
                agent=self.vault is VaultState.OPEN,
                paused=self.vault is VaultState.OPEN and self.paused,
                recovery_key_seen=self.recovery_seen,
                sandbox=self.sandbox,
            )

    def has_changed(self) -> bool:
        return self._shown != self._generation

    def edit(self, name: str, **fields: object) -> None:
        """Change a profile as another process would."""
        with self._lock:
            self._profiles[name] = replace(self._profiles[name], **fields)  # type: ignore[arg-type]  # a test names the field's own type
            self._generation += 1
            self._files_version += 1
            self._revisions[name] = self._revisions.get(name, 0) + 1

    def change_files(self) -> None:
        """Change what is in the files beside the profiles, as another program would."""
        self._generation += 1
        self._files_version += 1

    def drop(self, name: str) -> None:
        """Remove a profile as another process would."""
        with self._lock:
            del self._profiles[name]
            self._order.remove(name)
            self._generation += 1
            self._files_version += 1

    def keyring_backend(self) -> str | None:
        return self.keyring

    def create_vault(self, slot: str, passphrase: Secret | None = None) -> Secret:
        self._record_call("new_vault", slot)
        what = "Could not create the vault"
        if self._is_vault_missing():
            raise self._vault_error()
        if self.vault is not VaultState.ABSENT:
            raise VaultExists(what, "a vault already exists")
        if slot not in ("keyring", "passphrase") or (slot == "passphrase") != bool(passphrase):
            raise UsageError(what, "use keyring, or passphrase with a passphrase")
        if slot == "keyring" and self.keyring is None:
            raise KeyringAbsent(what, "there is no system keyring")
        if passphrase is not None and passphrase.reveal() != PASSPHRASE:
            raise AssertionError("the passphrase did not arrive as it was typed")
        self._set_vault(VaultState.OPEN)
        self.slot = slot
        self.recovery_seen = False
        return Secret(RECOVERY)

    def confirm_recovery_key(self) -> None:
        self._record_call("confirm_recovery_key", "")
        self.recovery_seen = True

    def unlock(
        self,
        passphrase: Secret | None = None,
        recovery_key: Secret | None = None,
        *,
        cancelled: threading.Event | None = None,
    ) -> None:
        self._record_call("unlock", "recovery" if recovery_key else "passphrase" if passphrase else "keyring")
        while self.unlock_gate is not None and not self.unlock_gate.wait(0.01):
            if cancelled is not None and cancelled.is_set():
                raise WaitCancelled
        if self.vault is VaultState.ABSENT:
            raise NeedsVault("No vault yet", "", "Run: keyturn vault init")
        if passphrase is None and recovery_key is None and self.slot != "keyring":
            raise KeyringAbsent("unlock", "the vault has no keyring slot", "Type the passphrase.")
        if passphrase is not None and passphrase.reveal() != PASSPHRASE:
            raise WrongPassphrase("unlock", "the passphrase does not open the vault", "Try again.")
        if recovery_key is not None and recovery_key.reveal() != RECOVERY:
            raise WrongPassphrase("unlock", "the recovery key does not open the vault", "Try again.")
        self._set_vault(VaultState.OPEN)

    def lock(self) -> None:
        self._record_call("lock", "")
        if self.vault is not VaultState.ABSENT:
            self._set_vault(VaultState.CLOSED if self.slot == "keyring" else VaultState.LOCKED)

    def pause(self, *, paused: bool) -> None:
        self._record_call("pause", paused)
        if self.vault is not VaultState.OPEN:
            raise AgentUnavailable("Agent is not running", "", "Run: keyturn vault unlock")
        with self._lock:
            self.paused = paused
            self._generation += 1

    def refresh(self, name: str, mfa_code: str | None = None) -> Refreshed:
        self._record_call("refresh", (name, mfa_code))
        if self.gate is not None:
            self.gate.wait(10)
        profile = self._profile(name)
        self._require_refreshable(profile)
        self._need_vault()
        error = self.fail_refresh.get(name)
        if error is not None:
            if not isinstance(error, (NeedsInteraction, WrongMfaCode)):
                self._replace(replace(profile, failure=Failure(self.now(), error.line())))
            raise error
        if profile.mfa_serial is not None:
            self._use_code(profile, mfa_code)
        hours = 12 if profile.kind is Kind.IAM_KEY else 1
        with self._lock:
            self._sessions_made += 1
            key_id = f"ASIAEXAMPLE{self._sessions_made:05}7QX2"
        session = Session(key_id, self.now(), self.now() + timedelta(hours=hours))
        self._note_delivery(profile)
        self._replace(replace(profile, session=session, failure=None))
        return Refreshed(profile=name, session=session, seconds=0.4, delivered=profile.delivery)

    def withdraw_expired(self) -> tuple[str, ...]:
        """Withdraw expired sessions from the credentials file."""
        expired = {
            profile.session.key_id: profile.name
            for profile in self._rows()
            if profile.delivery is Delivery.CREDENTIALS_FILE
            and profile.session is not None
            and session_state(profile.session, self.now()) is State.EXPIRED
        }
        with self._lock:
            self.withdrawals += 1
            names = tuple(name for key_id, name in expired.items() if key_id not in self._withdrawn)
            self._withdrawn.update(expired)
        return names

    def watched(self, steps: Steps) -> ServicePort:
        self.steps = steps
        return self

    def refresh_many(self, names: Sequence[str]) -> tuple[RefreshOutcome, ...]:
        """One after the other, which is enough to see what the app makes of it."""
        self._need_vault()
        outcomes = []
        for name in self.steps.each("refreshing", names):
            try:
                outcomes.append(RefreshOutcome(name, self.refresh(name)))
            except KeyturnError as error:
                outcomes.append(RefreshOutcome(name, error=error))
        return tuple(outcomes)

    def due_profiles(self) -> tuple[str, ...]:
        return tuple(profile.name for profile in self._rows() if self._is_due(profile))

    def unused_profiles(self) -> tuple[str, ...]:
        return tuple(
            profile.name
            for profile in self._rows()
            if self._can_renew(profile)
            and not in_use(profile, self.now())
            and state_of(profile, self.vault, self.now()) is State.EXPIRED
        )

    def _is_due(self, profile: Profile) -> bool:
        return (
            self._can_renew(profile)
            and in_use(profile, self.now())
            and state_of(profile, self.vault, self.now()) in (State.SOON, State.EXPIRED, State.NONE)
        )

    def _can_renew(self, profile: Profile) -> bool:
        return (
            profile.managed
            and not (profile.needs_person or profile.delivers_key or profile.credential_source)
            and profile.renew is Renew.AUTO
        )

    def stop(self, name: str) -> str:
        self._record_call("stop", name)
        profile = self._profile(name)
        if profile.session is None:
            return f"{name}: no session"
        self._note_delivery(profile)
        self._replace(replace(profile, session=None, last_use=None))
        return f"{name}: session deleted"

    def _note_delivery(self, profile: Profile) -> None:
        """Make plans stale if a session of the credentials file changes."""
        if profile.delivery is Delivery.CREDENTIALS_FILE:
            self._files_version += 1

    def plan_adopt(self, names: Sequence[str], *, session_none: bool = False) -> Plan:
        names = tuple(dict.fromkeys(names))
        for name in names:
            self._require_adoptable(self._profile(name))
        also = tuple(
            row.name
            for row in self._rows()
            if {row.source, *row.chain} & {*names} and row.name not in names and not row.managed
        )
        secrets = tuple(
            f"{name}: secret access key of {self._masked_key(name)}"
            for name in names
            if self._profile(name).plaintext_key
        )
        process = f"credential_process = /opt/keyturn/bin/keyturn credential-process {names[0]}"
        diff = (
            DiffLine("@", "~/.aws/credentials"),
            DiffLine(" ", f"[{names[0]}]"),
            DiffLine("-", "aws_access_key_id = AKIA…4WQP"),
            DiffLine("-", "aws_secret_access_key = ***"),
            DiffLine("@", "~/.aws/config"),
            DiffLine(" ", f"[profile {names[0]}]"),
            DiffLine("+", process),
        )
        warning = (
            "The key itself is delivered: no MFA, no end."
            if session_none
            else "A session cannot call IAM without MFA. s delivers the key itself instead."
        )
        return Plan(
            action="adopt",
            names=(*names, *also),
            dependants=also,
            diff=diff,
            secrets=secrets,
            warnings=(warning,),
            needs_vault=True,
            digest=self._digest((*names, *also)),
            session_none=session_none,
        )

    def adopt(self, plan: Plan) -> tuple[str, ...]:
        self._record_call("adopt", (plan.names, plan.session_none))
        self._need_vault()
        if self.changed_under_plan:
            self.changed_under_plan -= 1
            self.edit(plan.names[0])
        self._require_current(plan)
        for name in plan.names:
            self.edit(
                name,
                managed=True,
                plaintext_key=False,
                delivers_key=plan.session_none and self._profile(name).kind is Kind.IAM_KEY,
                delivery=Delivery.CREDENTIAL_PROCESS,
                renew=Renew.AUTO,
            )
        return plan.names

    def plan_release(self, names: Sequence[str], *, with_dependents: bool = False) -> Plan:
        self._need_vault()
        dependents = tuple(
            row.name
            for row in self._profiles.values()
            if row.managed and row.name not in names and {row.source, *row.chain}.intersection(names)
        )
        included = dependents if with_dependents else ()
        for name in (*names, *included):
            profile = self._profile(name)
            if not profile.managed:
                raise NotFound(f"{name} is not managed by keyturn")
            if profile.rotation.pending_step is not None:
                raise RotationHalted(f"Could not release {name}", "a rotation of its key is pending")
        secrets = tuple(
            f"{name}: secret access key of {self._masked_key(name)}"
            for name in (*names, *included)
            if self._profile(name).key
        )
        diff = (DiffLine("@", "~/.aws/config"), DiffLine("-", "credential_process = …"))
        return Plan(
            "release", (*names, *included), included, diff, secrets, (),
            digest=self._digest((*names, *included)), remaining=() if with_dependents else dependents,
        )  # fmt: skip

    def release(
        self, plan: Plan, passphrase: Secret | None = None, words: str | None = None
    ) -> tuple[str, ...]:
        self._record_call("release", (plan.names, words))
        self._need_vault()
        self._require_current(plan)
        if self.gate is not None and (passphrase or words):
            self.gate.wait(10)
        if plan.secrets and self.slot == "passphrase":
            if passphrase is None:
                raise NeedsUnlock("release", "long-term keys leave the vault", "Type the passphrase.")
            if passphrase.reveal() != PASSPHRASE:
                raise WrongPassphrase("release", "the passphrase does not open the vault", "Try again.")
        elif plan.secrets and words != f"release {plan.names[0]}":
            hint = f"Type: release {plan.names[0]}"
            raise NeedsConfirmation("release", "long-term keys leave the vault", hint)
        for name in plan.names:
            self.edit(
                name,
                managed=False,
                plaintext_key=self._profile(name).key is not None,
                delivers_key=False,
                delivery=Delivery.NATIVE,
                deliver_as=None,
                renew=None,
                session=None,
                rotation=Rotation(),
            )
        return plan.names

    @property
    def refreshed(self) -> list[str]:
        """Return the names of all refresh requests in order."""
        return [
            argument[0] for call, argument in self.calls if call == "refresh" and isinstance(argument, tuple)
        ]

    def named(self, what: str) -> list[object]:
        """Return the arguments of every call of one command."""
        return [argument for call, argument in self.calls if call == what]

    def _profile(self, name: str) -> Profile:
        try:
            return self._profiles[name]
        except KeyError:
            raise NotFound(f"Profile not found: {name}") from None

    def _record_call(self, what: str, argument: object) -> None:
        with self._lock:
            self.calls.append((what, argument))

    def _replace(self, profile: Profile) -> None:
        with self._lock:
            self._profiles[profile.name] = profile
            self._generation += 1

    def _set_vault(self, state: VaultState) -> None:
        with self._lock:
            self.vault = state
            self._generation += 1

    def _rows(self) -> list[Profile]:
        with self._lock:
            return [self._profiles[name] for name in self._order]

    def _masked_key(self, name: str) -> str:
        key = self._profile(name).key
        return masked_key_id(key.key_id) if key is not None else "AKIA…4WQP"

    def _require_refreshable(self, profile: Profile) -> None:
        what = f"refresh of {profile.name}"
        if profile.problem is not None and not profile.managed:
            raise KeyturnError(what, profile.problem, "Mend the file.")
        if profile.delivers_key:
            raise KeyturnError(what, "it delivers its long-term key")
        if profile.plaintext_key:
            raise KeyturnError(what, "it is a plaintext key", "Press m to adopt it.")
        if not profile.managed and profile.kind in (Kind.STATIC_SESSION, Kind.MFA_SESSION):
            raise KeyturnError(what, "its keys were written by another tool")

    def _require_adoptable(self, profile: Profile) -> None:
        refusal = why_not_adoptable(profile)
        if refusal is not None:
            raise KeyturnError(f"Could not adopt {profile.name}", refusal.why, refusal.hint)

    def _digest(self, names: Sequence[str]) -> str:
        """Return the state of all files, then that of the profiles themselves."""
        return f"{self._files_version}/{[self._revisions.get(name, 0) for name in names]}"

    def _require_current(self, plan: Plan) -> None:
        """A plan stays good while its own profiles are as they were."""
        if plan.digest.partition("/")[2] != self._digest(plan.names).partition("/")[2]:
            raise FileChanged(plan.action, "the files changed meanwhile", "Look at the plan again.")

    def _need_vault(self) -> None:
        """Raise what the real service does for an operation that needs the vault open."""
        if self.vault is not VaultState.OPEN:
            raise self._vault_error()

    def _is_vault_missing(self) -> bool:
        """Return True if managed profiles need the keys of a vault that does not exist."""
        return self.vault is VaultState.ABSENT and any(row.managed and row.key for row in self._rows())

    def _vault_error(self) -> KeyturnError:
        if self._is_vault_missing():
            return VaultCorrupt("Vault is missing", "managed profiles need its keys", "Restore it.")
        if self.vault is VaultState.ABSENT:
            return NeedsVault("No vault yet", "", "Run: keyturn vault init")
        return NeedsUnlock("Vault is locked", "", "Run: keyturn vault unlock")

    def _use_code(self, profile: Profile, code: str | None) -> None:
        if code is None:
            raise NeedsMfa(
                f"refresh of {profile.name}",
                "it needs an MFA code",
                "Press i.",
                profile=profile.name,
                serial=profile.mfa_serial or "",
            )
        if code not in self.good_codes:
            raise WrongMfaCode(f"refresh of {profile.name}", "AWS refused the code", "Wait for the next.")
        self.good_codes.discard(code)
