"""A vault moved to a second home works there at once, and gives back the settings adopted in the first."""

from __future__ import annotations

import json
from pathlib import Path

from keyturn.model.profile import Delivery
from keyturn.model.secret import Secret
from keyturn.service import CredentialService
from tests.core.operations.conftest import Bench

JOURNEY = Secret("for the journey")


def second_home(bench: Bench, second: Path) -> CredentialService:
    """The same user's keyturn in another home."""
    environ = {
        name: value
        for name, value in bench.sandbox.environ.items()
        if name.startswith(("AWS_ENDPOINT", "KEYTURN_SANDBOX"))
    }
    environ |= {"HOME": str(second), "KEYTURN_HOME": str(second / "keyturn"), "PATH": "/usr/bin"}
    return CredentialService.from_environ(environ, use_agent=False)


def test_what_was_adopted_at_home_is_delivered_and_released_in_the_second(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.section("personal")
    bench.adopt("personal")
    second = tmp_path / "second"
    service = second_home(bench, second)
    notes = service.import_vault(bench.service.export_vault(JOURNEY), JOURNEY, "passphrase", Secret("second"))
    assert notes == (
        "Imported managed profiles: personal.",
        (
            "AWS clients here do not resolve personal yet. For each, run: keyturn deliver NAME --to "
            "credential-process"
        ),
    )
    service.unlock_here(passphrase=Secret("second"))

    service.deliver("personal", Delivery.CREDENTIAL_PROCESS)
    assert "credential_process" in (second / ".aws" / "config").read_text()
    assert json.loads(service.credential_process("personal"))["AccessKeyId"].startswith("ASIA")

    service.release(service.plan_release(["personal"]), Secret("second"))
    assert "credential_process" not in (second / ".aws" / "config").read_text()
    given = (second / ".aws" / "credentials").read_text()
    assert given.splitlines() == ["[personal]", *(line for line in before.splitlines() if "=" in line)]
    assert bench.section("personal") != before


def test_a_profile_of_that_name_that_is_there_already_is_told_and_left_as_it_is(
    bench: Bench, tmp_path: Path
) -> None:
    bench.adopt("personal")
    credentials = tmp_path / "second" / ".aws" / "credentials"
    credentials.parent.mkdir(parents=True)
    here = "[personal]\naws_access_key_id = AKIAOTHEROTHEROTHER0\naws_secret_access_key = of-this-home\n"
    credentials.write_text(here)
    service = second_home(bench, tmp_path / "second")
    exported = bench.service.export_vault(JOURNEY)
    notes = service.import_vault(exported, JOURNEY, "passphrase", Secret("second"))
    assert notes[0] == "Imported managed profiles: personal."
    assert notes[1].startswith(
        f"personal: a plaintext key ({credentials}, line 1) takes precedence over keyturn; "
    )
    assert len(notes) == 2
    assert credentials.read_text() == here
