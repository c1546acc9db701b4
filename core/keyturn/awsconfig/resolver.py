"""Resolution of the credentials of an explicitly named profile, as botocore does it, and the errors it would
raise.

Pure. The order and the error texts are those of botocore 1.44.5, `credentials.py`: role, web identity, SSO,
keys of the credentials file, login, process, keys of the config file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from keyturn.awsconfig.loader import SharedConfig
from keyturn.awsconfig.parser import Document, FileKind, Section, Settings
from keyturn.awsconfig.value_faults import key_fault
from keyturn.model import key_ids
from keyturn.model.chain import MAX_CHAIN, count_sources, length_problem
from keyturn.model.profile import Kind

#: Valid values of `credential_source`; botocore requires exactly this spelling.
CREDENTIAL_SOURCES = ("Environment", "Ec2InstanceMetadata", "EcsContainer")
#: Settings of a role that are parameters of AssumeRole.
_SENT_SETTINGS = ("role_arn", "role_session_name", "external_id", "mfa_serial")
_SSO_TRIGGERS = ("sso_account_id", "sso_role_name")
_SSO_SESSION = ("sso_start_url", "sso_region")
#: In botocore's order: the older name first.
TOKEN_KEYS = ("aws_security_token", "aws_session_token")


@dataclass(frozen=True, slots=True)
class Resolution:
    """The source and kind of a profile's credentials, or the problem that prevents them."""

    kind: Kind = Kind.UNKNOWN
    source: str | None = None
    """The source of the credentials: the profile with the key, the SSO session or start URL, the login,
    ..."""
    chain: tuple[str, ...] = ()
    """Source profiles of a role, nearest first; the last one has credentials of its own."""
    problem: str | None = None
    decider: str | None = None
    """The setting that selects the kind."""
    key_id: str | None = None
    """The access key ID, if the keys are in a file."""
    token: bool = False
    """True if a session token is beside the keys."""
    file: FileKind | None = None
    """The file with the keys."""
    credential_source: str | None = None
    """The `credential_source` that the first role of the chain is assumed with, if it has no source
    profile."""
    prompts: bool = False
    """True if a role of the chain needs an MFA code."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A role's own part of its chain."""

    prompts: bool
    """The role needs an MFA code."""
    source: str | None = None
    """The profile that signs for it."""
    is_last: bool = False
    """The source has credentials of its own, or assumes no role."""
    credential_source: str | None = None
    problem: str | None = None


class _InvalidConfig(Exception):
    """An error that botocore would raise; holds its text."""


