"""Install the first release from the repository's history, with the dependencies of this installation."""

from __future__ import annotations

import io
import site
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

COMMIT = "a6ab36f"
_PROGRAM = """\
#!{python}
import sys
from keyturn_tui.start import main
sys.exit(main())
"""


def archive(repository: Path) -> bytes | None:
    """Return the release's source as a tar file, or None if the history does not reach back to it."""
    done = subprocess.run(
        ("git", "-C", str(repository), "archive", COMMIT, "core", "tui"), capture_output=True, check=False
    )
    return done.stdout if done.returncode == 0 else None


def install(source: bytes, folder: Path) -> Path:
    """Install the release in a virtual environment of its own in `folder`, and return its program."""
    with tarfile.open(fileobj=io.BytesIO(source)) as tar:
        tar.extractall(folder / "source", filter="data")
    venv.create(folder / "venv", symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "venv" / "lib" / version / "site-packages"
    # Its own packages come first; the path of the dependencies is added without their .pth files, so this
    # installation's keyturn is not on it.
    lines = [str(folder / "source" / part) for part in ("core", "tui")] + site.getsitepackages()
    (packages / "release.pth").write_text("".join(f"{line}\n" for line in lines))
    program = folder / "venv" / "bin" / "keyturn"
    program.write_text(_PROGRAM.format(python=folder / "venv" / "bin" / "python3"))
    program.chmod(0o755)
    return program
