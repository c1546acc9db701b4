"""`set`: the settings of a managed profile that a user may change, and the effect on existing sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from keyturn.model.errors import AwsRefused, KeyturnError, NotFound, ProfileBroken, UsageError
from keyturn.model.profile import Delivery, Kind, Renew, State, VaultState, state_of
from keyturn.profiles import settings
from keyturn.storage import managed_profiles
from keyturn.storage.managed_profiles import ManagedProfile
from keyturn_sandbox import service
from tests.core.operations.conftest import Bench

POLICY = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
)
USER = ManagedProfile("ci", Kind.IAM_KEY, key="ci")
ROLE = ManagedProfile("hub", Kind.ROLE, role_arn="arn:aws:iam::111122223333:role/Hub", source_profile="ci")


def last_assume_role(bench: Bench) -> Mapping[str, str]:
    """Return the parameters of the last AssumeRole."""
    return [call for call in bench.sandbox.calls if call.action == "AssumeRole"][-1].params


def widen_trust_policy(bench: Bench, arn: str) -> None:
    """Make a role's trust policy allow tags and a source identity, too."""
    found = bench.sandbox.state.role(arn)
    assert found is not None
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    found.trust = tuple({**statement, "Action": actions} for statement in found.trust)


HUB = "arn:aws:iam::111122223333:role/Hub"


def changed(role: ManagedProfile, *words: str) -> ManagedProfile:
    return settings.apply(role, settings.parse(words))


@pytest.mark.parametrize(
    ("words", "setting", "value"),
    [
        (("renew=off",), "renew", Renew.OFF),
        (("renew=",), "renew", Renew.AUTO),
        (("duration=12h",), "duration_seconds", 43200),
        (("duration=1h30m",), "duration_seconds", 5400),
        (("duration=45m",), "duration_seconds", 2700),
        (("duration_seconds=900",), "duration_seconds", 900),
        (("duration=900s",), "duration_seconds", 900),
        (("duration=",), "duration_seconds", None),
        (("tags=team=ops,stage=a=b",), "tags", {"team": "ops", "stage": "a=b"}),
        (("tags=",), "tags", {}),
        (("tags=team=ops", "transitive_tags=team"), "transitive_tags", ("team",)),
        (("source_identity=jo",), "source_identity", "jo"),
        (("role_session_name=jo@example.com",), "role_session_name", "jo@example.com"),
        (("external_id=a:b/c",), "external_id", "a:b/c"),
        (("external_id=",), "external_id", None),
        (("mfa_serial=GAHT12345678",), "mfa_serial", "GAHT12345678"),
        ((f"policy={POLICY}",), "policy", POLICY),
        (("policy_arns=arn:aws:iam::aws:policy/ReadOnlyAccess",), "policy_arns",
         ("arn:aws:iam::aws:policy/ReadOnlyAccess",)),
        (("timeout=1",), "timeout", 1),
        (("timeout=600",), "timeout", 600),
        (("timeout=",), "timeout", None),
        (("rotation_days=0",), "rotation_days", 0),
        (("rotation_days=",), "rotation_days", 90),
    ],
)  # fmt: skip
def test_a_setting_is_read_from_one_text(words: tuple[str, ...], setting: str, value: object) -> None:
    assert getattr(changed(ROLE, *words), setting) == value


