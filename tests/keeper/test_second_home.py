"""A vault carried to a second home works there at once, and gives back there what was adopted on the first."""

from __future__ import annotations

import json
from pathlib import Path

from keyturn.keeper import Keeper
from keyturn.model import Delivery
from keyturn.secret import Secret
from tests.keeper.conftest import Bench

JOURNEY = Secret("for the journey")


def test_what_was_adopted_at_home_is_delivered_and_released_in_the_second(
    bench: Bench, tmp_path: Path
) -> None:
    before = bench.section("personal")
    bench.adopt("personal")
    second = tmp_path / "second"
    environ = {
        name: value
        for name, value in bench.sandbox.environ.items()
        if name.startswith(("AWS_ENDPOINT", "KEYTURN_SANDBOX"))
    }
    environ |= {"HOME": str(second), "KEYTURN_HOME": str(second / "keyturn"), "PATH": "/usr/bin"}
    keeper = Keeper.from_environ(environ, use_agent=False)
    keeper.import_vault(bench.keeper.export_vault(JOURNEY), JOURNEY, "passphrase", Secret("second"))
    keeper.unlock_here(passphrase=Secret("second"))

    keeper.deliver("personal", Delivery.CREDENTIAL_PROCESS)
    assert "credential_process" in (second / ".aws" / "config").read_text()
    assert json.loads(keeper.credential_process("personal"))["AccessKeyId"].startswith("ASIA")

    keeper.release(keeper.plan_release(["personal"]), Secret("second"))
    assert "credential_process" not in (second / ".aws" / "config").read_text()
    given = (second / ".aws" / "credentials").read_text()
    assert given.splitlines() == ["[personal]", *(line for line in before.splitlines() if "=" in line)]
    assert bench.section("personal") != before
