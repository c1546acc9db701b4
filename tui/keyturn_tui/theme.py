"""Four colour themes, one without colour, and the roles of text."""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

#: Each role: theme variable of its colour, and text style. The style distinguishes roles where there is no
#: colour.
ROLES: dict[str, tuple[str, str]] = {
    "text": ("text-plain", "none"),
    "muted": ("text-muted-own", "none"),
    "title": ("text-plain", "bold"),
    "heading": ("text-muted-own", "bold"),
    "hotkey": ("state-key", "bold"),
    "dim": ("text-faint", "none"),
    "good": ("state-fresh", "none"),
    "error": ("state-expired", "none"),
    "fresh": ("state-fresh", "none"),
    "soon": ("state-soon", "bold"),
    "expired": ("state-expired", "none"),
    "key": ("state-key", "none"),
    "due": ("state-soon", "none"),
    "overdue": ("state-expired", "bold"),
    "working": ("state-working", "none"),
    "unknown": ("text-muted-own", "italic"),
    "broken": ("state-expired", "bold"),
    "added": ("state-fresh", "none"),
    "removed": ("state-expired", "none"),
}

#: Palettes. Foregrounds have a contrast of at least 4.5 to background and cursor (tested).
_PALETTES: dict[str, dict[str, str]] = {
    "keyturn-dark": {
        "background": "#101418",
        "cursor": "#23344a",
        "border": "#3d4650",
        "text-plain": "#d6dbe0",
        "text-muted-own": "#98a2ad",
        "text-faint": "#69737d",
        "state-fresh": "#7ad88c",
        "state-soon": "#f2c85b",
        "state-expired": "#ff8a80",
        "state-key": "#62cfe0",
        "state-working": "#8bbcff",
    },
    "keyturn-light": {
        "background": "#fbfaf7",
        "cursor": "#dce8f6",
        "border": "#b7bcc2",
        "text-plain": "#22272c",
        "text-muted-own": "#555e67",
        "text-faint": "#868d94",
        "state-fresh": "#0f6a2c",
        "state-soon": "#7a5000",
        "state-expired": "#b3241c",
        "state-key": "#06636f",
        "state-working": "#0b51ad",
    },
    "keyturn-dark-cvd": {
        "background": "#101418",
        "cursor": "#2b3340",
        "border": "#3d4650",
        "text-plain": "#d6dbe0",
        "text-muted-own": "#9aa3ad",
        "text-faint": "#69737d",
        "state-fresh": "#6fb3ff",
        "state-soon": "#ffd75f",
        "state-expired": "#ff82d2",
        "state-key": "#7fdbe8",
        "state-working": "#c8c8ff",
    },
    "keyturn-light-cvd": {
        "background": "#fbfaf7",
        "cursor": "#e6e6ea",
        "border": "#b7bcc2",
        "text-plain": "#22272c",
        "text-muted-own": "#555e67",
        "text-faint": "#868d94",
        "state-fresh": "#004c99",
        "state-soon": "#6b5000",
        "state-expired": "#a0005f",
        "state-key": "#005a66",
        "state-working": "#4a3fb5",
    },
}
THEME_NAMES = tuple(_PALETTES)
PLAIN = "keyturn-plain"

#: Text styles for NO_COLOR, which uses the terminal's two default colours.
_PLAIN_STYLES = {"error": "bold", "expired": "underline", "removed": "bold", "due": "bold", "key": "none"}


def variables_of(name: str) -> dict[str, str]:
    """Return a theme's CSS variables: colours by role, and `style-ROLE` for each role's text style."""
    if name == PLAIN:
        variables = dict.fromkeys(_PALETTES["keyturn-dark"], "ansi_default")
        styles = {f"style-{role}": _PLAIN_STYLES.get(role, style) for role, (_, style) in ROLES.items()}
        return {**variables, **styles, "style-cursor": "reverse", "cursor-background": "ansi_default"}
    palette = _PALETTES[name]
    styles = {f"style-{role}": style for role, (_, style) in ROLES.items()}
    return {**palette, **styles, "style-cursor": "none", "cursor-background": palette["cursor"]}


def themes() -> list[Theme]:
    """Return all themes of keyturn."""
    return [_theme(name) for name in (*THEME_NAMES, PLAIN)]


def _theme(name: str) -> Theme:
    variables = variables_of(name)
    background = variables["background"]
    widgets = {
        "input-cursor-background": variables["text-plain"],
        "input-cursor-foreground": background,
        "block-cursor-background": variables["cursor-background"],
        "block-cursor-foreground": variables["text-plain"],
        "block-cursor-text-style": variables["style-cursor"],
        "border-blurred": variables["border"],
    }
    if name == PLAIN:
        # Textual's style sheet needs variables that only its own ANSI theme defines.
        widgets = {**BUILTIN_THEMES["ansi-dark"].variables, **widgets, "input-cursor-text-style": "reverse"}
    return Theme(
        name=name,
        primary=variables["state-working"],
        secondary=variables["state-key"],
        warning=variables["state-soon"],
        error=variables["state-expired"],
        success=variables["state-fresh"],
        accent=variables["state-key"],
        foreground=variables["text-plain"],
        background=background,
        surface=background,
        panel=background,
        boost=background,
        dark="light" not in name,
        ansi=name == PLAIN,
        variables={**variables, **widgets},
    )


def role_class(role: str) -> str:
    """Return the component class of a role."""
    return f"role--{role}"


ROLE_CLASSES = {role_class(role) for role in ROLES} | {"role--cursor"}
ROLE_CSS = "\n".join(
    f".{role_class(role)} {{ color: ${colour}; text-style: $style-{role}; }}"
    for role, (colour, _) in ROLES.items()
)
APP_CSS = (
    ROLE_CSS
    + """
.role--cursor { background: $cursor-background; text-style: $style-cursor; }
.framed { padding: 0 1; border: round $state-working; background: $background;
    border-title-color: $text-plain; border-title-style: bold; }
.-ascii > .framed { border: ascii $state-working; }
Toast { background: $background; color: $text-plain; border: round $state-soon; }
CommandPalette { background: transparent; }
CommandPalette SearchIcon { display: none; }
CommandPalette > Vertical { background: $background; border: round $border; }
CommandPalette Input { background: $background; border: none; }
CommandPalette CommandList { background: $background; border: none; }
"""
)
