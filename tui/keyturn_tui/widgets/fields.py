"""Input fields: plain text, secret, and six digits."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from keyturn.model.secret import Secret
from keyturn_tui.messages import CodeComplete, SecretTyped


class PlainField(Input):
    """A line of text. The cursor does not blink, because that sends bytes without end."""

    DEFAULT_CSS = """
    PlainField { height: 1; border: none; padding: 0; background: $background; color: $text-plain; }
    PlainField:focus { border: none; background-tint: transparent 0%; }
    """

    def __init__(self, *, id: str | None = None, password: bool = False, max_length: int = 0) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, password=password, max_length=max_length, compact=True, select_on_focus=False)
        self.cursor_blink = False


class SecretField(PlainField):
    """Shows dots. The value leaves only by :meth:`take`: never in a message, never to the clipboard."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, password=True, max_length=1024)

    def take(self) -> Secret:
        """Return the value and clear the field."""
        secret = Secret(self.value)
        self.clear()
        return secret

    async def action_submit(self) -> None:
        """Post :class:`SecretTyped`, which does not contain the value."""
        self.post_message(SecretTyped())

    def action_copy(self) -> None:
        """Do nothing, because a secret must not reach the clipboard."""

    def action_cut(self) -> None:
        """Do nothing, because a secret must not reach the clipboard."""

    def _watch_value(self, value: str) -> None:
        with self.prevent(Input.Changed):
            super()._watch_value(value)


class CodeField(PlainField):
    """Accepts digits only; the sixth posts :class:`CodeComplete`."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name
        super().__init__(id=id, max_length=6)

    def take(self) -> str:
        """Return the code and clear the field."""
        code = self.value
        self.clear()
        return code

    def check_consume_key(self, key: str, character: str | None) -> bool:
        del key
        return character is not None and character.isascii() and character.isdigit()

    async def _on_key(self, event: events.Key) -> None:
        if event.character is not None and event.is_printable and not event.character.isdigit():
            event.stop()
            event.prevent_default()
            return
        await super()._on_key(event)

    def _on_paste(self, event: events.Paste) -> None:
        digits = "".join(ch for ch in event.text if ch.isascii() and ch.isdigit())[:6]
        event.stop()
        event.prevent_default()
        self.value = digits
        self.cursor_position = len(digits)

    def watch_value(self, value: str) -> None:
        """Post :class:`CodeComplete` after the sixth digit was typed or pasted."""
        if len(value) == 6:
            self.post_message(CodeComplete())
