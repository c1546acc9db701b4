"""The real AWS: boto3, loaded on the first call and nowhere else.

Regions, regional endpoints, `AWS_ENDPOINT_URL_*`, `services` sections, proxies, CA bundles, retries and time-outs are
botocore's own business: a client is made from a botocore session that carries the profile, and only the signing
credentials are ours.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from keyturn.aws.ports import Aws, Identity, Issued, ListedKey, RoleRequest
from keyturn.errors import (
    AwsError,
    AwsRefused,
    ClockSkew,
    NeedsLogin,
    ProfileBroken,
    Unreachable,
    WrongMfaCode,
)
from keyturn.model import Credentials
from keyturn.secret import Secret

if TYPE_CHECKING:
    from botocore.session import Session

#: Where neither profile nor environment names a region, STS is asked at its global endpoint, as botocore does.
GLOBAL_REGION = "us-east-1"
#: One try may take this long to connect and to answer, where the person has set nothing else; Go kills a
#: credential_process after 60 s, and botocore's own 60 s a try would pass that.
CONNECT_SECONDS, READ_SECONDS, TRIES = 4, 8, 2
HURRIED_SECONDS = 2

_SKEW = re.compile(r"Signature (?:expired|not yet current): (\d{8}T\d{6}Z) .*?(\d{8}T\d{6}Z)")
_MFA_REFUSALS = ("multifactorauthentication failed", "invalid mfa one time pass code")

Answer = TypeVar("Answer")


class Boto:
    """AWS as one profile of the shared files sees it."""

    def __init__(self, session: Session, region: str | None, *, hurried: bool = False) -> None:
        self._session = session
        self._region = region
        self._hurried = hurried

    def get_session_token(
        self, signer: Credentials, *, duration_seconds: int, mfa_serial: str | None, mfa_code: str | None
    ) -> Issued:
        """STS GetSessionToken: temporary credentials of the IAM user that owns `signer`."""
        wanted: dict[str, Any] = {"DurationSeconds": duration_seconds}
        if mfa_serial and mfa_code:
            wanted |= {"SerialNumber": mfa_serial, "TokenCode": mfa_code}
        answer = self._call("sts", signer, "get_session_token", wanted)
        return Issued(_credentials(answer["Credentials"]))

    def assume_role(self, signer: Credentials, request: RoleRequest) -> Issued:
        """STS AssumeRole."""
        wanted: dict[str, Any] = {
            "RoleArn": request.role_arn,
            "RoleSessionName": request.session_name,
            "DurationSeconds": request.duration_seconds,
        }
        if request.external_id:
            wanted["ExternalId"] = request.external_id
        if request.mfa_serial and request.mfa_code:
            wanted |= {"SerialNumber": request.mfa_serial, "TokenCode": request.mfa_code}
        answer = self._call("sts", signer, "assume_role", wanted)
        return Issued(_credentials(answer["Credentials"]), answer["AssumedRoleUser"]["Arn"])

    def get_caller_identity(self, signer: Credentials) -> Identity:
        """STS GetCallerIdentity: needs no permission and cannot be denied."""
        answer = self._call("sts", signer, "get_caller_identity", {})
        return Identity(answer["Arn"], answer["Account"], answer["UserId"])

    def list_access_keys(self, signer: Credentials, user_name: str | None) -> tuple[ListedKey, ...]:
        """IAM ListAccessKeys; a temporary `signer` must name the user."""
        wanted = {"UserName": user_name} if user_name else {}
        answer = self._call("iam", signer, "list_access_keys", wanted)
        return tuple(
            ListedKey(one["AccessKeyId"], one["Status"], one["CreateDate"].astimezone(UTC))
            for one in answer["AccessKeyMetadata"]
        )

    def native_credentials(self, profile: str) -> Credentials:
        """What botocore itself resolves for `profile`; runs its process, reads its sign-in, or assumes its role.

        :raises NeedsLogin: the sign-in it rests on has ended.
        :raises ProfileBroken: botocore refuses the definition.
        """
        from botocore import exceptions as boto

        what = f"credentials of {profile}"
        try:
            found = _of_the_profile(self._session)
            frozen = found.get_frozen_credentials() if found else None
        except (boto.BotoCoreError, boto.ClientError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise _native_error(what, error, profile) from None
        if found is None or frozen is None or not frozen.access_key:
            raise ProfileBroken(
                what,
                "AWS's provider chain finds none for it",
                f"Run: keyturn show {profile}, to see what it holds",
            )
        expires = getattr(found, "_expiry_time", None)
        return Credentials(
            frozen.access_key,
            Secret(frozen.secret_key or ""),
            Secret(frozen.token) if frozen.token else None,
            expires.astimezone(UTC) if isinstance(expires, datetime) else None,
        )

    def _call(self, service: str, signer: Credentials, operation: str, wanted: Mapping[str, Any]) -> Any:
        import boto3

        what = _CALL_NAMES.get(operation, operation)

        def act() -> Any:
            session: Any = boto3.Session(botocore_session=self._session)
            client = session.client(
                service,
                region_name=self._region or GLOBAL_REGION,
                aws_access_key_id=signer.access_key_id,
                aws_secret_access_key=signer.secret_access_key.reveal(),
                aws_session_token=signer.session_token.reveal() if signer.session_token else None,
                config=self._config(),
            )
            return getattr(client, operation)(**wanted)

        return _asked(what, act)

    def _config(self) -> Any:
        """Time-outs and tries; the person's own `max_attempts` counts where it is set."""
        from botocore.config import Config

        if self._hurried:
            once: Any = {"total_max_attempts": 1}
            return Config(connect_timeout=HURRIED_SECONDS, read_timeout=HURRIED_SECONDS, retries=once)
        own = self._session.get_config_variable("max_attempts")
        retries: Any = None if own else {"total_max_attempts": TRIES}
        return Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries=retries)


