"""A new way to get a session is one class of under 60 lines and one entry of the registry."""

from __future__ import annotations

import ast
import inspect
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from keyturn import cli
from keyturn.aws.api import IssuedCredentials
from keyturn.model.errors import KeyturnError, ProfileBroken, UnparsableFile, UsageError
from keyturn.model.profile import Credentials, Delivery, Kind, Profile
from keyturn.model.secret import Secret
from keyturn.model.text import from_iso
from keyturn.profiles import settings
from keyturn.providers import registry
from keyturn.providers.base import CredentialProvider, KnownState, SessionRequest
from keyturn.storage.managed_profiles import ManagedProfile
from tests.core.operations.conftest import Bench


def absolute_path(text: str) -> str:
    """Check the path of a file."""
    if not Path(text).is_absolute():
        raise UsageError("Invalid broker_file", f"{text} is not an absolute path", "Give the whole path")
    return text


class BrokerProvider(CredentialProvider):
    """Sessions that a broker on this machine leaves in a file, in the form of `credential_process`."""

    kind = "broker"
    label = "session from a broker"
    plural = "broker profiles"
    settings = {"broker_file": absolute_path, "broker_approval": str}  # noqa: RUF012  # as in the base class

    @classmethod
    def source(cls, definition: ManagedProfile) -> str | None:
        """Return the broker's file."""
        return str(definition.setting("broker_file"))

    @classmethod
    def check(cls, definition: ManagedProfile) -> None:
        """Require the file."""
        if definition.setting("broker_file") is None:
            raise UsageError("Could not unset broker_file", "a broker profile needs it", "Set another file")

    @classmethod
    def needs_person(cls, definition: ManagedProfile, _known: Callable[[], KnownState]) -> bool:
        """Return True if each session must be approved."""
        return bool(definition.setting("broker_approval") == "each")

    def fingerprint(self, _path: tuple[str, ...]) -> list[object]:
        """Return what a session depends on."""
        return ["broker", self.definition.setting("broker_file")]

    def retrieve(self, _request: SessionRequest) -> tuple[IssuedCredentials, str]:
        """Read the session."""
        try:
            document = json.loads(Path(self.definition.setting("broker_file")).read_text())
            credentials = Credentials(
                document["AccessKeyId"],
                Secret(document["SecretAccessKey"]),
                Secret(document["SessionToken"]),
                from_iso(document["Expiration"]),
            )
        except (OSError, ValueError, KeyError) as error:
            raise ProfileBroken(
                f"Could not refresh {self.name}", f"the broker's file: {error}", "Start it"
            ) from None
        return IssuedCredentials(credentials), "from the broker"


NAME, HUB = "vended", "acme-hub"


class Broker:
    """A bench whose profile `vended` is of the new kind and signs for the role `acme-hub`, and its broker."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.service = bench, bench.service
        self.file, self.definitions = folder / "broker.json", bench.service.paths.profiles_file
        bench.adopt("acme-build")
        self.vend()
        text = self.definitions.read_text().replace(
            'source_profile = "acme-build"', f'source_profile = "{NAME}"'
        )
        table = f'kind = "broker"\nbroker_file = "{self.file}"\ndelivery = "credential-process"\n'
        self.definitions.write_text(f"{text}\n[profiles.{NAME}]\n{table}")

    def vend(self, file: Path | None = None) -> str:
        """Write a new session as the broker does, and return its access key id."""
        self.service.refresh("acme-build")
        document = self.service.credential_process("acme-build")
        (file or self.file).write_text(document)
        return str(json.loads(document)["AccessKeyId"])

    def row(self, name: str = NAME) -> Profile:
        return next(row for row in self.service.snapshot().profiles if row.name == name)

    def key_id(self, name: str = NAME) -> str:
        """Return the key id of the session that `credential_process` gives."""
        return str(json.loads(self.service.credential_process(name))["AccessKeyId"])


@pytest.fixture
def broker(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(registry, "PROVIDERS", (BrokerProvider, *registry.PROVIDERS))
    return Broker(bench, tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a verb of the command line in this process, and return what it prints."""

    def run_verb(*words: str) -> str:
        capsys.readouterr()
        assert cli.run_verb(words) == 0
        return capsys.readouterr().out

    return run_verb


def test_the_new_provider_has_under_60_lines() -> None:
    parts = (inspect.getsource(absolute_path), inspect.getsource(BrokerProvider))
    assert sum(len(part.splitlines()) for part in parts) < 60
    imports = [
        node for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.ImportFrom)
    ]
    nodes = (node for part in parts for node in ast.walk(ast.parse(part)))
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    modules = {node.module for node in imports if used & {alias.name for alias in node.names}}
    below = ("keyturn.aws", "keyturn.model", "keyturn.providers", "keyturn.storage")
    assert all(module.startswith(below) for module in modules if module and module.startswith("keyturn"))