@pytest.mark.parametrize(
    ("role", "words", "reason"),
    [
        (ROLE, ("tags",), "Invalid setting: tags: it is not KEY=VALUE"),
        (ROLE, ("colour=red",), "Unknown setting: colour"),
        (ROLE, ("role_arn=x",), "Unknown setting: role_arn"),
        (ROLE, ("renew=off", "renew=auto"), "Repeated setting: renew"),
        (ROLE, ("duration=1h", "duration_seconds=900"), "Repeated setting: duration_seconds"),
        (ROLE, ("renew=sometimes",), "Invalid value for renew: sometimes"),
        (ROLE, ("duration=soon",), "soon is not a duration"),
        (ROLE, ("duration=-900",), "-900 is not a duration"),
        (ROLE, ("duration=899",), "899 s is not between 900 and 43200 s"),
        (ROLE, ("duration=13h",), "46800 s is not between 900 and 43200 s"),
        (USER, ("duration=37h",), "133200 s is not between 900 and 129600 s"),
        (ROLE, ("tags=team",), "Invalid tag: team: it is not KEY=VALUE"),
        (ROLE, ("tags=team=a,team=b",), "Repeated tag: team"),
        (ROLE, ("transitive_tags=team",), "team is not one of the tags"),
        (ROLE, ("session=none",), "only an IAM user's key can be delivered"),
        (USER, ("session=maybe",), "Invalid value for session: maybe"),
        (USER, ("tags=a=b",), "it is valid for roles only"),
        (USER, ("source_identity=jo",), "it is valid for roles only"),
        (USER, ("mfa_serial=arn:aws:iam::111122223333:u2f/user/jo/k",), "shows no codes"),
        (USER, ("timeout=5",), "Could not set timeout of"),
        *(
            (ROLE, (f"timeout={text}",), f"Invalid value for timeout: {text}. Use seconds from 1 to 600")
            for text in ("0", "601", "-1", "1.5", "soon", "٣", "9" * 30)
        ),
        (USER, ("rotation_days=often",), "Invalid value for rotation_days: often"),
        (USER, ("rotation_days=٣",), "Invalid value for rotation_days"),
    ],
)
def test_what_is_no_value_is_refused_on_one_line(
    role: ManagedProfile, words: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(UsageError) as excinfo:
        changed(role, *words)
    assert reason in excinfo.value.line()
    assert "\n" not in excinfo.value.line()


def test_every_setting_survives_the_file(tmp_path: Path) -> None:
    role = changed(
        ROLE, "tags=team=ops,stage=prod", "transitive_tags=team,stage", "source_identity=jo",
        f"policy={POLICY}",
        "policy_arns=arn:aws:iam::aws:policy/ReadOnlyAccess", "external_id=a:b", "duration=2h",
        "renew=on-demand",
    )  # fmt: skip
    path = tmp_path / "profiles.toml"
    path.write_bytes(managed_profiles.encode({"hub": role}))
    assert managed_profiles.load(path) == {"hub": role}
    for setting in ("tags", "policy", "source_identity", "external_id", "transitive_tags", "policy_arns"):
        assert not changed(role, *{"transitive_tags=", f"{setting}="}).same_source(role), setting


def test_a_role_is_asked_for_with_all_that_was_set_and_each_change_makes_a_new_session(bench: Bench) -> None:
    bench.adopt("acme-build")
    widen_trust_policy(bench, HUB)
    values = []
    for words in (
        (),
        ("source_identity=build",),
        ("tags=team=ops,stage=prod",),
        ("transitive_tags=team",),
        ("role_session_name=nightly",),
        ("external_id=acme:1",),
    ):
        if words:
            done = bench.service.set("acme-hub", settings.parse(words))
            assert done.ended[0] == "acme-hub"
            row = next(row for row in bench.service.snapshot().profiles if row.name == "acme-hub")
            assert state_of(row, VaultState.OPEN, bench.service.now()) is State.NONE
        before = bench.calls("AssumeRole")
        document = json.loads(bench.service.credential_process("acme-hub"))
        assert bench.calls("AssumeRole") == before + 1
        assert json.loads(bench.service.credential_process("acme-hub")) == document
        assert bench.calls("AssumeRole") == before + 1
        values.append(document["AccessKeyId"])
    assert len(set(values)) == len(values)
    params = last_assume_role(bench)
    assert params["SourceIdentity"] == "build"
    assert params["RoleSessionName"] == "nightly"
    assert params["ExternalId"] == "acme:1"
    assert params["TransitiveTagKeys.member.1"] == "team"
    found = {params[f"Tags.member.{n}.Key"]: params[f"Tags.member.{n}.Value"] for n in (1, 2)}
    assert found == {"team": "ops", "stage": "prod"}


def test_a_change_by_hand_in_the_definitions_makes_a_new_session_too(bench: Bench) -> None:
    bench.adopt("acme-build")
    widen_trust_policy(bench, HUB)
    first = json.loads(bench.service.credential_process("acme-hub"))["AccessKeyId"]
    path = bench.service.paths.profiles_file
    path.write_text(
        path.read_text().replace("[profiles.acme-hub]", "[profiles.acme-hub]\nsource_identity = 'jo'")
    )
    assert json.loads(bench.service.credential_process("acme-hub"))["AccessKeyId"] != first


@pytest.fixture
def sts_bodies(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Return the request bodies sent to STS, because the sandbox does not report policies."""
    found: list[dict[str, str]] = []
    really = service.Service._run

    def perform(
        self: service.Service, api: object, action: str, version: str, params: dict[str, str], *rest: object
    ) -> object:
        if action == "AssumeRole":
            found.append(dict(params))
        return really(self, api, action, version, params, *rest)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(service.Service, "_run", perform)
    return found


def test_a_changed_policy_file_makes_a_new_session(
    bench: Bench, tmp_path: Path, sts_bodies: list[dict[str, str]]
) -> None:
    bench.adopt("acme-build")
    file = tmp_path / "policy.json"
    file.write_text(POLICY)
    bench.service.set("acme-hub", {"policy": str(file)})
    first = json.loads(bench.service.credential_process("acme-hub"))["AccessKeyId"]
    assert sts_bodies[-1]["Policy"] == POLICY
    file.write_text(POLICY.replace("s3:*", "s3:GetObject"))
    assert json.loads(bench.service.credential_process("acme-hub"))["AccessKeyId"] != first
    assert sts_bodies[-1]["Policy"] == POLICY.replace("s3:*", "s3:GetObject")
    file.unlink()
    with pytest.raises(ProfileBroken, match="is not a file"):
        bench.service.credential_process("acme-hub")


@pytest.mark.parametrize("content", [b"{", b"\xff", b"{}" + b" " * 70_000])
def test_a_policy_file_that_is_none_is_refused_before_anything_changes(
    bench: Bench, tmp_path: Path, content: bytes
) -> None:
    bench.adopt("acme-build")
    before = bench.service.paths.profiles_file.read_bytes()
    file = tmp_path / "policy.json"
    file.write_bytes(content)
    with pytest.raises(KeyturnError):
        bench.service.set("acme-hub", {"policy": str(file)})
    assert bench.service.paths.profiles_file.read_bytes() == before


def test_what_rested_on_a_changed_role_is_ended_and_withdrawn_with_it(bench: Bench) -> None:
    bench.adopt("acme-build")
    bench.service.refresh("acme-hub")
    bench.service.deliver("acme-spoke", Delivery.CREDENTIALS_FILE)
    assert "ASIA" in bench.section("acme-spoke")
    done = bench.service.set("acme-hub", {"source_identity": "jo"})
    assert set(done.ended) >= {"acme-hub", "acme-spoke"}
    assert "ASIA" not in bench.section("acme-spoke")
    assert bench.service.set("acme-hub", {"source_identity": "jo"}).keys == ()


def test_nothing_ends_for_a_setting_that_sessions_do_not_rest_on(bench: Bench) -> None:
    bench.adopt("acme-build")
    first = bench.service.credential_process("acme-hub")
    assert bench.service.set("acme-hub", {"renew": "off", "duration_seconds": "1h"}).ended == ()
    assert bench.service.credential_process("acme-hub") == first


def test_a_session_of_none_delivers_the_key_itself_and_the_way_back(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    key_id = bench.service.context.key("ci-deploy").access_key_id
    assert json.loads(bench.service.credential_process("ci-deploy"))["AccessKeyId"].startswith("ASIA")
    bench.service.set("ci-deploy", {"session": "none"})
    document = json.loads(bench.service.credential_process("ci-deploy"))
    assert document["AccessKeyId"] == key_id
    assert not {"SessionToken", "Expiration"} & set(document)
    row = next(row for row in bench.service.snapshot().profiles if row.name == "ci-deploy")
    assert state_of(row, VaultState.OPEN, bench.service.now()) is State.LONG_TERM
    with pytest.raises(KeyturnError, match="never written to a file in plaintext"):
        bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    bench.service.set("ci-deploy", {"session": ""})
    assert json.loads(bench.service.credential_process("ci-deploy"))["AccessKeyId"].startswith("ASIA")


def test_a_key_is_not_written_to_a_file_by_another_path(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.deliver("ci-deploy", Delivery.CREDENTIALS_FILE)
    with pytest.raises(UsageError, match="a long-term key is never written"):
        bench.service.set("ci-deploy", {"session": "none"})


def test_a_region_goes_where_aws_tools_read_it_and_is_taken_away_again(bench: Bench) -> None:
    before = bench.files()

    def region(name: str) -> str | None:
        return next(row.region for row in bench.service.snapshot().profiles if row.name == name)

    bench.service.set("contractor", {"region": "eu-west-3"})
    assert region("contractor") == "eu-west-3"
    assert bench.files()[0] == before[0], "the credentials file's word is the one that counts"
    bench.service.set("ci-deploy", {"region": "eu-west-3"})
    assert region("ci-deploy") == "eu-west-3"
    bench.service.set("ci-deploy", {"region": ""})
    bench.service.set("ci-deploy", {"region": ""})
    assert region("ci-deploy") is None
    bench.service.set("ci-deploy", {"region": "eu-central-1"})
    bench.service.set("contractor", {"region": "us-east-1"})
    assert bench.files()[1] == before[1]
    with pytest.raises(UsageError, match="is not a region"):
        bench.service.set("ci-deploy", {"region": "eu west"})


def test_only_what_is_managed_has_settings(bench: Bench) -> None:
    with pytest.raises(NotFound, match="keyturn adopt ci-deploy"):
        bench.service.set("ci-deploy", {"renew": "off"})
    with pytest.raises(NotFound, match="Profile not found: nobody"):
        bench.service.set("nobody", {"region": "eu-west-1"})


def test_mfa_devices_that_show_no_code_are_not_offered(bench: Bench) -> None:
    alice = bench.sandbox.state.user("aws", "111122223333", "alice")
    assert alice is not None
    bench.adopt("acme-alice")
    second = bench.sandbox.add_device(alice, "alice-phone")
    key = bench.sandbox.state.add_device(alice, "x", "A" * 32)
    key.serial = "arn:aws:iam::111122223333:u2f/user/alice/yubi-ABCDEFGH"
    serials = ("arn:aws:iam::111122223333:mfa/alice", second.serial)
    assert bench.service.mfa_devices("acme-alice") == serials
    assert bench.service.mfa_devices("prod-admin") == serials
    bench.service.set("acme-alice", {"mfa_serial": second.serial})
    done = bench.service.refresh("acme-alice", bench.sandbox.totp("alice-phone"))
    assert done.session.expires is not None
    (call,) = [call for call in bench.sandbox.calls if call.action == "GetSessionToken"]
    assert call.params["SerialNumber"] == second.serial


def test_a_session_policy_narrows_what_the_session_may_do(bench: Bench) -> None:
    bench.adopt("acme-build")
    assert bench.service.credential_process("acme-spoke")
    bench.service.set("acme-hub", {"policy": POLICY})
    with pytest.raises(AwsRefused, match="not authorized to perform: sts:AssumeRole") as excinfo:
        bench.service.credential_process("acme-spoke")
    assert excinfo.value.code == "AccessDenied"


def test_a_region_that_is_not_activated_is_one_line_with_the_way_out(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    bench.service.set("ci-deploy", {"region": "af-south-1"})
    with pytest.raises(AwsRefused) as excinfo:
        bench.service.refresh("ci-deploy")
    assert excinfo.value.code == "RegionDisabledException"
    line = excinfo.value.line()
    assert "STS is not activated in this region" in line
    assert "keyturn set PROFILE region=REGION" in line
    assert len(line) < 250
    bench.service.set("ci-deploy", {"region": "eu-central-1"})
    bench.service.refresh("ci-deploy")
