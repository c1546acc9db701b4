"""Copies of the home whose files are damaged, missing, newer, or anybody's, and what is said of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.golden.recording import Recording, run_text

_PAGE = "refusals-damaged.txt"
_NOISE = b"noise" * 40
_NOBODY = "http://127.0.0.1:9"

Damage = Callable[[Path, Path], None]
"""Harms the copy, by the folder of keyturn's own files and that of the shared ones."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command on a copy.

    :param fds: by the number of a descriptor, the name of what is read from it.
    """

    words: tuple[str, ...]
    fds: Mapping[int, str] = field(default_factory=dict)


def _whole(_own: Path, _aws: Path) -> None:
    """Leave all as it is."""


def _keys(own: Path, _aws: Path) -> None:
    """Fill the newest keys.age with noise."""
    (own / "data/vault/keys.age").write_bytes(_NOISE)


def _identity(own: Path, _aws: Path) -> None:
    """Cut the sealed identity short."""
    path = own / "data/vault/identity.age"
    path.write_bytes(path.read_bytes()[:60])


def _recipient(own: Path, _aws: Path) -> None:
    """Name a recipient that is none."""
    (own / "data/vault/recipient.txt").write_text("age1nobody\n")


def _gone(own: Path, _aws: Path) -> None:
    """Take the folder of the vault away."""
    shutil.rmtree(own / "data/vault")


def _journal(own: Path, _aws: Path) -> None:
    """Fill the records of rotations with noise."""
    for path in (own / "data/vault/rotation").glob("*.age"):
        path.write_bytes(_NOISE)


def _config(_own: Path, aws: Path) -> None:
    """Add a line to the shared config that AWS tools refuse."""
    with (aws / "config").open("a") as file:
        file.write("[profile broken\nregion eu-west-1\n")


def _credentials(_own: Path, aws: Path) -> None:
    """Add a section twice to the shared credentials, and bytes that are no UTF-8."""
    with (aws / "credentials").open("ab") as file:
        file.write(b"[personal]\n[personal]\nx = \xff\xfe\n")


def _no_files(_own: Path, aws: Path) -> None:
    """Take both shared files away."""
    shutil.rmtree(aws)


def _folder(_own: Path, aws: Path) -> None:
    """Make the shared config a folder."""
    (aws / "config").unlink()
    (aws / "config").mkdir()


def _definitions(own: Path, _aws: Path) -> None:
    """Write definitions that are no TOML."""
    (own / "config/profiles.toml").write_text("version = = 1\n")


def _newer(own: Path, _aws: Path) -> None:
    """Let the definitions and the index be a later version's."""
    path = own / "config/profiles.toml"
    path.write_text(path.read_text().replace("version = 1", "version = 99"))
    path = own / "state/index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))


def _index(own: Path, _aws: Path) -> None:
    """Fill the index with noise."""
    (own / "state/index.json").write_text("{noise")


def _preferences(own: Path, _aws: Path) -> None:
    """Write a setting into the preferences that there is not."""
    (own / "config/config.toml").write_text('colour = "red"\n')


def _open_preferences(own: Path, _aws: Path) -> None:
    """Let everybody write the preferences, which name a command."""
    path = own / "config/config.toml"
    path.write_text('mfa_command = ["true"]\n')
    path.chmod(0o666)


def _noise(own: Path, _aws: Path) -> None:
    """Lay noise beside the vault, to be imported."""
    (own / "noise.age").write_bytes(_NOISE)


_UNLOCK = Step(("vault", "unlock", "--passphrase-fd", "3"), {3: "passphrase"})
_BY_KEY = Step(("vault", "unlock", "--recovery-key-fd", "3"), {3: "recovery"})
_RESTORE = Step(("vault", "restore", "--recovery-key-fd", "3"), {3: "recovery"})
_STATUS = Step(("vault", "status"))
_LIST = Step(("list",))
_SHOW = Step(("show", "ci-release"))
_REFRESH = Step(("refresh", "ci-release"))
_FETCH = Step(("credential-process", "ci-release"))
_SET = Step(("set", "ci-release", "region=eu-west-1"))
_RENEW = Step(("set", "ci-release", "renew=off"))
_SSH = Step(("agent", "ssh-config", "host"))
_RESET = ("vault", "reset-passphrase", "--recovery-key-fd", "3", "--new-passphrase-fd", "4")