def test_it_is_shown_with_its_kind_its_source_and_its_expiry(broker: Broker, run: Callable[..., str]) -> None:
    assert "run: keyturn deliver vended --to credential-process" in (broker.row().problem or "")
    broker.service.deliver(NAME, Delivery.CREDENTIAL_PROCESS)
    refreshed = broker.service.refresh(NAME)
    row = broker.row()
    assert (row.kind, row.kind_label, row.problem) == ("broker", "session from a broker", None)
    assert (row.source, row.chain) == (str(broker.file), ())
    assert row.session is not None
    assert (row.session.key_id, row.session.expires) == (refreshed.session.key_id, refreshed.session.expires)
    listed = json.loads(run("list", "--json"))["profiles"]
    shown = next(row for row in listed if row["name"] == NAME)
    assert (shown["kind"], shown["state"], shown["expires"]) == (
        "broker", "fresh", f"{refreshed.session.expires:%Y-%m-%dT%H:%M:%SZ}"
    )  # fmt: skip
    assert " broker " in next(line for line in run("list").splitlines() if line.startswith(NAME))
    assert "session from a broker" in run("show", NAME)
    assert [
        row["name"] for row in json.loads(run("list", "--json", "--filter", "type:broker"))["profiles"]
    ] == [NAME]


def test_a_refresh_keeps_its_session_in_the_vault_and_no_plaintext_elsewhere(broker: Broker) -> None:
    refreshed = broker.service.refresh(NAME)
    assert refreshed.note == "from the broker"
    entry = broker.service.context.vault.session(NAME)
    assert entry is not None
    assert entry["key_id"] == refreshed.session.key_id
    broker.vend()
    assert broker.key_id() == refreshed.session.key_id, "the cached one, while it is fresh"
    own = [path for path in broker.service.paths.vault_dir.rglob("*") if path.is_file()]
    assert own
    assert not [path for path in own if entry["secret"].encode() in path.read_bytes()]


def test_it_is_delivered_by_credential_process_and_to_the_credentials_file(broker: Broker) -> None:
    broker.service.deliver(NAME, Delivery.CREDENTIAL_PROCESS)
    assert f"credential-process {NAME}" in broker.bench.config.read_text()
    key_id = broker.key_id()
    assert key_id == broker.service.refresh(NAME).session.key_id
    broker.service.deliver(NAME, Delivery.CREDENTIALS_FILE)
    assert key_id in broker.bench.section(NAME)
    assert stat.S_IMODE(broker.bench.credentials.stat().st_mode) == 0o600
    new = broker.vend()
    broker.service.refresh(NAME)
    assert new in broker.bench.section(NAME)
    broker.service.stop(NAME)
    assert not broker.bench.section(NAME)


def test_it_signs_for_a_role_as_its_source_profile(broker: Broker) -> None:
    row = broker.row(HUB)
    assert (row.chain, row.source, row.problem) == ((NAME,), str(broker.file), None)
    assert broker.service.refresh(HUB).session.arn
    call = [call for call in broker.bench.sandbox.calls if call.action == "AssumeRole"][-1]
    session = broker.row().session
    assert session is not None, "its own session is cached on the way"
    assert call.key_id == session.key_id


def test_another_definition_ends_its_session_and_those_made_from_it(broker: Broker, tmp_path: Path) -> None:
    broker.service.refresh(HUB)
    first, other = broker.key_id(), tmp_path / "other.json"
    second = broker.vend(other)
    change = broker.service.set(NAME, settings.parse([f"broker_file={other}"]))
    assert (change.keys, set(change.ended)) == (("broker_file",), {NAME, HUB})
    assert broker.row().session is None
    assert broker.key_id() == second != first
    text = broker.definitions.read_text()
    broker.definitions.write_text(text.replace(str(other), str(broker.file)))
    assert broker.key_id() == first, "an edit of the file counts as well"


def test_auto_renewal_includes_it_unless_it_needs_a_person(broker: Broker) -> None:
    broker.service.deliver(NAME, Delivery.CREDENTIAL_PROCESS)
    broker.key_id()
    assert NAME not in broker.service.due_profiles()
    broker.bench.sandbox.move_clock(timedelta(hours=11, minutes=30).total_seconds())
    new = broker.vend()
    assert NAME in broker.service.due_profiles()
    assert NAME in broker.service.renew_due()
    assert broker.key_id() == new
    broker.service.set(NAME, {"broker_approval": "each"})
    broker.key_id()
    broker.bench.sandbox.move_clock(timedelta(hours=11, minutes=30).total_seconds())
    assert broker.row().needs_person
    assert broker.row(HUB).needs_person, "as does a role that it signs for"
    assert NAME not in (*broker.service.due_profiles(), *broker.service.renew_due())


