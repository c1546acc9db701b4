"""The pages of a recording, kept raw until the end and masked in one order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.golden.home import Done, Home
from tests.golden.masks import Masks


@dataclass
class Recording:
    """The recorded texts, by the name of their golden file.

    :param home: where programs are run.
    """

    home: Home
    pages: dict[str, list[str]] = field(default_factory=dict)

    def add(self, page: str, text: str) -> None:
        """Add a paragraph to a page."""
        self.pages.setdefault(page, []).append(text if text.endswith("\n") else f"{text}\n")

    def run(
        self,
        page: str,
        *words: str,
        fds: Mapping[int, str] | None = None,
        extra: Mapping[str, str | None] | None = None,
        note: str = "",
        hidden: Sequence[str] = (),
    ) -> Done:
        """Run `keyturn WORDS` and record it.

        :param note: what is special about it, shown with the command.
        :param hidden: words that are shown as `CODE`.
        """
        done = self.home.run(*words, fds=fds, extra=extra)
        self.add(page, run_text(words, done, fds=fds, note=note, hidden=hidden))
        return done

    def change(self, page: str, *words: str, **more: object) -> Done:
        """Run `keyturn WORDS` at the beginning of the next minute."""
        self.home.wait_for_next_minute()
        return self.run(page, *words, **more)  # type: ignore[arg-type]

    def query(self, page: str, *words: str, **more: object) -> Done:
        """Run `keyturn WORDS` in the middle of the minute."""
        self.home.wait_for_mid_minute()
        return self.run(page, *words, **more)  # type: ignore[arg-type]

    def together(self, jobs: Iterable[Callable[[], tuple[str, str]]]) -> None:
        """Do jobs that change nothing, two at a time; each gives a page and a paragraph, added in their
        order."""
        with ThreadPoolExecutor(2) as pool:
            for page, text in pool.map(lambda job: job(), jobs):
                self.add(page, text)

    def write(self, folder: Path, masks: Masks) -> None:
        """Write all pages into `folder`, masked."""
        for paragraphs in self.pages.values():
            masks.learn("\n".join(paragraphs))
        for page, paragraphs in sorted(self.pages.items()):
            path = folder / page
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(masks.masked(paragraph) for paragraph in paragraphs), "utf-8")


def run_text(
    words: Sequence[str],
    done: Done,
    *,
    fds: Mapping[int, str] | None = None,
    note: str = "",
    hidden: Sequence[str] = (),
    program: str = "keyturn",
) -> str:
    """Tell a command with its exit code and both of its streams, as a paragraph."""
    shown = " ".join("CODE" if word in hidden else repr(word) if " " in word else word for word in words)
    said = "".join(f" {number}<{name}" for number, name in sorted((fds or {}).items()))
    head = f"$ {program} {shown}{said}{f'    # {note}' if note else ''}\nexit {done.code}\n"
    return head + _stream("stdout", done.out) + _stream("stderr", done.err)


def _stream(name: str, text: str) -> str:
    if not text:
        return ""
    lines = text.split("\n")
    ending = "" if lines[-1] == "" else f"({name} has no line end)\n"
    body = "\n".join(
        f"| {line}".rstrip() if line == "" else f"| {line}" for line in lines[: -1 if not ending else None]
    )
    return f"{name}:\n{body}\n{ending}"
