"""A key that is released, or whose profile is removed, during its rotation."""

from __future__ import annotations

import pytest

from keyturn.model.errors import FileChanged, RotationHalted
from keyturn.operations.rotation.record import Step
from keyturn.storage import managed_profiles
from tests.core.operations.rotation.direct_iam import Fault
from tests.core.operations.rotation.rotation_home import PROFILE, Home
from tests.core.operations.rotation.rotation_states import run_until, statuses


def delete_profile(home: Home) -> None:
    managed_profiles.change(home.service.paths.profiles_file, lambda table: table.clear())


def test_no_key_is_made_for_what_was_given_back_while_aws_was_asked(home: Home) -> None:
    def interfere(action: str) -> Fault:
        if action == "ListAccessKeys":
            delete_profile(home)
            home.service.context.vault.change_keys(lambda entries: entries.pop(f"key/{PROFILE}", None))
        return Fault.NONE

    home.line.next_fault = interfere
    with pytest.raises(FileChanged, match="changed or released in between"):
        home.service.rotation.start(PROFILE)
    assert "CreateAccessKey" not in [action for action, _ in home.line.calls]
    assert list(statuses(home).values()) == ["Active"]
    assert not home.service.context.index.load().rotations


def test_what_no_profile_looks_for_any_more_is_in_the_vault_all_the_same(home: Home) -> None:
    progress = run_until(home, Step.VERIFIED)
    delete_profile(home)
    rotation = home.service.rotation
    while not (after := rotation.advance(PROFILE)).is_halted:
        pass
    assert after.step is Step.DEACTIVATED
    assert home.service.context.key(PROFILE).access_key_id == progress.new_id


def test_a_copy_of_the_old_key_that_appears_meanwhile_is_not_switched_off_under_its_user(home: Home) -> None:
    progress = run_until(home, Step.DELIVERED)
    entry = home.service.context.vault.key(f"key/{PROFILE}")
    assert entry is not None
    old = entry["previous"]
    credentials = home.service.paths.aws_credentials
    credentials.parent.mkdir()
    credentials.write_text(
        f"[copy]\naws_access_key_id = {old['key_id']}\naws_secret_access_key = {old['secret']}\n"
    )
    with pytest.raises(RotationHalted, match="a plaintext key in the shared files now, for copy") as error:
        home.service.rotation.advance(PROFILE)
    assert "keyturn adopt copy" in error.value.hint
    assert set(statuses(home).values()) == {"Active"}
    credentials.unlink()
    assert home.service.rotation.advance(PROFILE).step is Step.DEACTIVATED
    assert statuses(home)[progress.old_id] == "Inactive"
