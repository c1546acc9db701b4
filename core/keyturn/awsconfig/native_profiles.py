"""The profiles of the shared files as botocore resolves them, their credential settings and dependants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keyturn.awsconfig.loader import SharedConfig
from keyturn.awsconfig.parser import DEFAULT, Document, FileKind, Item, Section, Settings
from keyturn.awsconfig.resolver import Resolution, Resolver
from keyturn.awsconfig.sdk_caches import SdkCaches
from keyturn.model import key_ids
from keyturn.model.profile import LOGIN_KINDS, Key, Kind, Login, Origin, Profile, Rotation, Session
from keyturn.model.secret import Secret
from keyturn.model.text import from_aws_time

#: Settings in which tools record the expiry of the temporary keys that they write to the credentials file.
_EXPIRY_KEYS = ("aws_expiration", "x_security_token_expires", "expiration")
#: Only the index knows about rotations. One instance serves all rows, because it is frozen.
_NO_ROTATION = Rotation()
#: Settings beside temporary keys that show that they came from an MFA code.
_MFA_KEYS = ("mfa_serial", "aws_mfa_device")


class NativeProfiles(Mapping[str, Profile]):
    """The profiles that botocore knows, by name and in its order. Each is resolved at its first use, because
    an operation on one of thousands needs few of the others.

    :param environ: gives the region of a profile without one (`AWS_DEFAULT_REGION`, which botocore reads,
        else `AWS_REGION`, which other SDKs read), and the home folder with the SDK caches.
    """

    def __init__(self, shared: SharedConfig, environ: Mapping[str, str]) -> None:
        self._shared = shared
        self._profiles = shared.profiles
        self._region = environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or None
        self._caches = SdkCaches(environ)
        self._resolver = Resolver(shared)
        self._rows: dict[str, Profile] = {}

    def __getitem__(self, name: str) -> Profile:
        if name not in self._rows:
            self._rows[name] = self._row(name, self._profiles[name])
        return self._rows[name]

    def __contains__(self, name: object) -> bool:
        return name in self._profiles

    def __iter__(self) -> Iterator[str]:
        return iter(self._profiles)

    def __len__(self) -> int:
        return len(self._profiles)

    def _row(self, name: str, settings: Settings) -> Profile:
        resolution = self._resolver.resolve(name)
        kind = resolution.kind
        if kind is Kind.STATIC_SESSION and self._is_from_mfa(name, settings):
            kind = Kind.MFA_SESSION
        own_key = resolution.key_id if kind is Kind.IAM_KEY else None
        account = _account(settings, kind)
        derived = None
        if account is None and resolution.key_id and resolution.key_id.isascii() and kind is not Kind.ROLE:
            derived = key_ids.account_of(resolution.key_id)
        session, login = self._session_and_login(settings, resolution, kind)
        return Profile(
            name=name,
            kind=kind,
            source=resolution.source,
            account=account or derived,
            account_derived=account is None and derived is not None,
            role=_role(settings, kind),
            region=_text(settings, "region") or self._region,
            key=Key(own_key) if own_key else None,
            session=session,
            login=login,
            mfa_serial=_text(settings, "mfa_serial"),
            chain=resolution.chain,
            credential_source=resolution.credential_source,
            duration_seconds=_seconds(settings),
            plaintext_key=own_key is not None,
            problem=resolution.problem,
            rotation=_NO_ROTATION,
            needs_person=resolution.prompts,
            origin=self._origin(name, resolution),
        )

    def _is_from_mfa(self, name: str, settings: Settings) -> bool:
        """Return True if the keys came from an MFA code.

        aws-mfa stores the long-term key under the same name with the suffix `-long-term`.
        """
        return any(key in settings for key in _MFA_KEYS) or f"{name}-long-term" in self._profiles

    def _origin(self, name: str, resolution: Resolution) -> Origin | None:
        """Return the header of the section that holds the deciding setting."""
        sections = self._shared.definitions[name]
        deciding_item = (
            self._shared.find_item(name, resolution.decider)
            if resolution.decider and resolution.file is None
            else None
        )
        kind = resolution.file or (deciding_item[0] if deciding_item else None)
        if kind is None:
            return self._shared.origin(name)
        section = sections.config if kind is FileKind.CONFIG else sections.credentials
        return None if section is None else Origin(self._shared.path_of(kind), section.line)

    def _session_and_login(
        self, settings: Settings, resolution: Resolution, kind: Kind
    ) -> tuple[Session | None, Login | None]:
        if resolution.problem is not None:
            return None, None
        if kind in (Kind.MFA_SESSION, Kind.STATIC_SESSION) and resolution.key_id:
            return Session(resolution.key_id, None, _recorded_expiry(settings)), None
        if kind is Kind.SSO_ROLE:
            return self._sso_session_and_login(settings)
        if kind is Kind.CONSOLE_LOGIN:
            return self._caches.console_login(resolution.source or "")
        if kind in (Kind.ROLE, Kind.WEB_IDENTITY):
            session = self._caches.assumed_role(_assume_role_arguments(settings, kind))
            return session, self._login_of_source(resolution.chain)
        return None, None

    def _login_of_source(self, chain: tuple[str, ...]) -> Login | None:
        """Return the sign-in that signs for the first role of a chain, or None if keys or a process do."""
        if not chain:
            return None
        source, settings = self._resolver.resolve_own(chain[-1]), self._profiles[chain[-1]]
        if source.kind not in LOGIN_KINDS:
            return None
        return self._session_and_login(settings, source, source.kind)[1]

    def _sso_session_and_login(self, settings: Settings) -> tuple[Session | None, Login | None]:
        """Return the role credentials that AWS tools have cached, and the sign-in that gets new ones."""
        name = _text(settings, "sso_session")
        resolved = {**settings, **self._shared.sso_sessions[name]} if name else settings
        url = _text(resolved, "sso_start_url") or ""
        role = self._caches.sso_role(
            _text(resolved, "sso_account_id") or "",
            _text(resolved, "sso_role_name") or "",
            session=name,
            start_url=url,
        )
        return role, self._caches.sso_login(session=name, start_url=url)


def _text(settings: Mapping[str, object], key: str) -> str | None:
    """Return a setting that is a non-empty text."""
    value = settings.get(key)
    return value if isinstance(value, str) and value else None


def _account(settings: Settings, kind: Kind) -> str | None:
    if kind in (Kind.ROLE, Kind.WEB_IDENTITY):
        return _account_of_arn(_text(settings, "role_arn"))
    if kind is Kind.SSO_ROLE:
        return _text(settings, "sso_account_id")
    if kind is Kind.CONSOLE_LOGIN:
        return _account_of_arn(_text(settings, "login_session")) or _text(settings, "aws_account_id")
    return _text(settings, "aws_account_id")


def _account_of_arn(arn: str | None) -> str | None:
    parts = (arn or "").split(":")
    account = parts[4] if len(parts) >= 6 and parts[0] == "arn" else ""
    return account if len(account) == 12 and account.isascii() and account.isdigit() else None


def _role(settings: Settings, kind: Kind) -> str | None:
    if kind in (Kind.ROLE, Kind.WEB_IDENTITY):
        return _text(settings, "role_arn")
    return _text(settings, "sso_role_name") if kind is Kind.SSO_ROLE else None


def _seconds(settings: Settings) -> int | None:
    """Return `duration_seconds`; botocore ignores a value that is not an integer."""
    text = _text(settings, "duration_seconds")
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _assume_role_arguments(settings: Settings, kind: Kind) -> dict[str, object]:
    """Return the arguments that the AWS CLI derives the cache file name from. It leaves out a generated
    session name."""
    arguments: dict[str, object] = {"RoleArn": _text(settings, "role_arn")}
    keys = {"role_session_name": "RoleSessionName"}
    if kind is Kind.ROLE:
        keys |= {"external_id": "ExternalId", "mfa_serial": "SerialNumber"}
        seconds = _seconds(settings)
        if seconds is not None:
            arguments["DurationSeconds"] = seconds
    for key, word in keys.items():
        value = _text(settings, key)
        if value is not None:
            arguments[word] = value
    return arguments


def _recorded_expiry(settings: Settings) -> datetime | None:
    for key in _EXPIRY_KEYS:
        text = _text(settings, key)
        expiry = from_aws_time(text) or (_aws_mfa_expiry(text) if key == "expiration" else None)
        if expiry is not None:
            return expiry
    return None


def _aws_mfa_expiry(text: str | None) -> datetime | None:
    """Parse the time that aws-mfa writes, which is UTC without a zone."""
    try:
        return datetime.strptime(text or "", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None


#: The settings that adopt removes. Region, output, account, endpoints and nested blocks stay.
CREDENTIAL_KEYS = frozenset(
    {
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
        "aws_security_token",
        "role_arn",
        "source_profile",
        "credential_source",
        "external_id",
        "mfa_serial",
        "duration_seconds",
        "role_session_name",
        "web_identity_token_file",
        "sso_session",
        "sso_account_id",
        "sso_role_name",
        "sso_start_url",
        "sso_region",
        "sso_registration_scopes",
        "credential_process",
        "login_session",
    }
)


@dataclass(frozen=True, slots=True)
class CredentialItem:
    """A credential setting of a profile."""

    kind: FileKind
    section: str
    """Header of the section that holds it: the profile's own, or `DEFAULT`."""
    key: str
    value: Secret
    """Always treated as a secret, because any setting may hold one, even a command line."""
    origin: Origin


