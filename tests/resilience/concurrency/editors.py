"""How other programs save a file, call by call as `strace` shows it. Each yields where another program can come in.

What a way does before it first touches the file itself (loading it, copying a backup) is part of its first step.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Edit = Callable[[bytes], bytes]
Way = Callable[[Path, Callable[[], bytes], Edit], Iterator[None]]
"""Saves `path`. The second argument gives what the program has loaded: long ago, or just now."""

_PIECE = 512


def _write_out(descriptor: int, data: bytes) -> Iterator[None]:
    """In pieces, as programs with a buffer do."""
    try:
        for at in range(0, len(data), _PIECE):
            os.write(descriptor, data[at : at + _PIECE])
            yield
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def vim(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """`backupcopy=no`: the old file becomes the backup, a new one is made."""
    data = edit(loaded())
    backup = path.with_name(path.name + "~")
    path.replace(backup)
    yield
    yield from _write_out(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), data)
    backup.unlink()


def vim_in_place(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """`backupcopy=yes`: a copy is the backup, the file is truncated."""
    data = edit(loaded())
    backup = path.with_name(path.name + "~")
    shutil.copyfile(path, backup)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    yield
    yield from _write_out(descriptor, data)
    backup.unlink()


def emacs(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Its first save: the old file becomes `config~` and stays."""
    data = edit(loaded())
    path.replace(path.with_name(path.name + "~"))
    yield
    yield from _write_out(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), data)


def vs_code(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Opened, emptied in a call of its own, written."""
    data = edit(loaded())
    descriptor = os.open(path, os.O_RDWR)
    yield
    os.ftruncate(descriptor, 0)
    yield
    yield from _write_out(descriptor, data)


def nano(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """Truncated as it is opened, then written."""
    data = edit(loaded())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    yield
    yield from _write_out(descriptor, data)


def overwriting(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """The new bytes over the old ones, the length set at the end."""
    data = edit(loaded())
    descriptor = os.open(path, os.O_RDWR)
    yield
    again = os.dup(descriptor)
    yield from _write_out(descriptor, data)
    os.ftruncate(again, len(data))
    os.close(again)


def renaming(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """`sed -i`, gedit, Kate: a temporary file takes the place of the old one."""
    data = edit(loaded())
    temporary = path.with_name("sedX1a2b3")
    for _ in _write_out(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), data):
        pass
    temporary.replace(path)
    yield


def appending(path: Path, _: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """`cat >> config`: opened, and written to as its owner types."""
    new = edit(b"")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    yield
    yield from _write_out(descriptor, new)


def aws_cli(path: Path, loaded: Callable[[], bytes], edit: Edit) -> Iterator[None]:
    """`aws configure set`: read, truncated and written through a file object."""
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