class Resolver:
    """Resolves the profiles of one configuration, each at most once."""

    def __init__(self, shared: SharedConfig) -> None:
        self._shared = shared
        self._profiles = shared.profiles
        self._sessions = shared.sso_sessions
        self._own_resolutions: dict[str, Resolution] = {}
        self._steps_to_source: dict[str, _Step] = {}
        self._lengths: dict[str, int | None] = {}
        self._steps: tuple[Callable[[str, Settings], Resolution | None], ...] = (
            _web_identity,
            self._sso,
            self._keys_of_credentials,
            _login,
            _process,
            self._keys_of_config,
        )

    def resolve(self, name: str) -> Resolution:
        """Return the resolution of the existing profile `name`."""
        return self._role(name) if _is_role(self._profiles[name]) else self.resolve_own(name)

    def resolve_own(self, name: str) -> Resolution:
        """Resolve a profile without assuming its role, as botocore does for a source profile."""
        resolution = self._own_resolutions.get(name)
        if resolution is None:
            try:
                resolution = self._try_steps(name)
            except _InvalidConfig as error:
                resolution = Resolution(problem=str(error))
            self._own_resolutions[name] = resolution
        return resolution

    def _role(self, name: str) -> Resolution:
        visited = [name]
        prompts = False
        try:
            while True:
                step = self._step(visited[-1])
                prompts = prompts or step.prompts
                if step.problem is not None:
                    raise _InvalidConfig(step.problem)
                source = step.source
                if source is None:
                    end = Resolution(source=step.credential_source, credential_source=step.credential_source)
                    break
                if len(visited) > MAX_CHAIN:
                    raise _InvalidConfig(self._length_problem(name))
                self._require_new(source, visited)
                visited.append(source)
                if step.is_last:
                    end = self._resolve_end(source)
                    break
        except _InvalidConfig as error:
            end = Resolution(problem=str(error))
        return Resolution(
            Kind.ROLE, end.source, tuple(visited[1:]), end.problem, "role_arn", end.key_id,
            credential_source=end.credential_source, prompts=prompts,
        )  # fmt: skip

    def _step(self, name: str) -> _Step:
        """Return the step from the role `name` to its source, whatever chain it is part of."""
        step = self._steps_to_source.get(name)
        if step is None:
            settings, prompts = self._profiles[name], False
            try:
                prompts = bool(_text(settings, "mfa_serial"))
                _require_values(settings)
                source = self._source(name, settings)
                if source is None:
                    step = _Step(prompts, credential_source=_text(settings, "credential_source"))
                else:
                    signer = self._profiles[source]
                    step = _Step(prompts, source, is_last=_has_keys(signer) or not _is_role(signer))
            except _InvalidConfig as error:
                step = _Step(prompts, problem=str(error))
            self._steps_to_source[name] = step
        return step

    def _require_new(self, source: str, visited: list[str]) -> None:
        if source in visited and (source != visited[-1] or not _has_keys(self._profiles[source])):
            raise _InvalidConfig(
                "Infinite loop in credential configuration detected. Attempting to load from profile "
                f"{source} which has already been visited. Visited profiles: {visited}"
            )

    def _length_problem(self, name: str) -> str:
        """Return the problem of a role whose chain exceeds :data:`MAX_CHAIN`; botocore would follow it until
        Python's recursion ends.
        """

        def step_of(role: str) -> tuple[str | None, bool]:
            step = self._step(role)
            return step.source, step.is_last

        return length_problem(count_sources(name, step_of, self._lengths))

    def _resolve_end(self, source: str) -> Resolution:
        end = self.resolve_own(source)
        if end.problem is not None:
            return replace(end, problem=f'its source profile "{source}" is invalid: {end.problem}')
        if end.kind is Kind.UNKNOWN:
            raise _InvalidConfig(f'The source profile "{source}" must have credentials.')
        return end

    def _source(self, name: str, settings: Settings) -> str | None:
        """Return the source profile of a role; None if it has a credential source instead."""
        credential_source = _text(settings, "credential_source")
        source = _text(settings, "source_profile")
        if credential_source is not None and source is not None:
            raise _InvalidConfig(f'The profile "{name}" contains both source_profile and credential_source.')
        if credential_source is not None:
            if credential_source not in CREDENTIAL_SOURCES:
                raise _InvalidConfig(
                    f'The credential source "{credential_source}" referenced in profile "{name}" '
                    "is not valid."
                )
            return None
        if source is None:
            raise _partial_credentials("assume-role", "source_profile or credential_source")
        if source not in self._profiles:
            raise _InvalidConfig(
                f'The source_profile "{source}" referenced in the profile "{name}" does not exist.'
            )
        return source

    def _try_steps(self, name: str) -> Resolution:
        settings = self._profiles[name]
        for step in self._steps:
            resolution = step(name, settings)
            if resolution is not None:
                return resolution
        return _no_credentials(settings)

    def _keys_of_credentials(self, name: str, settings: Settings) -> Resolution | None:
        if "aws_access_key_id" not in settings:
            return None
        section = self._shared.definitions[name].credentials
        return _keys(name, self._shared.credentials, section, FileKind.CREDENTIALS)

    def _keys_of_config(self, name: str, settings: Settings) -> Resolution | None:
        if "aws_access_key_id" not in settings:
            return None
        section = self._shared.definitions[name].config
        return _keys(name, self._shared.config, section, FileKind.CONFIG)

    def _sso(self, name: str, settings: Settings) -> Resolution | None:
        decider = next((key for key in _SSO_TRIGGERS if key in settings), None)
        if decider is None:
            return None
        resolved: dict[str, object] = dict(settings)
        session_name = _text(settings, "sso_session")
        try:
            if session_name is not None:
                resolved |= self._sso_session(session_name, settings)
            required = ("sso_role_name", "sso_account_id", *_SSO_SESSION)
            missing = [key for key in required if key not in resolved]
            if missing:
                raise _InvalidConfig(
                    f'The profile "{name}" is configured to use SSO but is missing required configuration: '
                    + ", ".join(missing)
                )
            for key in required:
                _text(resolved, key)
        except _InvalidConfig as error:
            return Resolution(Kind.SSO_ROLE, session_name, problem=str(error), decider=decider)
        source = session_name or _text(resolved, "sso_start_url")
        return Resolution(Kind.SSO_ROLE, source, decider=decider)

    def _sso_session(self, name: str, settings: Settings) -> Settings:
        session = self._sessions.get(name)
        if session is None:
            raise _InvalidConfig(f'The specified sso-session does not exist: "{name}"')
        for key, value in session.items():
            if settings.get(key, value) != value:
                raise _InvalidConfig(
                    f"The value for {key} is inconsistent between profile ({settings[key]}) "
                    f"and sso-session ({value})."
                )
        missing = [key for key in _SSO_SESSION if key not in session]
        if missing:
            raise _InvalidConfig(
                f'The sso-session "{name}" is missing required configuration: {", ".join(missing)}'
            )
        return session


