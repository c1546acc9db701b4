"""The system calls with which other programs save a file, as `strace` shows them. Each generator yields where
another program can come in.

Work that a program does before it first touches the file (loading it, copying a backup) is part of its first
step.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Edit = Callable[[bytes], bytes]
Way = Callable[[Path, Callable[[], bytes], Edit], Iterator[None]]
"""Saves `path`. The second argument returns the content that the program has loaded, long ago or just now."""

_PIECE = 512


def _write_out(descriptor: int, data: bytes) -> Iterator[None]:
    """Write in pieces, as programs with a buffer do."""
    try:
        for at in range(0, len(data), _PIECE):
            os.write(descriptor, data[at : at + _PIECE])
            yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def vim(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """With `backupcopy=no`: rename the old file to the backup, create a new one."""
    data = edit(loaded())
    backup = path.with_name(path.name + "~")
    path.replace(backup)
    yield
    yield from _write_out(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), data)
    backup.unlink()


def vim_in_place(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """With `backupcopy=yes`: copy a backup, truncate the file."""
    data = edit(loaded())
    backup = path.with_name(path.name + "~")
    shutil.copyfile(path, backup)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    yield
    yield from _write_out(descriptor, data)
    backup.unlink()


def emacs(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """First save: rename the old file to `config~` and keep it."""
    data = edit(loaded())
    path.replace(path.with_name(path.name + "~"))
    yield
    yield from _write_out(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), data)


def vs_code(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Open the file, truncate it in a call of its own, write."""
    data = edit(loaded())
    descriptor = os.open(path, os.O_RDWR)
    yield
    os.ftruncate(descriptor, 0)
    yield
    yield from _write_out(descriptor, data)


def nano(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Truncate the file on opening, then write."""
    data = edit(loaded())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    yield
    yield from _write_out(descriptor, data)


def overwriting(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Write the new bytes over the old ones and set the length at the end."""
    data = edit(loaded())
    descriptor = os.open(path, os.O_RDWR)
    yield
    again = os.dup(descriptor)
    yield from _write_out(descriptor, data)
    os.ftruncate(again, len(data))
    os.close(again)


def renaming(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Replace the old file with a temporary one, as `sed -i`, gedit and Kate do."""
    data = edit(loaded())
    temporary = path.with_name("sedX1a2b3")
    for _ in _write_out(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), data):
        pass
    temporary.replace(path)
    yield


def appending(path: Path, _: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Append as `cat >> config` does: open the file and write as the user types."""
    new = edit(b"")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield
    yield from _write_out(descriptor, new)


def aws_cli(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Read, truncate and write through a file object, as `aws configure set` does."""
    data = edit(loaded())
    with path.open("wb", buffering=0) as file:
        yield
        file.write(data)


WAYS: Mapping[str, Way] = {
    "vim": vim,
    "vim in place": vim_in_place,
    "emacs": emacs,
    "VS Code": vs_code,
    "nano": nano,
    "overwriting": overwriting,
    "sed -i": renaming,
    "cat >>": appending,
    "aws configure set": aws_cli,
}
