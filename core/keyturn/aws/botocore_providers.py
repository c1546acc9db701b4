"""Credentials from botocore's own providers, for a profile or a credential source of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from keyturn.aws.errors import exception_text, native_error
from keyturn.aws.response_limit import limit_provider
from keyturn.model.errors import ProfileBroken, Remedy, Unreachable
from keyturn.model.profile import Credentials
from keyturn.model.secret import Secret
from keyturn.system.timeout import DeadlineExceeded, run_with_timeout

if TYPE_CHECKING:
    from botocore.credentials import ProfileProviderBuilder
    from botocore.session import Session

#: Returns the sections of a file, as botocore parses it.
_FileParser = Callable[[str], dict[str, Any]]
#: Providers that are independent of the profile: they return the identity of the machine.
_MACHINE_PROVIDERS = ("env", "ec2-credentials-file", "boto-config", "container-role", "iam-role")
_SOURCE_HINTS = {
    "Environment": "Export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the calling shell",
    "EcsContainer": "Use this profile in a container that has a role",
    "Ec2InstanceMetadata": "Use this profile on an EC2 instance that has a role",
}
_SOURCE_ABSENT = {
    "Environment": "AWS_ACCESS_KEY_ID is not set in the caller's environment",
    "EcsContainer": (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and _FULL_URI are not set in the caller's environment"
    ),
    "Ec2InstanceMetadata": "the instance metadata service is not reachable",
}


def resolved_providers(profiles: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the botocore credential provider that resolves each explicit profile, without running any
    process. One botocore session reads both shared files once for all of them.

    Each is the provider's method name (`custom-process`, `shared-credentials-file`, `assume-role` ...) and,
    for `custom-process`, the command line as botocore reads it; `("none", "")` if no provider of the shared
    files resolves the profile.

    :raises ProfileBroken: if botocore rejects a profile.
    """
    from botocore.configloader import load_config, raw_config_parse
    from botocore.credentials import ProfileProviderBuilder
    from botocore.session import Session

    session = Session()
    builder = ProfileProviderBuilder(session)
    parse_config, parse_credentials = cache(load_config), cache(raw_config_parse)
    for profile in profiles:
        session.set_config_variable("profile", profile)
        yield _resolved_provider(session, builder, profile, parse_config, parse_credentials)


def _resolved_provider(
    session: Session,
    builder: ProfileProviderBuilder,
    profile: str,
    parse_config: _FileParser,
    parse_credentials: _FileParser,
) -> tuple[str, str]:
    from botocore import exceptions as boto
    from botocore.credentials import AssumeRoleProvider, ConfigProvider, SharedCredentialProvider

    try:
        settings = session.get_scoped_config()
        if "role_arn" in settings and "web_identity_token_file" not in settings:
            # Not loaded, because it would run the process of its source profile.
            return AssumeRoleProvider.METHOD, ""
        for provider in builder.providers(profile, disable_env_vars=True):
            if provider.METHOD == SharedCredentialProvider.METHOD:
                file = session.get_config_variable("credentials_file")
                provider = SharedCredentialProvider(file, profile, parse_credentials)  # noqa: PLW2901  # the same one, with the file that was read before
            elif provider.METHOD == ConfigProvider.METHOD:
                file = session.get_config_variable("config_file")
                provider = ConfigProvider(file, profile, parse_config)  # noqa: PLW2901  # likewise
            if provider.METHOD == "custom-process":
                line = settings.get("credential_process")
                if line:
                    return provider.METHOD, str(line)
            elif provider.load() is not None:
                return str(provider.METHOD), ""
    except (boto.BotoCoreError, boto.ClientError, OSError, ValueError) as error:
        raise ProfileBroken(f"Profile {profile} is invalid", exception_text(error)) from None
    return "none", ""


def from_credential_source(session: Session, profile: str, source: str, seconds: float) -> Credentials:
    """Return the credentials that botocore's provider for a `credential_source` finds in this process.

    :raises ProfileBroken: if there are none, or they are unusable.
    """
    from botocore import exceptions as boto

    what = f"credential_source {source} of {profile}"
    try:
        credentials = run_with_timeout(seconds, lambda: _load_from_source(session, source))
    except DeadlineExceeded:
        raise ProfileBroken(what, "it timed out", _SOURCE_HINTS.get(source, "")) from None
    except (
        boto.BotoCoreError,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        OverflowError,
    ) as error:
        raise ProfileBroken(what, exception_text(error), _SOURCE_HINTS.get(source, "")) from None
    if credentials is None:
        raise ProfileBroken(
            what, _SOURCE_ABSENT.get(source, "not available here"), _SOURCE_HINTS.get(source, "")
        )
    return credentials


def from_profile(session: Session, profile: str, seconds: float) -> Credentials:
    """Return the credentials that botocore resolves for `profile`. This reads its sign-in or assumes its
    role.

    :raises NeedsLogin: if the sign-in has expired.
    :raises ProfileBroken: if botocore rejects the definition.
    :raises Unreachable: if there is no answer within `seconds`.
    """
    from botocore import exceptions as boto

    what = f"Could not get credentials of {profile}"
    try:
        credentials = run_with_timeout(seconds, lambda: _to_credentials(_load_from_profile(session)))
    except DeadlineExceeded:
        raise Unreachable(what, "the credential provider timed out", "Try again") from None
    except (boto.BotoCoreError, boto.ClientError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise native_error(what, error, profile) from None
    except (AttributeError, LookupError, OverflowError):
        why = "its files hold invalid credentials"
        raise ProfileBroken(what, why, "Correct the profile's definition") from None
    if credentials is None:
        raise ProfileBroken(what, "no credentials found in the AWS provider chain", Remedy("show", profile))
    return credentials


def _load_from_profile(session: Session) -> Any:
    """Return botocore's credentials for the session's own profile, never the identity of a container or
    instance.
    """
    loaded = (limit_provider(provider).load() for provider in _profile_providers(session))
    return next((credentials for credentials in loaded if credentials is not None), None)


def _profile_providers(session: Session) -> list[Any]:
    """Return the providers of botocore's chain that depend on the profile, in their order."""
    from botocore.credentials import create_credential_resolver

    providers = create_credential_resolver(session).providers
    return [provider for provider in providers if provider.METHOD not in _MACHINE_PROVIDERS]


def _load_from_source(session: Session, source: str) -> Credentials | None:
    """Return the credentials of botocore's provider for a credential source: environment, container or
    instance.
    """
    from botocore.credentials import EnvProvider, create_credential_resolver

    providers = [EnvProvider(), *create_credential_resolver(session).providers]
    for provider in providers:
        if getattr(provider, "CANONICAL_NAME", None) == source:
            return _to_credentials(provider.load())
    return None


def _to_credentials(credentials: Any) -> Credentials | None:
    """Convert botocore credentials; None if there are none."""
    frozen = credentials.get_frozen_credentials() if credentials else None
    if frozen is None or not frozen.access_key:
        return None
    if not all(isinstance(part or "", str) for part in (frozen.access_key, frozen.secret_key, frozen.token)):
        raise TypeError("a part of the credentials is not a string")
    expires = getattr(credentials, "_expiry_time", None)
    return Credentials(
        frozen.access_key,
        Secret(frozen.secret_key or ""),
        Secret(frozen.token) if frozen.token else None,
        expires.astimezone(UTC) if isinstance(expires, datetime) else None,
    )
