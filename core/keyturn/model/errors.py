"""The error tree of keyturn. Every error tells what failed, why, and the next step.

::

    KeyturnError                1  something failed
    ├── UsageError              2  wrong arguments
    ├── NotFound                3  no such name
    ├── NeedsInteraction        4  the user must type or confirm something first
    │   ├── NeedsVault             there is no vault yet
    │   ├── NeedsUnlock            the vault is locked
    │   ├── NeedsMfa               an MFA code is required
    │   ├── NeedsLogin             a sign-in has expired
    │   └── NeedsConfirmation      the change must be shown and confirmed
    ├── ChangeRefused           5  refused to prevent a loss
    │   ├── UnparsableFile         AWS tools reject the file; it is not written
    │   ├── FileChanged            another program changed the file in between
    │   ├── UnsafeFile             owner, mode or type of the file forbid its use
    │   ├── FileBusy               another process has held the lock for too long
    │   └── RotationHalted         the rotation needs a decision of the user
    ├── VaultError              1
    │   ├── VaultCorrupt           unreadable; never overwritten
    │   ├── VaultNewer             written by a later version; neither read nor written
    │   ├── VaultReadOnly          its folder cannot be written
    │   ├── VaultExists            there is a vault already
    │   ├── WrongPassphrase        the passphrase or recovery key does not open it
    │   ├── KeyringAbsent          no system keyring that can be trusted
    │   ├── KeyringLocked          the keyring is locked
    │   └── KeyringDenied          the keyring, or the user at its prompt, refused
    ├── Stopped               130  the user stopped it before it changed anything
    ├── NotWritable             1  a folder of keyturn is read-only
    ├── WriteNotConfirmed       1  a file was written, but flushing it to disk failed
    ├── ProfileBroken           1  the definition cannot work
    ├── AgentUnavailable        1  no agent answers
    │   └── AgentHangs             its process exists but does not respond
    └── AwsError                1  AWS, or the connection to it, failed
        ├── AwsRefused             an error response with a code
        │   ├── WrongMfaCode       the code was wrong, old or already used
        │   └── ClockSkew          the clock of this machine is wrong
        └── Unreachable            no response
            └── NoResponse         the request may have been executed

The number is the exit code; a subclass without a number has that of its parent.

`what`, `why` and `hint` may hold text from files or from AWS. Print them through
:func:`keyturn.model.text.safe`, as :meth:`KeyturnError.line` does. None of them ever holds a secret.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from keyturn.model.text import safe

#: Words of a hint before a command to run, at the start of a sentence and within one. Each is a part of its
#: own, because a front end that words the command as a key says "Press" instead.
RUN, THEN_RUN = "Run: ", "run: "
#: Hint for a file that a later version of keyturn wrote.
UPGRADE = "Upgrade keyturn"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A command of keyturn in a hint. Each front end words it: the command line as the command, the app as
    the key that does the same."""

    operation: str
    """`rotate`, `vault unlock`."""
    profile: str = ""
    """The profile, as the user knows it, or an upper-case word for it."""
    flag: str = ""
    """Option or argument with its value: `--undo`, `--drop 4WQP`, `mfa_serial=SERIAL`."""

    def command(self) -> str:
        """Return the command line, with the profile quoted for a shell if it needs that."""
        profile = shlex.quote(self.profile) if self.profile else ""
        return " ".join(filter(None, ("keyturn", self.operation, profile, self.flag)))


Parts = tuple[str | Remedy, ...]
#: A sentence, a command to run, or words and commands in their order.
Hint = str | Remedy | Parts


def parts_of(hint: Hint) -> Parts:
    """Return a hint as words and commands in their order."""
    if isinstance(hint, Remedy):
        return (RUN, hint)
    return hint if isinstance(hint, tuple) else tuple(filter(None, (hint,)))


def words(parts: Parts) -> str:
    """Return a hint as a sentence with commands."""
    return "".join(part if isinstance(part, str) else part.command() for part in parts)