def _web_identity(_: str, settings: Settings) -> Resolution | None:
    token_file = _text(settings, "web_identity_token_file")
    if not token_file:
        return None
    problem = None
    if not _text(settings, "role_arn"):
        problem = "It is configured to assume a role with web identity but has no role_arn"
    return Resolution(Kind.WEB_IDENTITY, token_file, problem=problem, decider="web_identity_token_file")


def _login(_: str, settings: Settings) -> Resolution | None:
    login = _text(settings, "login_session")
    return None if login is None else Resolution(Kind.CONSOLE_LOGIN, login, decider="login_session")


def _process(name: str, settings: Settings) -> Resolution | None:
    if _text(settings, "credential_process") is None:
        return None
    return Resolution(Kind.PROCESS, name, decider="credential_process")


def _no_credentials(settings: Settings) -> Resolution:
    """Return a resolution without credentials, at most with a bearer token; botocore then tries the
    environment of the machine."""
    has_secret_only = "aws_secret_access_key" in settings
    problem = "aws_secret_access_key without aws_access_key_id" if has_secret_only else None
    return Resolution(source=_text(settings, "sso_session"), problem=problem)


def _keys(name: str, document: Document | None, section: Section | None, kind: FileKind) -> Resolution | None:
    """Return the keys of one file; botocore never combines an ID of one file with a secret of the other."""
    key_id = document.item(section, "aws_access_key_id") if document and section else None
    if document is None or section is None or key_id is None:
        return None
    secret = document.item(section, "aws_secret_access_key")
    tokens = [document.item(section, key) for key in TOKEN_KEYS]
    token = any(item is not None and item.value for item in tokens)
    resolution = Resolution(
        Kind.STATIC_SESSION if token else Kind.IAM_KEY,
        name,
        decider="aws_access_key_id",
        key_id=key_id.value,
        token=token,
        file=kind,
    )
    if secret is None:
        provider = "shared-credentials-file" if kind is FileKind.CREDENTIALS else "config-file"
        return replace(resolution, problem=str(_partial_credentials(provider, "aws_secret_access_key")))
    if not key_id.value or not secret.value or "\n" in key_id.value or "\n" in secret.value:
        return replace(resolution, key_id=None, problem="its access key is empty or spans several lines")
    for item in (key_id, secret, *tokens):
        fault = key_fault(item.key, item.value) if item is not None else None
        if item is not None and fault is not None:
            return replace(resolution, key_id=None, problem=f"{item.key} on line {item.line} {fault}")
    return _check_key_kind(resolution, key_id.value)


def _check_key_kind(resolution: Resolution, key_id: str) -> Resolution:
    """Return `resolution`, with a problem if AWS is certain to reject the keys."""
    if key_ids.is_temporary(key_id) and not resolution.token:
        problem = "its temporary key has no aws_session_token: AWS rejects it"
        return replace(resolution, kind=Kind.STATIC_SESSION, problem=problem)
    if key_ids.is_long_term(key_id) and resolution.token:
        problem = "its long-term key has a session token: AWS rejects the pair"
        return replace(resolution, kind=Kind.IAM_KEY, problem=problem)
    return resolution


def _partial_credentials(provider: str, missing: str) -> _InvalidConfig:
    return _InvalidConfig(f"Partial credentials found in {provider}, missing: {missing}")


def _require_values(settings: Settings) -> None:
    """Check that no setting is empty that botocore sends to AWS even then."""
    for key in _SENT_SETTINGS:
        if _text(settings, key) == "":
            sends = "asks for an MFA code and sends both" if key == "mfa_serial" else "sends it"
            raise _InvalidConfig(f"its {key} is empty: the AWS CLI {sends}, and AWS refuses that")


def _is_role(settings: Settings) -> bool:
    return "role_arn" in settings and "web_identity_token_file" not in settings


def _has_keys(settings: Settings) -> bool:
    return "aws_secret_access_key" in settings or "aws_access_key_id" in settings


def _text(settings: dict[str, object] | Settings, key: str) -> str | None:
    value = settings.get(key)
    if value is None or isinstance(value, str):
        return value
    raise _InvalidConfig(f"{key} is a nested block, but AWS tools expect a string")
