"""`--canaries`: search everything that each test of the ordinary suite printed, logged and left in its
folders for the secrets of its sandboxes. A test that leaked fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.adversarial.secret_leaks.canary_secrets import record_secrets
from tests.adversarial.secret_leaks.secret_search import Search, files_below

#: Files that may hold secrets: plaintext files of AWS tools, the target of a linked config file, and the
#: sandbox's own MFA devices.
SINKS = (".aws", "dotfiles-config", "mfa.json")


class Canaries:
    """A pytest plugin that searches for leaked secrets."""

    def __init__(self) -> None:
        self._until_the_end = ExitStack()
        self._secrets = self._until_the_end.enter_context(record_secrets())
        self._known = 0
        self._since: dict[Path, tuple[int, int]] = {}
        self.search = Search()

    def pytest_unconfigure(self) -> None:
        self._until_the_end.close()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        for secret in self._secrets[self._known :]:
            self.search.add(f"secret {self._known}", secret.reveal())
            self._known += 1
        base = item.config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]  # pytest has no public way
        found = [str(hit) for path in self._changed_files(base) for hit in self.search.search_file(path)]
        for when, kind, text in item._report_sections:
            found += map(str, self.search.search(f"{kind} of {when}", text.encode("utf-8", "replace")))
        yield
        if found:
            pytest.fail("secrets were found:\n" + "\n".join(found), pytrace=False)

    def _changed_files(self, base: Path) -> Iterator[Path]:
        """Return the files written since the last look, except those that may hold secrets."""
        for path in files_below(base):
            try:
                status = path.stat()
            except OSError:
                continue
            mark = status.st_mtime_ns, status.st_size
            if self._since.get(path) != mark and not set(SINKS).intersection(path.parts):
                self._since[path] = mark
                yield path