class KeyturnError(Exception):
    """Root of the tree.

    :param what: the failure ("Could not refresh ci-deploy").
    :param why: the cause, in the words of AWS or the system where they help.
    :param hint: the next step.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", hint: Hint = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint_parts = parts_of(hint)

    @property
    def hint(self) -> str:
        """The next step, as a sentence with commands. Set it to any :data:`Hint`."""
        return words(self.hint_parts)

    @hint.setter
    def hint(self, hint: Hint) -> None:
        self.hint_parts = parts_of(hint)

    def add_hint(self, *parts: str | Remedy) -> None:
        """Add a sentence to the hint."""
        if self.hint_parts:
            self.hint_parts += (" " if self.hint.endswith(".") else ". ",)
        self.hint_parts += parts

    @property
    def remedies(self) -> tuple[Remedy, ...]:
        """The commands in the hint."""
        return tuple(part for part in self.hint_parts if isinstance(part, Remedy))

    def line(self, wording: Callable[[Parts], str] = words) -> str:
        """Return the error as one line: `what: why. hint`, with unsafe characters escaped.

        :param wording: returns the hint in the words of the front end.
        """
        head = f"{self.what}: {self.why}" if self.why else self.what
        head, hint = safe(head).rstrip(" ."), safe(wording(self.hint_parts))
        return f"{head}{'' if head.endswith('?') else '.'} {hint}".rstrip()

    def __str__(self) -> str:
        return self.line()


class UsageError(KeyturnError):
    exit_code = 2


class NotFound(KeyturnError):
    exit_code = 3


class NeedsInteraction(KeyturnError):
    exit_code = 4


class NeedsVault(NeedsInteraction):
    pass


class NeedsUnlock(NeedsInteraction):
    pass


class NeedsMfa(NeedsInteraction):
    """An MFA code is required.

    :param profile: the profile that was requested.
    :param serial: ARN or serial number of the MFA device.
    """

    def __init__(
        self, what: str, why: str = "", hint: Hint = "", *, profile: str = "", serial: str = ""
    ) -> None:
        super().__init__(what, why, hint)
        self.profile = profile
        self.serial = serial


class NeedsLogin(NeedsInteraction):
    pass


class NeedsConfirmation(NeedsInteraction):
    pass


class ChangeRefused(KeyturnError):
    exit_code = 5


def newer_file(what: str, version: object, supported: int) -> ChangeRefused:
    """Return the error for a file of keyturn that a later version wrote, so that this one must not write
    it."""
    return ChangeRefused(what, _newer(version, supported), UPGRADE)


def newer_vault_file(what: str, version: object, supported: int) -> VaultNewer:
    """Return the error for an encrypted file, or its index, that a later version wrote, so that this one
    cannot read it."""
    return VaultNewer(what, _newer(version, supported), UPGRADE)


def _newer(version: object, supported: int) -> str:
    return f"written by a newer keyturn (version {version}, this one supports {supported})"


class UnparsableFile(ChangeRefused):
    """AWS tools reject the file.

    :param path: the file, as the user knows it.
    :param lineno: 1-based line of the first error, 0 if unknown.
    """

    def __init__(self, what: str, why: str = "", hint: Hint = "", *, path: str = "", lineno: int = 0) -> None:
        super().__init__(what, why, hint)
        self.path = path
        self.lineno = lineno


class FileChanged(ChangeRefused):
    pass


class UnsafeFile(ChangeRefused):
    pass


class FileBusy(ChangeRefused):
    pass


class RotationHalted(ChangeRefused):
    pass


class VaultError(KeyturnError):
    pass


class VaultCorrupt(VaultError):
    pass


class VaultNewer(VaultError):
    pass


class VaultReadOnly(VaultError):
    pass


class VaultExists(VaultError):
    pass


class WrongPassphrase(VaultError):
    pass


class KeyringAbsent(VaultError):
    pass


class KeyringLocked(VaultError):
    pass


class KeyringDenied(VaultError):
    pass


class Stopped(KeyturnError):
    """The user stopped an operation before it changed anything."""

    exit_code = 130


class NotWritable(KeyturnError):
    pass


class WriteNotConfirmed(KeyturnError):
    """A shared file has its new content, but the system did not confirm that it is on disk.

    :param before: the replaced content, None if there was no file. Like `after`, it may hold secrets.
    :param after: the new content.
    """

    def __init__(
        self, what: str, why: str = "", hint: Hint = "", *, before: bytes | None = None, after: bytes = b""
    ) -> None:
        super().__init__(what, why, hint)
        self.before = before
        self.after = after


class ProfileBroken(KeyturnError):
    pass


class AgentUnavailable(KeyturnError):
    pass


class AgentHangs(AgentUnavailable):
    pass


class AwsError(KeyturnError):
    source = ""
    """The profile of a chain whose call failed, if `what` names it or it is the requested one."""


class AwsRefused(AwsError):
    """AWS returned an error response.

    :param code: the error code of AWS, for example `AccessDenied`.
    :param request_id: the request id of AWS, empty if the response had none.
    """

    def __init__(
        self, what: str, why: str = "", hint: Hint = "", *, code: str = "", request_id: str = ""
    ) -> None:
        super().__init__(what, why, hint)
        self.code = code
        self.request_id = request_id


class WrongMfaCode(AwsRefused):
    pass


class ClockSkew(AwsRefused):
    pass


class Unreachable(AwsError):
    pass


class NoResponse(Unreachable):
    pass
