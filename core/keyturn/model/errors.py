"""Every error that a person can meet, in one tree; each one says what failed, why, and what to do.

::

    KeyturnError                1  something failed
    ├── UsageError              2  the words of the call are off
    ├── NotFound                3  nothing by that name
    ├── NeedsPerson             4  somebody has to type or confirm something first
    │   ├── NeedsVault             there is no vault yet
    │   ├── NeedsUnlock            the vault is locked
    │   ├── NeedsMfa               an MFA code is asked for
    │   ├── NeedsLogin             a sign-in has ended
    │   └── NeedsConfirmation      the change must be seen and confirmed
    ├── Protected               5  refused, so that nothing is lost
    │   ├── UnparsableFile         AWS tools refuse this file; it is not written to
    │   ├── FileChanged            somebody else changed the file meanwhile
    │   ├── UnsafeFile             owner, mode or type of the file forbid writing
    │   ├── FileBusy               another process holds the file too long
    │   └── RotationHalted         a rotation stops here until a person decides
    ├── VaultError              1
    │   ├── VaultCorrupt           unreadable; never written over
    │   ├── VaultNewer             a later keyturn wrote it; neither read nor written
    │   ├── VaultExists            there is one already
    │   ├── WrongPassphrase        the passphrase or recovery key does not open it
    │   ├── KeyringAbsent          no system keyring that can be trusted
    │   ├── KeyringLocked          the keyring is there but closed
    │   └── KeyringDenied          the keyring, or its owner, said no
    ├── Unconfirmed             1  a file was written, and the disk did not say that it keeps it
    ├── ProfileBroken           1  the definition cannot work
    ├── AgentUnavailable        1  no agent answers
    │   └── AgentHangs             its process is there, and does nothing
    └── AwsError                1  AWS, or the way to it, said no
        ├── AwsRefused             an answer with an error code
        ├── WrongMfaCode           the code was wrong, old or already used
        ├── ClockSkew              this machine's clock is off
        └── Unreachable            no answer
            └── Unanswered         the request may have arrived all the same

`what`, `why` and `hint` may hold text from files or from AWS: print them through :func:`keyturn.model.text.safe`, which
:meth:`KeyturnError.line` does. None of them ever holds a secret.
"""

from __future__ import annotations

from keyturn.model.text import safe


class KeyturnError(Exception):
    """The root of the tree.

    :param what: what failed, as a short clause ("refresh of ci-deploy").
    :param why: the cause, in the words of whoever refused where that helps.
    :param hint: the next step, as one sentence that says what to run or press.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what, why, hint)
        self.what = what
        self.why = why
        self.hint = hint

    def line(self) -> str:
        """One line for a person: `what failed: why. what to do`, with every foreign character made harmless."""
        head = f"{self.what}: {self.why}" if self.why else self.what
        head = safe(head).rstrip(" .")
        return f"{head}. {safe(self.hint)}" if self.hint else f"{head}."

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
    """An MFA code is needed.

    :param profile: the profile that asked.
    :param serial: ARN or serial number of the device whose code is wanted.
    """

    def __init__(
        self, what: str, why: str = "", hint: str = "", *, profile: str = "", serial: str = ""
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


class UnparsableFile(ChangeRefused):
    """AWS tools refuse this file.

    :param path: the file, as the person knows it.
    :param lineno: 1-based line of the first fault, 0 where none is known.
    """

    def __init__(self, what: str, why: str = "", hint: str = "", *, path: str = "", lineno: int = 0) -> None:
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


class WriteNotConfirmed(KeyturnError):
    """A shared file has its new contents, and the system refused to confirm that they will stay.

    :param before: the contents that were replaced, None where there was no file. Like `after` they may hold secrets.
    :param after: the contents now.
    """

    def __init__(
        self, what: str, why: str = "", hint: str = "", *, before: bytes | None = None, after: bytes = b""
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
    pass


class AwsRefused(AwsError):
    """AWS answered with an error.

    :param code: the error code as AWS gives it, for example `AccessDenied`.
    :param request_id: AWS's own id of the request, empty where the answer had none.
    """

    def __init__(
        self, what: str, why: str = "", hint: str = "", *, code: str = "", request_id: str = ""
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
