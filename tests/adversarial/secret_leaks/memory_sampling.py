"""Sampling of the command lines and environments of all new processes, as fast as they can be read."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_PAUSE = 0.0005


class Sampler:
    """Reads `/proc/PID/cmdline` and `environ` of all processes younger than itself until the block ends.

    Equal contents are kept once, for all processes and moments.
    """

    def __init__(self) -> None:
        self._older = {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208  # a thousand times a second
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.seen: dict[str, set[bytes]] = {"cmdline": set(), "environ": set()}
        self.rounds = 0
        self.processes: set[str] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._leave.is_set():
            for pid in os.listdir("/proc"):  # noqa: PTH208  # see above
                if pid.isdigit() and pid not in self._older:
                    self._read(pid)
            self.rounds += 1
            time.sleep(_PAUSE)

    def _read(self, pid: str) -> None:
        self.processes.add(pid)
        for name, content in self.seen.items():
            try:
                content.add(Path(f"/proc/{pid}/{name}").read_bytes())
            except OSError:
                continue
