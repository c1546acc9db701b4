"""AWS client based on boto3, which is imported on the first call only.

Regions, regional endpoints, `AWS_ENDPOINT_URL_*`, `services` sections, proxies, CA bundles, retries and
timeouts are left to botocore: clients are created from a botocore session of the profile, with the variables
of the process that asks. Only the signing credentials come from keyturn.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from keyturn.aws.api import Aws, CreatedKey, Identity, IssuedCredentials, LastUse, ListedKey, RoleRequest
from keyturn.aws.botocore_providers import from_credential_source, from_profile
from keyturn.aws.deadline import DEFAULT_SECONDS, EXTENDED_SECONDS, Deadline
from keyturn.aws.errors import MalformedResponse, UnacceptableResponse, translate_errors
from keyturn.aws.response_limit import limit_responses, limit_session
from keyturn.model.errors import NoResponse, ProfileBroken, Unreachable
from keyturn.model.file_limits import MAX_SHARED_BYTES, shared_file_excess
from keyturn.model.key_ids import is_temporary
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.model.text import iso
from keyturn.system import files
from keyturn.system.ca_bundle import CaBundle
from keyturn.system.caller_environment import CallerEnvironment, require_usable_proxies
from keyturn.system.clock import Clock, system_clock
from keyturn.system.timeout import DeadlineExceeded, run_with_timeout

if TYPE_CHECKING:
    from botocore.session import Session

    from keyturn.aws.request_session import RequestSession

#: Signing region for the global endpoints of STS and IAM.
GLOBAL_REGION = "us-east-1"
#: Timeouts and attempts of one call, where the user has configured none, because the default of botocore (60
#: s per attempt) would exceed every deadline.
CONNECT_SECONDS, READ_SECONDS, MAX_ATTEMPTS = 4, 8, 2
SHORT_TIMEOUT = 2
#: Settings, each with its environment variable, that configure retries and timeouts.
_TIMEOUT_SETTINGS = {
    "max_attempts": "AWS_MAX_ATTEMPTS", "retry_mode": "AWS_RETRY_MODE", "defaults_mode": "AWS_DEFAULTS_MODE",
}  # fmt: skip

Answer = TypeVar("Answer")


class BotoClient:
    """AWS as one profile of the shared files sees it."""

    def __init__(
        self,
        session: Session,
        region: str | None,
        deadline: Deadline,
        *,
        short_timeouts: bool = False,
        clock: Clock = system_clock,
    ) -> None:
        self._session = session
        self._region = region
        self._deadline = deadline
        self._short_timeouts = short_timeouts
        self._clock = clock

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> IssuedCredentials:
        """STS GetSessionToken: temporary credentials of the IAM user that owns `signer`."""
        parameters = {"DurationSeconds": duration_seconds, **_mfa_parameters(mfa_serial, mfa_code)}
        return self._call(
            "sts",
            signer,
            "get_session_token",
            parameters,
            lambda response: IssuedCredentials(_credentials_in(response, self._clock(), duration_seconds)),
        )

    def assume_role(self, signer: Credentials, request: RoleRequest) -> IssuedCredentials:
        """STS AssumeRole."""
        optional = {
            "ExternalId": request.external_id,
            **_mfa_parameters(request.mfa_serial, request.mfa_code),
            "Tags": [{"Key": key, "Value": value} for key, value in request.tags.items()],
            "TransitiveTagKeys": list(request.transitive_tags),
            "SourceIdentity": request.source_identity,
            "Policy": request.policy,
            "PolicyArns": [{"arn": arn} for arn in request.policy_arns],
        }
        parameters = {
            "RoleArn": request.role_arn,
            "RoleSessionName": request.session_name,
            "DurationSeconds": request.duration_seconds,
            **{name: value for name, value in optional.items() if value},
        }
        return self._call(
            "sts",
            signer,
            "assume_role",
            parameters,
            lambda response: IssuedCredentials(
                _credentials_in(response, self._clock(), request.duration_seconds), _role_arn_in(response)
            ),
        )

    def get_caller_identity(self, signer: Credentials) -> Identity:
        """STS GetCallerIdentity. It needs no permission and cannot be denied."""
        return self._call(
            "sts",
            signer,
            "get_caller_identity",
            {},
            lambda response: Identity(response["Arn"], response["Account"], response["UserId"]),
        )

    def list_access_keys(self, signer: Credentials, user_name: str | None) -> tuple[ListedKey, ...]:
        """IAM ListAccessKeys. A temporary `signer` must name the user."""
        parameters = {"UserName": user_name} if user_name else {}
        return self._call("iam", signer, "list_access_keys", parameters, _listed_keys)

    def list_mfa_devices(self, signer: Credentials, user_name: str | None) -> tuple[str, ...]:
        """IAM ListMFADevices: serial numbers, including security keys. A temporary `signer` must name the
        user.
        """
        parameters = {"UserName": user_name} if user_name else {}
        return self._call(
            "iam",
            signer,
            "list_mfa_devices",
            parameters,
            lambda response: tuple(str(device["SerialNumber"]) for device in response["MFADevices"]),
        )

    def access_key_last_used(self, signer: Credentials, key_id: str) -> LastUse:
        """IAM GetAccessKeyLastUsed."""
        parameters = {"AccessKeyId": key_id}
        return self._call("iam", signer, "get_access_key_last_used", parameters, _last_use_in)

    def create_access_key(
        self, signer: Credentials, user_name: str, keep: Callable[[CreatedKey], None]
    ) -> CreatedKey:
        """IAM CreateAccessKey, sent only once, because a retry after a lost response would create a second
        key.
        """

        def parse(response: Any) -> CreatedKey:
            key = _created_key_in(response)
            keep(key)
            return key

        return self._call("iam", signer, "create_access_key", {"UserName": user_name}, parse)

    def set_access_key_status(self, signer: Credentials, user_name: str, key_id: str, status: str) -> None:
        """IAM UpdateAccessKey."""
        parameters = {"UserName": user_name, "AccessKeyId": key_id, "Status": status}
        self._call("iam", signer, "update_access_key", parameters, lambda _: None)

    def delete_access_key(self, signer: Credentials, user_name: str, key_id: str) -> None:
        """IAM DeleteAccessKey."""
        parameters = {"UserName": user_name, "AccessKeyId": key_id}
        self._call("iam", signer, "delete_access_key", parameters, lambda _: None)

    def source_credentials(self, profile: str, source: str) -> Credentials:
        """See :func:`keyturn.aws.botocore_providers.from_credential_source`."""
        return from_credential_source(self._session, profile, source, self._deadline.left())

    def native_credentials(self, profile: str) -> Credentials:
        """See :func:`keyturn.aws.botocore_providers.from_profile`."""
        return from_profile(self._session, profile, self._deadline.left(EXTENDED_SECONDS))

    def _call(
        self,
        service: str,
        signer: Credentials,
        operation: str,
        parameters: Mapping[str, Any],
        parse: Callable[[Any], Answer],
    ) -> Answer:
        """Make one call and return what `parse` makes of the response, in the thread that received it."""
        what = _CALL_NAMES.get(operation, operation)
        _require_header_safe(what, signer)
        seconds = EXTENDED_SECONDS if self._is_configured() else DEFAULT_SECONDS
        if self._short_timeouts:
            seconds = 2 * SHORT_TIMEOUT

        # AWS accepts an MFA code only once, so a retry would fail with a wrong code even if the first request
        # succeeded.
        once = "TokenCode" in parameters or operation == "create_access_key"

        def send() -> Answer:
            return parse(getattr(self.client(service, signer, once=once), operation)(**parameters))

        remaining = self._deadline.left(seconds)
        if remaining <= 0:
            why = (
                f"time limit of {seconds:.0f} s exceeded before the request was "
                f"sent{self._deadline.elapsed()}"
            )
            raise Unreachable(what, why, "Try again")
        try:
            with translate_errors(what):
                return run_with_timeout(remaining, send)
        except DeadlineExceeded:
            why = f"no response from AWS within {seconds:.0f} s"
            raise NoResponse(what, why, "Check the network, then try again") from None

    def client(self, service: str, signer: Credentials, *, once: bool = False) -> Any:
        """Return a botocore client for the profile with the given signing credentials, and default
        timeouts where the user set none.
        """
        import boto3

        session: Any = boto3.Session(botocore_session=self._session)
        arguments = {
            "aws_access_key_id": signer.access_key_id,
            "aws_secret_access_key": signer.secret_access_key.reveal(),
            "aws_session_token": signer.session_token.reveal() if signer.session_token else None,
            "config": self._config(once=once),
        }
        client: Any = session.client(service, region_name=self._region, **arguments)
        # botocore cannot sign for a custom endpoint without a region.
        if client.meta.region_name is None:
            return session.client(service, region_name=GLOBAL_REGION, **arguments)
        return client

    def _config(self, *, once: bool = False) -> Any:
        """Return timeouts and attempts for one call, as far as the user has not configured them. The
        shared files have no `read_timeout`, and set a connect timeout by `defaults_mode` only.

        :param once: one attempt, regardless of the configuration.
        """
        from botocore.config import Config

        one_attempt: Any = {"total_max_attempts": 1}
        if self._short_timeouts:
            return Config(connect_timeout=SHORT_TIMEOUT, read_timeout=SHORT_TIMEOUT, retries=one_attempt)
        retries: Any = None if self._is_configured() else {"total_max_attempts": MAX_ATTEMPTS}
        if once:
            retries = one_attempt
        connect_timeout = None if self._setting("defaults_mode") not in (None, "legacy") else CONNECT_SECONDS
        return Config(connect_timeout=connect_timeout, read_timeout=READ_SECONDS, retries=retries)

    def _is_configured(self) -> bool:
        """Return True if the files or the environment configure retries."""
        return any(self._setting(name) for name in _TIMEOUT_SETTINGS)

    def _setting(self, name: str) -> str | None:
        """Return a setting from the environment, else from the profile, in botocore's order; None if
        unset.
        """
        value = os.environ.get(_TIMEOUT_SETTINGS[name]) or self._session.get_scoped_config().get(name)
        return value if isinstance(value, str) and value else None


_HEADER_SAFE = re.compile(r"[!-~]+")
_CALL_NAMES = {
    "get_session_token": "sts:GetSessionToken",
    "assume_role": "sts:AssumeRole",
    "get_caller_identity": "sts:GetCallerIdentity",
    "list_access_keys": "iam:ListAccessKeys",
    "list_mfa_devices": "iam:ListMFADevices",
    "get_access_key_last_used": "iam:GetAccessKeyLastUsed",
    "create_access_key": "iam:CreateAccessKey",
    "update_access_key": "iam:UpdateAccessKey",
    "delete_access_key": "iam:DeleteAccessKey",
}


def _mfa_parameters(serial: str | None, code: str | None) -> dict[str, str]:
    return {"SerialNumber": serial, "TokenCode": code} if serial and code else {}


def _require_header_safe(what: str, signer: Credentials) -> None:
    """Reject credentials that cannot be sent in a header, because the HTTP client would quote them in its
    error.

    :raises ProfileBroken: if there are invalid characters.
    """
    parts = (Secret(signer.access_key_id), signer.secret_access_key, signer.session_token)
    if not all(_HEADER_SAFE.fullmatch(part.reveal()) for part in parts if part):
        why = "the access key id, secret or session token contains invalid characters"
        raise ProfileBroken(what, why, "Correct the credentials at their source")


class BotoClientFactory:
    """Creates :class:`BotoClient` objects, each with its own botocore session, because creating clients
    from a shared session is not thread-safe.
    """

    def __init__(self, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._session_lock = threading.Lock()
        self._loader: Any = None
        self._parsed: FileDigests = ()
        self._config: dict[str, Any] = {}
        """Configuration that botocore parsed from the files :attr:`_parsed`."""

    def _share_config(self, session: RequestSession, contents: FileContents) -> None:
        """Let a session use the configuration of an earlier one if the files are the same, because botocore
        parses them anew for each session, which takes a second for ten thousand profiles.

        :param contents: the files as they are now.
        """
        digests = _digests(contents)
        if digests == self._parsed:
            session.use_config(self._config)
            return
        config = session.full_config
        if _digests(_file_contents(session)) == digests:
            self._parsed, self._config = digests, config

    def __call__(
        self,
        profile: str | None,
        region: str | None,
        *,
        deadline: Deadline | None = None,
        short_timeouts: bool = False,
        caller: CallerEnvironment | None = None,
    ) -> Aws:
        """Return a client for `profile`, or for no profile if it is None or the shared files are unusable.

        :param caller: the environment of the process that asks; this process's own by default.
        :raises KeyturnError: if its CA bundle or proxy is unusable.
        """
        from botocore.exceptions import BotoCoreError

        from keyturn.aws.request_session import RequestSession

        _silence_botocore()
        limit_responses()
        require_usable_proxies((caller or CallerEnvironment.of(os.environ)).proxies())
        with self._session_lock:
            session = RequestSession(profile, caller)
            try:
                files_now = _file_contents(session)
                if shared_file_excess(*(content for _, content in files_now)) is not None:
                    session = _bare_session(caller)
                else:
                    self._share_config(session, files_now)
                session.get_scoped_config()
            except BotoCoreError:
                session = _bare_session(caller)
            ca_bundle = session.ca_bundle_file()
            session.use_ca_bundle(CaBundle(ca_bundle) if ca_bundle else None)
            # Share the loaded service models, because loading them is most of the cost of a client.
            self._loader = self._loader or session.get_component("data_loader")
            session.register_component("data_loader", self._loader)
            limit_session(session)
            effective_region = region or session.get_config_variable("region") or None
        return BotoClient(
            session,
            effective_region,
            deadline or Deadline(),
            short_timeouts=short_timeouts,
            clock=self._clock,
        )


FileContents = tuple[tuple[str, bytes], ...]
"""Path and content of the config file and of the credentials file; a content that is longer than
`MAX_SHARED_BYTES` is cut after it.
"""
FileDigests = tuple[tuple[str, bytes], ...]
"""Path and SHA-256 of each of them, to be kept, because the contents hold secrets."""


def _file_contents(session: RequestSession) -> FileContents:
    """Read the shared files that a session would read, because botocore reads files of any length."""
    contents = []
    for variable in ("config_file", "credentials_file"):
        path = os.path.expanduser(os.path.expandvars(str(session.get_config_variable(variable))))  # noqa: PTH111  # as botocore does
        content = b""
        with contextlib.suppress(OSError, ValueError):
            content = files.read_regular(Path(path), limit=MAX_SHARED_BYTES + 1) or b""
        contents.append((path, content))
    return tuple(contents)


def _digests(contents: FileContents) -> FileDigests:
    return tuple((path, hashlib.sha256(content).digest()) for path, content in contents)


def _bare_session(caller: CallerEnvironment | None) -> RequestSession:
    """Return a session without shared config, for when AWS tools reject the file or do not know the
    profile.

    Endpoints, proxies and CA bundle of the environment still apply.
    """
    from keyturn.aws.request_session import RequestSession

    session = RequestSession(caller=caller)
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    session.set_config_variable("profile", "default")
    session.full_config.setdefault("profiles", {}).setdefault("default", {})
    return session


def warm_up() -> None:
    """Import boto3 ahead of the first call, in an idle thread."""
    import boto3  # noqa: F401  # the import is the work


def _silence_botocore() -> None:
    """Disable botocore's debug logging, which prints request bodies and tokens."""
    for name in ("botocore", "boto3", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="botocore")


