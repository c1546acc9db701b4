"""Fields to type in: plain, secret, and six digits."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from keyturn.model.secret import Secret
from keyturn_tui.messages import CodeComplete, SecretTyped


class PlainField(Input):
    """One line of text without a blinking cursor (which would send bytes for ever)."""

    DEFAULT_CSS = """
    PlainField { height: 1; border: none; padding: 0; background: $background; color: $text-plain; }
    PlainField:focus { border: none; background-tint: transparent 0%; }
    """

    def __init__(self, *, id: str | None = None, password: bool = False, max_length: int = 0) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, password=password, max_length=max_length, compact=True, select_on_focus=False)
        self.cursor_blink = False


class SecretField(PlainField):
    """Shows dots. The value leaves by :meth:`take` only: never in a message, never to a clipboard."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, password=True, max_length=1024)

    def take(self) -> Secret:
        """Hand the value over and forget it, in one step."""
        secret = Secret(self.value)
        self.clear()
        return secret

    async def action_submit(self) -> None:
        """Enter: say so, without the value."""
        self.post_message(SecretTyped())

    def action_copy(self) -> None:
        """A secret is not copied out of its field."""

    def action_cut(self) -> None:
        """A secret is not copied out of its field."""

    def _watch_value(self, value: str) -> None:
        with self.prevent(Input.Changed):
            super()._watch_value(value)


class CodeField(PlainField):
    """Six digits; anything else is not taken in. The sixth sends."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's own name
        super().__init__(id=id, max_length=6)

    def take(self) -> str:
        """Hand the code over and empty the field."""
        code = self.value
        self.clear()
        return code

    def check_consume_key(self, key: str, character: str | None) -> bool:
        """Digits only."""
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
        """The sixth digit was typed or pasted."""
        if len(value) == 6:
            self.post_message(CodeComplete())
