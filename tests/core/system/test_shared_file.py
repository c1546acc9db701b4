"""Errors about a shared file name the file or the folder that is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyturn.model.errors import UnsafeFile
from keyturn.system.shared_file import find_group_write, label

CREDENTIALS = "/home/jo/.aws/credentials"
LINKED = "/home/jo/dotfiles/aws-creds"


@pytest.mark.parametrize(
    ("real", "checked", "expected"),
    [
        (CREDENTIALS, CREDENTIALS, "it"),
        (CREDENTIALS, "/home/jo/.aws", "its folder /home/jo/.aws"),
        (CREDENTIALS, "/home/jo", "the folder /home/jo above it"),
        (LINKED, LINKED, f"the linked file {LINKED}"),
        (LINKED, "/home/jo/dotfiles", "its folder /home/jo/dotfiles"),
        ("/srv/credentials/x", "/srv/credentials", "its folder /srv/credentials"),
    ],
)
def test_an_error_names_what_was_checked(real: str, checked: str, expected: str) -> None:
    assert label(Path(CREDENTIALS), Path(real), Path(checked)) == expected


def test_a_folder_that_is_missing_yet_is_not_the_folder_above_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(UnsafeFile, match=f"everybody may write the folder {tmp_path} above it"):
        find_group_write(tmp_path / ".aws" / "config", tmp_path)