# -- responses: complete, in the form of the API model, and of limited size ----------------------------------


#: The STS model: 16 to 128 word characters.
_KEY_ID = re.compile(r"\w{16,128}", re.ASCII)
#: Printable ASCII that fits a line of a file, a header and a variable. AWS sets no limit; tokens of several
#: KiB are known.
_OPAQUE = re.compile(r"[!-~]{1,32768}", re.ASCII)
_ARN = re.compile(r"arn:[!-~]{10,2044}", re.ASCII)


#: How much later than requested a session may expire, because the clocks of this machine and AWS may differ;
#: AWS accepts a signature for as long.
_EXPIRY_TOLERANCE = timedelta(minutes=15)


def _credentials_in(response: Mapping[str, Any], now: datetime, seconds: int) -> Credentials:
    """Return the `Credentials` of an STS response, which are temporary.

    :param seconds: the requested duration.
    :raises MalformedResponse: if a field is missing or malformed.
    :raises UnacceptableResponse: if the key is not temporary, or expires much later than requested.
    """
    fields = _structure(response, "Credentials")
    expires = _time(fields, "Expiration")
    if expires > now + timedelta(seconds=seconds) + _EXPIRY_TOLERANCE:
        raise UnacceptableResponse(f"the new session would last until {iso(expires)}, longer than requested")
    key_id = _text(fields, "AccessKeyId", _KEY_ID)
    if not is_temporary(key_id):
        raise UnacceptableResponse("the response has an access key id that is not that of a session")
    return Credentials(
        key_id,
        Secret(_text(fields, "SecretAccessKey", _OPAQUE)),
        Secret(_text(fields, "SessionToken", _OPAQUE)),
        expires,
    )