def credential_items(shared: SharedConfig, name: str) -> tuple[CredentialItem, ...]:
    """Return the credential settings of a profile, config file first, in file order; empty for an unknown
    profile."""
    sections = shared.definitions.get(name)
    if sections is None:
        return ()
    return (
        *_items_of_file(shared, FileKind.CONFIG, shared.config, sections.config),
        *_items_of_file(shared, FileKind.CREDENTIALS, shared.credentials, sections.credentials),
    )


def dependants(shared: SharedConfig) -> Mapping[str, tuple[str, ...]]:
    """Return the profiles whose chain of source profiles includes a profile, by that profile, in file
    order.
    """
    resolver = Resolver(shared)
    found: dict[str, list[str]] = {}
    for name, settings in shared.profiles.items():
        if "source_profile" in settings:
            for source in resolver.resolve(name).chain:
                if source != name:
                    found.setdefault(source, []).append(name)
    return {source: tuple(names) for source, names in found.items()}


def _items_of_file(
    shared: SharedConfig, kind: FileKind, document: Document | None, section: Section | None
) -> list[CredentialItem]:
    if document is None or section is None:
        return []
    path = shared.path_of(kind)

    def to_item(header: str, item: Item) -> CredentialItem:
        return CredentialItem(kind, header, item.key, Secret(item.value), Origin(path, item.line))

    own = {item.key for item in section.items}
    inherited = [item for item in document.defaults.values() if item.key not in own]
    return [
        *(to_item(DEFAULT, item) for item in inherited if item.key in CREDENTIAL_KEYS),
        *(to_item(section.name, item) for item in section.items if item.key in CREDENTIAL_KEYS),
    ]