def _steps(sandbox: Path) -> Sequence[tuple[str, Damage, Sequence[Step]]]:
    """List the copies by name, with what befalls them and what is tried then."""
    export = str(sandbox / "export.age")
    import_ = ("vault", "import", export, "--passphrase-fd", "3")
    export_ = ("vault", "export", export, "--yes")
    by_key = ("--recovery-key-fd", "3", "--new-passphrase-fd", "4")
    return (
        (
            "exported", _whole,
            (
                Step((*export_, *by_key), {3: "recovery", 4: "sealed"}), Step(export_), Step(import_,
                {3: "wrong"}),
                Step(import_, {3: "sealed"}),
            ),
        ),
        (
            "rekeyed", _whole,
            (
                Step(("vault", "passphrase", *by_key), {3: "recovery", 4: "new"}), Step(_RESET, {3: "wrong",
                4: "new"}),
                Step(_RESET, {3: "recovery", 4: "passphrase"}),
            ),
        ),
        ("keys", _keys, (_STATUS, _BY_KEY, _REFRESH, _RESTORE, _STATUS)),
        ("identity", _identity, (_STATUS, _UNLOCK, Step(("vault", "restore")), _RESTORE)),
        ("recipient", _recipient, (_STATUS, Step(("vault", "status", "--json")), _BY_KEY, _REFRESH)),
        ("gone", _gone, (_STATUS, _LIST, _REFRESH, Step(("vault", "init")), Step(import_, {3: "sealed"}))),
        (
            "journal", _journal,
            (_LIST, _BY_KEY, Step(("rotate", "ci-deploy", "--status")), Step(("rotate", "ci-deploy",
            "--resume"))),
        ),
        (
            "config", _config,
            (_LIST, _SHOW, Step(("adopt", "denied", "--yes")), Step(("adopt", "--all")), _SET, _FETCH),
        ),
        ("credentials", _credentials, (_LIST, _SHOW, _REFRESH, Step(("release", "ci-release", "--yes")))),
        ("no-files", _no_files, (_LIST, _SHOW, _SET)),
        ("folder", _folder, (_LIST, _SHOW, _SET)),
        ("definitions", _definitions, (_LIST, _SHOW, _RENEW, _REFRESH, _FETCH)),
        ("newer", _newer, (_LIST, _RENEW, _FETCH)),
        ("index", _index, (_LIST, _RENEW, _LIST)),
        ("preferences", _preferences, (_LIST, _SSH)),
        ("open-prefs", _open_preferences, (_LIST, _SSH)),
        (
            "unreachable", _whole,
            (
                _BY_KEY, _REFRESH, Step(("rotate", "acme-build", "--status")), Step(("rotate", "acme-build",
                "--yes")),
                Step(("exec", "ci-audit", "--min-left", "59m", "--", "true")),
            ),
        ),
        (
            "noise", _noise,
            (Step(("vault", "import", str(sandbox / "noise" / "noise.age"), "--passphrase-fd", "3"),
            {3: "sealed"}),),
        ),
    )  # fmt: skip


def _tried(recording: Recording, name: str, damage: Damage, steps: Sequence[Step]) -> tuple[str, str]:
    """Copy the home, do the damage, run the commands; give the page and its paragraph."""
    extra = recording.home.twin(name)
    damage(Path(str(extra["KEYTURN_HOME"])), Path(str(extra["AWS_CONFIG_FILE"])).parent)
    if name == "unreachable":
        extra |= {f"AWS_ENDPOINT_URL{service}": _NOBODY for service in ("", "_STS", "_IAM")}
    text = [f"=== {name}: {damage.__doc__}\n"]
    for step in steps:
        recording.home.wait_for_mid_minute()
        done = recording.home.run(*step.words, fds=step.fds, extra=extra)
        text.append(run_text(step.words, done, fds=step.fds))
    return _PAGE, "\n".join(text)


def record(recording: Recording) -> None:
    """Record what is said of each copy."""
    first, *others = [partial(_tried, recording, *each) for each in _steps(recording.home.sandbox)]
    recording.together([first])
    recording.together(others)
