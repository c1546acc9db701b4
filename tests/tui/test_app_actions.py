"""The app offers only actions that are possible, and signs and words mean what the help says."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.awsconfig.sdk_caches import SdkCaches
from keyturn.model.profile import FileProblem, Kind, Profile, Snapshot, VaultState
from keyturn_sandbox import Sandbox
from keyturn_tui.actions import BY_ID, why_not_manageable, why_unavailable
from keyturn_tui.rendering.profile_cells import View
from keyturn_tui.rendering.profile_rows import Entry
from keyturn_tui.terminal.capabilities import Options
from tests.tui.conftest import NARROW, WIDE, Drive
from tests.tui.memory_service import MemoryService
from tests.tui.sample_profiles import NOW, believable


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["120x36", "80x24"])
async def test_read_only_offers_nothing_that_writes_and_locks_nothing(
    drive: Drive, size: tuple[int, int]
) -> None:
    service = MemoryService(believable())
    async with drive(service, size, Options(read_only=True)) as driver:
        await driver.go("ci-deploy")
        foot = driver.text.splitlines()[-1]
        assert not any(word in foot for word in ("Refresh", "Release", "Adopt", "Stop", "MFA"))
        assert "Enter Open" in foot
        await driver.press("L")
        assert service.vault is VaultState.OPEN
        assert "--read-only" in driver.message
        await driver.press("enter")
        assert not any(word in driver.text.splitlines()[-1] for word in ("Refresh", "Stop"))


@pytest.mark.parametrize(
    ("profile", "fit"),
    [
        (Profile("key", kind=Kind.IAM_KEY), True),
        (Profile("role", kind=Kind.ROLE, chain=("key",)), True),
        (Profile("anywhere", kind=Kind.PROCESS, managed=True), True),
        (Profile("mfa", kind=Kind.MFA_SESSION), False),
        (Profile("static", kind=Kind.STATIC_SESSION), False),
        (Profile("machine", kind=Kind.ROLE), False),
        (Profile("broken", kind=Kind.IAM_KEY, problem="its source is gone"), False),
    ],
    ids=lambda value: value.name if isinstance(value, Profile) else "",
)
def test_m_is_promised_where_it_can_do_something(profile: Profile, fit: bool) -> None:
    assert (why_not_manageable(profile) is None) is fit


@pytest.mark.parametrize(
    ("profile", "action", "reason"),
    [
        (
            Profile("audit", managed=True, kind=Kind.ROLE, source="deploy", chain=("deploy",)),
            "key.rotate",
            "it has no access key of its own. Rotate its source: R on deploy",
        ),
        (
            Profile("login", kind=Kind.ROLE, source="corp", chain=("sso",)),
            "key.rotate",
            "it has no access key of its own",
        ),
        (Profile("sso", kind=Kind.SSO_ROLE), "key.rotate", "the vault has no access key for it"),
        (
            Profile("machine", kind=Kind.ROLE),
            "manage",
            (
                "a profile of type role has no long-term secret in the shared files. "
                "Refresh it without adopting: r"
            ),
        ),
        (Profile("audit", managed=True, kind=Kind.ROLE), "session.stop", "it has no session"),
    ],
)
def test_a_reason_names_keys_and_calls_the_profile_it(profile: Profile, action: str, reason: str) -> None:
    view = View(Snapshot(1, (profile,), vault=VaultState.OPEN), NOW)
    assert why_unavailable(BY_ID[action], Entry(profile, "", "", ""), view) == reason


async def test_m_where_it_can_do_nothing_says_why_and_is_not_in_the_footer(drive: Drive) -> None:
    service = MemoryService([Profile("by-saml2aws", kind=Kind.STATIC_SESSION)])
    async with drive(service, NARROW) as driver:
        assert "Adopt" not in driver.text
        assert "m adopts it" not in driver.text
        await driver.press("m")
        assert "has only temporary credentials" in driver.message


async def test_an_operation_on_the_row_of_a_broken_file_says_what_that_row_is(drive: Drive) -> None:
    problem = FileProblem("/home/jo/.aws/config", 17, "no section header")
    async with drive(MemoryService(believable(), problems=[problem])) as driver:
        await driver.press("g", "r")
        assert "this row is a file that AWS tools reject; fix it, or select a profile" in driver.message


async def test_help_says_what_the_signs_mean(drive: Drive) -> None:
    async with drive(MemoryService(believable()), NARROW) as driver:
        await driver.press("question_mark", "G")
        for sign, words in (("●", "session valid"), ("◐", "expires soon"), ("✗", "invalid configuration")):
            assert any(
                line.strip("│ ").startswith(sign) and words in line for line in driver.text.splitlines()
            )


async def test_ascii_spells_the_sign_for_a_question_out(drive: Drive) -> None:
    async with drive(MemoryService(believable()), options=Options(ascii=True)) as driver:
        await driver.go("ci-deploy")
        assert "m Release..." in driver.text.splitlines()[-1]
        await driver.press("question_mark")
        assert "... means that keyturn asks before it changes anything." in driver.text
        assert driver.text.isascii()


def test_a_shell_that_joins_a_sandbox_sees_its_sign_ins_with_its_own_home(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        joined = SdkCaches({**sandbox.environ, "HOME": "/nowhere"})
        assert joined.sso_login(session="acme-corp", start_url="") is not None