def _role_arn_in(response: Mapping[str, Any]) -> str:
    """Return the session ARN of an AssumeRole response.

    :raises MalformedResponse: if it is missing or not an ARN.
    """
    return _text(_structure(response, "AssumedRoleUser"), "Arn", _ARN)


def _created_key_in(response: Mapping[str, Any]) -> CreatedKey:
    """Return the key of a CreateAccessKey response.

    :raises MalformedResponse: if a field is missing or malformed.
    """
    fields = _structure(response, "AccessKey")
    created = _time(fields, "CreateDate")
    secret = Secret(_text(fields, "SecretAccessKey", _OPAQUE))
    return CreatedKey(Credentials(_text(fields, "AccessKeyId", _KEY_ID), secret), created)


def _last_use_in(response: Mapping[str, Any]) -> LastUse:
    """Return the time, service and region of a GetAccessKeyLastUsed response; `N/A` becomes None.

    :raises MalformedResponse: if a field is malformed.
    """
    fields = _structure(response, "AccessKeyLastUsed")
    if fields.get("LastUsedDate") is None:
        return LastUse(None)
    at = _time(fields, "LastUsedDate")
    values = (fields.get(name) for name in ("ServiceName", "Region"))
    service, region = (value if isinstance(value, str) and value != "N/A" else None for value in values)
    return LastUse(at, service, region)


def _listed_keys(response: Mapping[str, Any]) -> tuple[ListedKey, ...]:
    return tuple(
        ListedKey(key["AccessKeyId"], key["Status"], key["CreateDate"].astimezone(UTC))
        for key in response["AccessKeyMetadata"]
    )


def _structure(response: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    structure = response.get(name) if isinstance(response, Mapping) else None
    if not isinstance(structure, Mapping):
        raise MalformedResponse(name)
    return structure


def _time(structure: Mapping[str, Any], name: str) -> datetime:
    value = structure.get(name)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise MalformedResponse(name)
    return value.astimezone(UTC)


def _text(structure: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = structure.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise MalformedResponse(name)
    return value