_CALL_NAMES = {
    "get_session_token": "sts:GetSessionToken",
    "assume_role": "sts:AssumeRole",
    "get_caller_identity": "sts:GetCallerIdentity",
    "list_access_keys": "iam:ListAccessKeys",
}


class BotoFactory:
    """Makes :class:`Boto` views, one botocore session each, since those are not safe to share while being made."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._loader: Any = None

    def __call__(self, profile: str | None, region: str | None, *, hurried: bool = False) -> Aws:
        """A view through `profile` of the shared files, or of none where `profile` is None or the files are unusable."""
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        _quiet()
        with self._making:
            session = Session(profile=profile)
            try:
                session.get_scoped_config()
            except BotoCoreError:
                session = _bare_session()
            self._share_models(session)
            chosen = region or session.get_config_variable("region") or None
        return Boto(session, chosen, hurried=hurried)

    def _share_models(self, session: Session) -> None:
        """Has all sessions read each service's model once; it is most of the cost of a client."""
        if self._loader is None:
            self._loader = session.get_component("data_loader")
        session.register_component("data_loader", self._loader)


def winner(profile: str) -> tuple[str, str]:
    """Which of botocore's credential providers answers for an explicit profile, without running any process.

    :return: the provider's method name (`custom-process`, `shared-credentials-file`, `assume-role` ...) and, for
        `custom-process`, the command line as botocore reads it; `("none", "")` where no provider of the shared files
        answers.
    :raises ProfileBroken: botocore refuses the profile.
    """
    from botocore import exceptions as boto
    from botocore.credentials import create_credential_resolver
    from botocore.session import Session

    session = Session(profile=profile)
    try:
        for provider in create_credential_resolver(session).providers:
            if provider.METHOD in _NOT_THE_PROFILES:
                continue
            if provider.METHOD == "custom-process":
                line = session.get_scoped_config().get("credential_process")
                if line:
                    return provider.METHOD, str(line)
            elif provider.load() is not None:
                return str(provider.METHOD), ""
    except (boto.BotoCoreError, boto.ClientError, OSError, ValueError) as error:
        raise ProfileBroken(f"profile {profile}", " ".join(str(error).split())) from None
    return "none", ""


#: Providers that know nothing of profiles: what they find is the machine's identity, not the profile's.
_NOT_THE_PROFILES = ("env", "ec2-credentials-file", "boto-config", "container-role", "iam-role")


def _of_the_profile(session: Session) -> Any:
    """What botocore's providers find in the session's own profile, never the identity of a container or a machine."""
    from botocore.credentials import create_credential_resolver

    for provider in create_credential_resolver(session).providers:
        if provider.METHOD not in _NOT_THE_PROFILES:
            found = provider.load()
            if found is not None:
                return found
    return None


def _bare_session() -> Session:
    """A session that reads no shared config, for when AWS tools refuse the file or do not know the profile.

    The environment's endpoints, proxies and CA bundle still count.
    """
    from botocore.session import Session

    session = Session()
    session.set_config_variable("config_file", "/dev/null")
    session.set_config_variable("credentials_file", "/dev/null")
    session.set_config_variable("profile", "default")
    session.full_config.setdefault("profiles", {}).setdefault("default", {})
    return session