def test_set_prints_and_changes_its_settings(broker: Broker, run: Callable[..., str]) -> None:
    printed = dict(line.split(maxsplit=1) for line in run("set", NAME).splitlines())
    assert (printed["broker_file"], printed["broker_approval"]) == (str(broker.file), "-")
    assert run("set", NAME, "broker_approval=each", "renew=off").splitlines()[:2] == [
        "vended: broker_approval = each", "vended: renew = off"
    ]  # fmt: skip
    table = json.loads(run("set", NAME, "--json"))["settings"]
    assert (table["broker_approval"], table["renew"], table["broker_file"]) == (
        "each",
        "off",
        str(broker.file),
    )
    run("set", NAME, "broker_approval=")
    assert "broker_approval" not in broker.definitions.read_text()
    assert "broker_file" not in broker.service.settings(HUB), "nor do other kinds show them"


@pytest.mark.parametrize(
    ("name", "words", "line"),
    [
        (NAME, "broker_file=x.json", "Invalid broker_file: x.json is not an absolute path. Give the whole"),
        (NAME, "broker_file=", "Could not unset broker_file: a broker profile needs it. Set another file"),
        (NAME, "tags=a=b", "Could not set tags of vended: it is valid for roles only, this is broker"),
        (NAME, "session=none", "Invalid value for session: none: only an IAM user's key can be delivered"),
        (HUB, "broker_file=/x",
         "Could not set broker_file of acme-hub: it is valid for broker profiles only, this is role"),
        (HUB, "broker=x", "Unknown setting: broker. Valid: region, renew,"),
    ],
)  # fmt: skip
def test_an_invalid_setting_gives_one_clear_line(broker: Broker, name: str, words: str, line: str) -> None:
    before = broker.definitions.read_bytes()
    with pytest.raises(UsageError) as excinfo:
        broker.service.set(name, settings.parse([words]))
    assert excinfo.value.line().startswith(line)
    assert "\n" not in excinfo.value.line()
    assert broker.definitions.read_bytes() == before


def test_a_session_that_cannot_be_had_gives_one_clear_line(broker: Broker) -> None:
    broker.file.write_text("{}")
    with pytest.raises(KeyturnError) as excinfo:
        broker.service.refresh(NAME)
    assert excinfo.value.line() == "Could not refresh vended: the broker's file: 'AccessKeyId'. Start it"
    failure = broker.row().failure
    assert failure is not None
    assert failure.line == excinfo.value.line()


@pytest.fixture
def older(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Broker:
    """A version of keyturn that does not know the kind reads the same files."""
    monkeypatch.setattr(registry, "PROVIDERS", registry.PROVIDERS[1:])
    return broker


def test_a_version_that_does_not_know_the_kind_refuses_the_file_and_leaves_it(older: Broker) -> None:
    before = older.definitions.read_bytes()
    snapshot = older.service.snapshot()
    problem = next(problem for problem in snapshot.problems if problem.path == str(older.definitions))
    assert problem.reason == "profile vended: kind broker cannot be managed"
    assert not [row.name for row in snapshot.profiles if row.managed]
    attempts: list[Callable[[], Any]] = [
        lambda: older.service.set("acme-build", {"renew": "off"}),
        lambda: older.bench.adopt("ci-deploy"),
        lambda: older.service.deliver("acme-build", Delivery.NOWHERE),
        lambda: older.bench.release("acme-build"),
        lambda: older.service.credential_process("acme-build"),
    ]
    for attempt in attempts:
        with pytest.raises(UnparsableFile, match="profile vended: kind broker cannot be managed"):
            attempt()
    assert older.definitions.read_bytes() == before


def test_the_kinds_of_the_registry_are_those_that_profiles_toml_may_name() -> None:
    assert {provider.kind for provider in registry.PROVIDERS if provider.kind} == {Kind.IAM_KEY, Kind.ROLE}
    for kind in set(Kind) - {Kind.IAM_KEY, Kind.ROLE}:
        with pytest.raises(UnparsableFile, match=f"kind {kind} cannot be managed"):
            registry.require_known_kinds({"x": ManagedProfile("x", kind)}, "profiles.toml")
