"""Manual edits of the shared files beside keyturn: reported correctly, with a way out that works."""

from __future__ import annotations

import pytest

from keyturn.awsconfig.document import FileKind, parse
from keyturn.model.errors import ChangeRefused
from keyturn.model.profile import Profile
from tests.core.operations.conftest import Bench

OWN = (
    "\n[ci-deploy]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\n"
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
)


def row(bench: Bench, name: str) -> Profile:
    return next(row for row in bench.service.snapshot().profiles if row.name == name)


def values(bench: Bench, kind: FileKind, section: str) -> dict[str, str]:
    data = bench.files()[0 if kind is FileKind.CONFIG else 1]
    found = parse(data, "file", kind).section(section)
    return {item.key: item.value for item in found.items} if found else {}


def put_own_key(bench: Bench) -> None:
    """Put a key into the section that adopt left, as `aws configure` does."""
    text = bench.credentials.read_text()
    bench.credentials.write_text(text.replace("[ci-deploy]\n", OWN.lstrip("\n"), 1))


def test_a_key_put_beside_our_line_is_named_with_its_place_and_what_is_said_helps(bench: Bench) -> None:
    before = bench.files()
    bench.adopt("ci-deploy")
    adopted = bench.files()
    put_own_key(bench)
    problem = row(bench, "ci-deploy").problem
    assert problem is not None
    line = bench.credentials.read_text().split("\n").index("[ci-deploy]") + 1
    assert f"a plaintext key ({bench.credentials}, line {line}) takes precedence" in problem
    assert "move it to another profile, or remove it" in problem
    with pytest.raises(ChangeRefused, match="to another profile, then release"):
        bench.release("ci-deploy")
    # Both lines advise moving the key to another profile.
    bench.credentials.write_bytes(adopted[1] + OWN.replace("[ci-deploy]", "[mine]").encode())
    assert row(bench, "ci-deploy").problem is None
    assert row(bench, "mine").plaintext_key
    bench.release("ci-deploy", "ci-audit", "ci-release")
    assert bench.files() == (before[0], before[1] + OWN.replace("[ci-deploy]", "[mine]").encode())


def test_a_profile_renamed_by_hand_is_said_and_given_back_where_it_is_now(bench: Bench) -> None:
    before = bench.files()
    key = values(bench, FileKind.CREDENTIALS, "ci-deploy")
    bench.adopt("ci-deploy")
    for path, header in ((bench.config, "profile ci-deploy"), (bench.credentials, "ci-deploy")):
        path.write_text(
            path.read_text().replace(f"[{header}]", f"[{header.replace('ci-deploy', 'deployer')}]")
        )
    problem = row(bench, "ci-deploy").problem
    assert problem is not None
    assert "its credential_process line is in profile deployer" in problem
    plan = bench.service.plan_release(["ci-deploy"])
    assert "ci-deploy was renamed to deployer in the files and is released there" in plan.warnings
    bench.release("ci-deploy")
    assert "credential_process" not in values(bench, FileKind.CONFIG, "profile deployer")
    assert values(bench, FileKind.CREDENTIALS, "deployer") == key
    assert values(bench, FileKind.CREDENTIALS, "ci-deploy") == {}
    assert before[0].count(b"[") == bench.files()[0].count(b"[")
    assert row(bench, "deployer").plaintext_key
    assert row(bench, "deployer").problem is None
    assert not row(bench, "deployer").managed


def test_a_role_renamed_by_hand_gets_its_settings_where_it_is_now(bench: Bench) -> None:
    wanted = values(bench, FileKind.CONFIG, "profile ci-audit")
    bench.adopt("ci-deploy")
    bench.config.write_text(bench.config.read_text().replace("[profile ci-audit]", "[profile auditor]"))
    bench.release("ci-audit", "ci-release", "ci-deploy")
    assert values(bench, FileKind.CONFIG, "profile auditor") == wanted
    assert values(bench, FileKind.CONFIG, "profile ci-audit") == {}
    assert b"credential-process" not in b"".join(bench.files())


def test_a_copy_of_a_managed_section_loses_our_line_with_the_release(bench: Bench) -> None:
    before = bench.files()
    bench.adopt("ci-deploy")
    line = values(bench, FileKind.CONFIG, "profile ci-deploy")["credential_process"]
    copy = f"\n[profile twin]\ncredential_process = {line}\nregion = eu-west-1\n"
    bench.config.write_text(bench.config.read_text() + copy)
    bench.release("ci-deploy", "ci-audit", "ci-release")
    assert bench.files() == (before[0] + b"\n[profile twin]\nregion = eu-west-1\n", before[1])


def test_a_line_that_is_gone_is_said_with_the_verb_that_brings_it_back(bench: Bench) -> None:
    bench.adopt("ci-deploy")
    line = values(bench, FileKind.CONFIG, "profile ci-deploy")["credential_process"]
    bench.config.write_text(bench.config.read_text().replace(f"credential_process = {line}\n", "", 1))
    problem = row(bench, "ci-deploy").problem
    assert problem is not None
    assert "run: keyturn deliver ci-deploy --to credential-process" in problem
    bench.service.deliver("ci-deploy", bench.service.context.read().definitions["ci-deploy"].delivery)
    assert row(bench, "ci-deploy").problem is None