def warm_up() -> None:
    """Loads boto3's weight ahead of the first call; for a thread with nothing better to do."""
    import boto3  # noqa: F401  # the import is the work


def _quiet() -> None:
    """Keeps botocore's debug logging, which prints request bodies and tokens, away from every handler."""
    for name in ("botocore", "boto3", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module="botocore")


def _credentials(answer: Mapping[str, Any]) -> Credentials:
    return Credentials(
        answer["AccessKeyId"],
        Secret(answer["SecretAccessKey"]),
        Secret(answer["SessionToken"]),
        answer["Expiration"].astimezone(UTC),
    )


def _asked(what: str, act: Callable[[], Answer]) -> Answer:
    """Runs one call and turns whatever botocore raises into the tree of :mod:`keyturn.errors`."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    try:
        return act()
    except boto.ClientError as error:
        raise _refusal(what, error) from None
    except (boto.ParamValidationError, boto.InvalidRegionError, ValueError) as error:
        why = str(error).replace("\n", " ")
        raise AwsRefused(what, why, "Correct the profile's definition", code="ValidationError") from None
    except ResponseParserError:
        why = "the answer was not AWS's (a proxy or a sign-in page of the network may have answered)"
        raise Unreachable(what, why, "Check the network, then try again") from None
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        raise Unreachable(what, _unreached(error), "Check the network, then try again") from None
    except (KeyError, AttributeError, TypeError):
        raise Unreachable(what, "the answer lacked what AWS always sends", "Try again") from None
    except boto.BotoCoreError as error:
        raise AwsError(what, str(error), "Correct the profile's definition") from None


def _unreached(error: Exception) -> str:
    text = str(error)
    return text if len(text) <= 200 else text[:199] + "…"


def _refusal(what: str, error: Any) -> AwsError:
    """The error for an answer of AWS's, with a next step for the codes that have one (aws-facts 4)."""
    body = error.response.get("Error", {})
    code, message = str(body.get("Code", "")), str(body.get("Message", ""))
    request_id = str(error.response.get("ResponseMetadata", {}).get("RequestId", ""))
    why = f"{code}: {message}" if message else code
    if code == "AccessDenied" and any(part in message.lower() for part in _MFA_REFUSALS):
        hint = "Wait for the next code (each works once), then try again"
        return WrongMfaCode(what, "AWS refused the MFA code", hint, code=code, request_id=request_id)
    skew = _SKEW.search(message)
    if skew:
        return ClockSkew(
            what,
            f"this machine's clock is off by {_skew(skew)}",
            "Set the clock (for example by NTP)",
            code=code,
        )
    return AwsRefused(what, why, _HINTS.get(code, ""), code=code, request_id=request_id)


_HINTS = {
    "InvalidClientTokenId": "The key may be deleted or inactive, or belong to another partition; check it in IAM",
    "SignatureDoesNotMatch": "The secret does not belong to this key id; adopt the key again",
    "ExpiredToken": "The session has ended; refresh it",
    "RegionDisabledException": "Activate STS for this region in the account, or choose another region",
    "Throttling": "AWS asks to slow down; try again in a minute",
    "ThrottlingException": "AWS asks to slow down; try again in a minute",
    "AccessDenied": "Somebody who may change the role's trust policy or your permissions can allow it",
}


def _skew(match: re.Match[str]) -> str:
    ours, theirs = (datetime.strptime(part, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) for part in match.groups())
    minutes = abs(int((ours - theirs).total_seconds() // 60))
    return f"about {minutes} minutes"


def _native_error(what: str, error: Exception, profile: str) -> AwsError | ProfileBroken | NeedsLogin:
    from botocore import exceptions as boto

    sso = (boto.SSOTokenLoadError, boto.UnauthorizedSSOTokenError, boto.TokenRetrievalError, boto.SSOError)
    if isinstance(error, sso):
        return NeedsLogin(what, str(error), f"Run: aws sso login --profile {profile}")
    if isinstance(error, getattr(boto, "LoginError", ())):
        return NeedsLogin(what, str(error), f"Run: aws login --profile {profile}")
    if isinstance(error, boto.ClientError):
        return _refusal(what, error)
    if isinstance(error, (boto.ConnectionError, boto.HTTPClientError)):
        return Unreachable(what, _unreached(error), "Check the network, then try again")
    return ProfileBroken(what, " ".join(str(error).split()), "Correct the profile's definition")
