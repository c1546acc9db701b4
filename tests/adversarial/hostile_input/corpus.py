"""Hostile and unexpected names and messages, grouped by kind. Each appears once.

A string that a shell, terminal, markup reader or parser would execute creates a file named `MARKER`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator

MARKER = "hostile-was-here"
_TOUCH = f"touch {MARKER}"
_ESC, _BEL, _ST = "\x1b", "\x07", "\x1b\\"

_PATHS = (
    "../x", "../../../../etc/passwd", "/etc/passwd", "/dev/tty", "/proc/self/environ", "~", "~root", "~/x",
    ".",
    "..", "./x", "x/", "/", "//", "a/b", "a/../b", "%2e%2e%2fx", "\\\\host\\share", "C:\\x", "C:x",
    "file:///etc/passwd",
    "http://[::1]/", "x\\..\\y", "...", ".ssh/id_rsa", "x/../../y", "${HOME}/x", "$HOME", "%USERPROFILE%",
    "//host/share",
)  # fmt: skip
_OPTIONS = (
    "-", "--", "---", "-rf", "-h", "--help", "--json", "--version", "-V", "--yes", "-y", "--sandbox",
    "--ascii",
    "--filter=x", "--passphrase-fd=0", "--recovery-key-fd", "-x y", "--profile", "--no-such-option", "-1",
    "--=", "-=x",
    "--all", "--plan", "--to", "--as", "+x", "@x", "--debug", "-c",
)  # fmt: skip
_SHELL = (
    f"$({_TOUCH})", f"`{_TOUCH}`", f"; {_TOUCH}", f"| {_TOUCH}", f"& {_TOUCH}", f"&& {_TOUCH}",
    f"|| {_TOUCH}",
    f"\n{_TOUCH}\n", f"x; {_TOUCH} #", f"'; {_TOUCH}; '", f'"; {_TOUCH}; "', f"$'{_TOUCH}'", f"<({_TOUCH})",
    f">{MARKER}",
    f">>{MARKER}", f"<{MARKER}", "$x", "${x}", "$((1+1))", "${IFS}", "!!", "!x", "!$", "*", "?", "[a-z]*",
    "{a,b}", "~+",
    "#", "# x", "x #y", ";", "x;y", "x ; y", "|", "&", "(x)", "{ x; }", "^x^y", "=x", "x=y", "a b", "a  b",
    "\\", "\\\\",
    "\\n", "\\x1b[31m", "\\033[31m", "x\\", "%COMSPEC%", f"(; {_TOUCH})", f"(begin; {_TOUCH}; end)",
    f"&{{{_TOUCH}}}",
    f"$({_TOUCH}", f"\\$({_TOUCH})", f"%({_TOUCH})", f"@({_TOUCH})", f"'$({_TOUCH})'", f'"$({_TOUCH})"',
    f"`{_TOUCH}",
    f"x\r{_TOUCH}\r", f"{{ {_TOUCH}; }}", f"$(({_TOUCH}))", f"eval {_TOUCH}", f"exec {_TOUCH}",
    f"() {{ :; }}; {_TOUCH}",
)  # fmt: skip
_QUOTES = (
    "'", '"', "''", '""', "'x'", '"x"', "x'y", 'x"y', "'\"", "\"'", "'x", 'x"', "\\'", '\\"', "$'x'", '$"x"',
    "`", "``",
    "´x´", "“x”", "‘x’", "«x»", "'''", '"""', "'\\''", "''x''", "„x“", "‚x‘", "＂x＂", "＇x＇",
)  # fmt: skip
_INI = (
    "]", "[", "[]", "[x]", "x]", "[x", "x]\nregion = us-east-1\n[y", "]\n[default]\naws_access_key_id=x\n[",
    "x] # y",
    "x] ; y", " x ", "  x", "x  ", "\tx", "x\t", "=", ":", "a = b", "a: b", "a=b=c", "; x", "#x", "x ;y",
    "x #y z", "x;",
    "DEFAULT", "default", "Default", "dEFAULT", "default ", " default", "de fault", "defau1t", "profile",
    "profile x",
    "profile  x", "profile\tx", "profile 'x'", 'profile "x"', "sso-session x", "services x", "preview",
    "plugins",
    "profilex", "Profile x", "profile default", "x.y", "x:y", "x,y", "%(x)s", "%(region)s", "%", "%%",
    "<<<<<<<", "=======",
    "[profile x]", "credential_process = touch " + MARKER, "x\ncredential_process = touch " + MARKER,
    "include x",
)  # fmt: skip
_FORMATS = (
    "%s", "%d", "%n", "%s%s%s%s%n", "%x", "%1$s", "%(x)s %s", "{}", "{0}", "{x}", "{x.__class__}",
    "{0.__init__.__globals__}",
    "{!r}", "{:>9999}", "{{", "}}", "{", "}", "${{x}}", "{{7*7}}", "{% x %}", "<%= x %>", "#{x}", "$x$",
    "\\N{BELL}", "\\u0007",
    "%c%c", "%.99999d", "{x!r:^99}", "$text-muted",
)  # fmt: skip
_MARKUP = (
    "[/x]", "[/]", "[", "[b", "[0]", "[b]", "[bold red]x[/]", "[bold]x", "x[/bold]", "a[b]c", "\\[", "\\[/x]",
    "\\\\[/x]",
    "[@click=app.quit()]x[/]", "[@click=app.bell]x[/]", "[@click='app.quit']x[/]",
    '[@click="app.exit(1)"]x[/]',
    "[@click=screen.dismiss]x", "[@x]", "[link=https://e.example]x[/link]", "[link='file:///etc/passwd']x",
    "prod [/legacy]",
    "[[x]]", "[x][y][/z]", "[on red]x", "[#ff0000]x", "[rgb(1,2,3)]x", "[$primary]x", "[not bold]x",
    "[blink]x[/blink]",
    "[reverse]x", "[/][/][/]", "[=]", "[ ]", "[]x[]", "[x=]", "[x='", '[x="', "[b][i][u]x[/u][/b]", ":smile:",
    ":bell:",
    "[@click=run('quit')]x[/]", "[$background on $background]x", "[1]", "[-1]", "[a-b]", "[a.b]", "[!x]",
    "<b>x</b>",
)  # fmt: skip
_TERMINAL = (
    f"{_ESC}]52;c;aGk={_ST}", f"{_ESC}]52;c;?{_BEL}", f"{_ESC}]0;owned{_BEL}", f"{_ESC}]2;owned{_ST}",
    f"{_ESC}]8;;https://e.example{_ST}x{_ESC}]8;;{_ST}", f"{_ESC}]4;1;?{_BEL}", f"{_ESC}]10;?{_BEL}",
    f"{_ESC}]50;x{_BEL}",
    f"{_ESC}]1337;File=inline=1:AA=={_BEL}", f"{_ESC}]9;x{_BEL}", f"{_ESC}]777;notify;x;y{_BEL}",
    f"{_ESC}P$qm{_ST}",
    f"{_ESC}P+q544e{_ST}", f"{_ESC}Pq#0{_ST}", f"{_ESC}_Gi=1;AAAA{_ST}", f"{_ESC}^x{_ST}", f"{_ESC}Xx{_ST}",
    f"{_ESC}kx{_ST}",
    f"{_ESC}[2J", f"{_ESC}[H", f"{_ESC}[31mred", f"{_ESC}[8mx", f"{_ESC}[?1049l", f"{_ESC}[?1000h",
    f"{_ESC}[?25l",
    f"{_ESC}[6n", f"{_ESC}[c", f"{_ESC}[5n", f"{_ESC}[21t", f"{_ESC}[999;999H", f"{_ESC}[1A", f"{_ESC}[99D",
    f"{_ESC}[K",
    f"{_ESC}[3J", f"{_ESC}c", f"{_ESC}7x{_ESC}8", f"{_ESC}(0x{_ESC}(B", f"{_ESC}#8", f"{_ESC}=", f"{_ESC}>",
    f"{_ESC}D",
    f"{_ESC}M", f"{_ESC}", f"x{_ESC}", f"{_ESC}[", f"{_ESC}]", f"{_ESC}[200~x{_ESC}[201~", f"{_ESC}[>1u",
    f"{_ESC}[4:3m",
    "\x9b31mx", "\x9b2J", "\x9d0;owned\x9c", "\x9d52;c;aGk=\x9c", "\x90x\x9c", "\x9fx\x9c", "\x9ex\x9c",
    "\x98x\x9c", "\x84", "\x85",
    "x\x08\x08\x08y", "safe\rEVIL", "x\x0ey\x0fz", "\x05", "\x07\x07", "x\x7fy", "a\nb", "a\r\nb", "a\x0bb",
    "a\x0cb", "a\tb", "a\x1cb",
)  # fmt: skip
_BIDI = (
    "\u202ecod.exe", "user\u202e\u2066// admin\u2069\u2066", "\u2067x\u2069", "a\u200fb\u200ec", "\u061cx",
    "شركة", "prod-שלום",
    "\u202a\u202b\u202d\u202c", "x\u202e", "\u206a\u206b\u206c\u206d\u206e\u206f", "א\u202dב\u202cג",
    "123\u2067456",
)  # fmt: skip
_INVISIBLE = (
    "prod\u200b", "pr\u200cod", "pr\u200dod", "prod\u2060", "\ufeffprod", "prod\u00ad", "pr\u034fod",
    "prod\u115f", "prod\u1160",
    "prod\u3164", "prod\uffa0", "prod\u17b4", "prod\u180e", "prod\u180b", "prod\u2800", "\u2800",
    "prod\ufe0e", "prod\ufe0f",
    "prod\ufe00", "prod\U000e0100", "prod\U000e01ef", "\U000e0001\U000e0061\U000e0062\U000e007f",
    "prod\ufff9x\ufffax\ufffb",
    "prod\U0001d173", "prod\U0001d159", "prod\ufffc", "prod\ufffd", "prod\u2061", "prod\u2062", "prod\u2063",
    "prod\u2064",
    "prod\U000e0020", "prod\ue000", "prod\U000f0000", "prod\U0010fffd", "prod\uffff", "prod\U0001fffe",
    "prod\u0378",
    "prod\u2028x", "prod\u2029x", "prod\x00", "\x00", "a\x00b", "prod\U00016fe4", "prod\U0001bca0",
    "prod\u00a0",
)  # fmt: skip
_TWINS = (
    "é", "e\u0301", "caf\u00e9", "cafe\u0301", "Å", "A\u030a", "\u212b", "ﬁn", "fin", "ﬀ", "각",
    "\u1100\u1161\u11a8", "ö", "o\u0308",
    "ς", "σ", "ı", "i̇", "İ", "ß", "ẞ", "SS", "K", "\u212a", "µ", "μ", "Ω", "\u2126", "Ⅷ", "VIII", "１２", "²",
    "рrod", "prоd", "рrоd", "ρrod", "prod", "PROD", "Prod", "pRod", "ｐｒｏｄ",
    "𝐩𝐫𝐨𝐝", "𝓅𝓇𝑜𝒹", "ᴘʀᴏᴅ", "pr0d",
    "ρгоԁ", "prod.", ".prod",
    "dеfault", "defаult", "ԁefault", "ｄefault", "default\u200b", "de\u00adfault", "ḍefault", "DEFAULT\u200b",
    "[default]", "default]",
    "ad\u043cin", "аdmin", "\u0430dmin-x", "admin\u2024", "a\u2215b", "a\u2044b", "a\u29f8b", "a∕b∕c", "a‐b",
    "a‑b", "a–b", "a−b", "a⁃b",
)  # fmt: skip
_WIDE = (
    "日本語", "日本語のプロファイル" * 3, "ｱｶｳﾝﾄ", "中文账户",
    "한국어", "🚀", "❤\ufe0f", "❤", "👩\u200d👩\u200d👧", "👋🏽", "🏽", "🇩🇪",
    "🇩", "1\ufe0f\u20e3", "🏴\U000e0067\U000e0062\U000e007f",
    "👨‍💻" * 8, "ﷺ" * 10, "𒐫" * 5, "꧅" * 5, "⸻", "Z" + "\u0335\u0321\u030d" * 9, "zal" + "\u0301" * 60,
    "\u0301x", "\u0301" * 30, "\u20ddx", "x\u0488" * 5,
    "प्रोफ़ाइल", "บัญชี" * 4, "க்ஷௌ", "བོད་ཡིག", "မြန်မာ", "ខ្មែរ", "\u0903x", "☰", "䷀" * 4, "㉈" * 4, "𝍠" * 3,
    "①②③", "±" * 20, "○●◐■▲", "─│┌┐", "\u1161\u1162", "\u1100" * 9,
    "ｗｉｄｅ" * 20, "a日" * 60, "\u3000", "x\u3000y", "🏳\ufe0f\u200d🌈", "🫥", "ﾟ" * 9, "\u302ax", "ㅤ", "ﾠ", "⁠",
)  # fmt: skip
_SPACES = tuple(f"a{chr(code)}b" for code in range(0x20, 0x3001) if unicodedata.category(chr(code)) == "Zs")
_WORDS = (
    "", " ", "  ", "\t", "\n", "null", "Null", "NULL", "None", "nil", "undefined", "NaN", "inf", "-inf",
    "true", "True", "TRUE", "false",
    "False", "yes", "no", "on", "off", "y", "n", "0", "1", "-0", "00", "0x10", "1e9", "1_000", "1.0",
    "9" * 40, "٣", "0o17", "1e400", "-1.5",
    "2026-11-23", "12:34:56", "12:34", "~null", "!!python/object:x", "!!map", "&x", "*x", "<<", "- x", "? x",
    "x: y", "|-", ">-", "@", "%YAML 1.1", "---\n",
    "__proto__", "constructor", "toString", "hasOwnProperty", "__class__", "__init__", "self", "prototype",
    "valueOf", "this",
    "CON", "con", "PRN", "AUX", "NUL", "COM1", "LPT1", "con.txt", "nul.", "CONIN$", "CLOCK$", "desktop.ini",
    ".git", ".env",
    "AWS_PROFILE", "AKIAIOSFODNN7EXAMPLE", "arn:aws:iam::123456789012:role/x", "arn:", "arn:aws", ":::::",
    "123456789012", "us-east-1",
    '{"a":1}', "[1,2]", '"x"\n', '{"Version":1}', '"},"x":{"', "[profiles]", 'x"]\n[y', "a.b.c", 'a"b"c',
    "'''\nx", "\\u0000", "//x", "/*x*/", "<!--x-->",
    "<script>x</script>", "<![CDATA[x]]>", "&amp;", "&#27;", "&lt;x&gt;", "]]>", "<?xml?>", "<!DOCTYPE x>",
    "' OR 1=1--", "x'); DROP TABLE y;--", "${jndi:ldap://x}",
    "Traceback (most recent call last):", "keyturn: all is well", "[y/N]", "Passphrase:", "root", "admin",
    "keyturn", "type:", "state:expired", "!x", "acct:", "acct:\x1b", "type:[/x]",
)  # fmt: skip
_NAMES_LONG = ("x" * 64, "x" * 65, "x" * 255, "x" * 256, "x" * 5000, "日" * 400, "a b " * 300, "[" * 300,
    "\x1b" * 300, "\u202e" * 300, "e\u0301" * 400)  # fmt: skip
_RAW = tuple(
    os.fsdecode(raw)
    for raw in (
        b"\x9b31m", b"\x9d52;c;x\x9c", b"\xff", b"\xfe\xff", b"\xc3", b"\xc3(", b"\xe2\x80", b"\xf0\x9f\x92",
        b"\xed\xa0\x80", b"\xc0\xaf", b"\xc1\x9b",
        b"\xf4\x90\x80\x80", b"caf\xe9", b"\x80", b"\x85", b"a\xa0b", b"\xe0\x80\x9b",
        b"\xf8\x88\x80\x80\x80", b"\xed\xb2\x9b", b"x\x1b\xffy",
    )
)  # fmt: skip
_SURROGATES = ("\ud800", "a\udfffb", "\udc1b]0;x", "\ud83d", "\ude00\ud83d", "\udc9b31m")
_CONTROLS = tuple(f"c{code:02x}{chr(code)}x" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)))
_BIDI_EACH = tuple(
    f"b{ord(ch):x}{ch}x" for ch in "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_ZERO_EACH = tuple(
    f"z{code:x}{chr(code)}x"
    for code in (0xAD, *range(0x200B, 0x200E), *range(0x2060, 0x2070), 0xFEFF, *range(0xFE00, 0xFE10))
)
_TAGS = tuple(f"t{chr(0xE0000 + ord(ch))}x" for ch in "\x01 aZ0~\x7f")

BY_KIND: dict[str, tuple[str, ...]] = {
    "paths": _PATHS, "options": _OPTIONS, "shell": _SHELL, "quotes": _QUOTES, "ini": _INI,
    "formats": _FORMATS,
    "markup": _MARKUP, "terminal": _TERMINAL, "controls": _CONTROLS, "bidi": _BIDI + _BIDI_EACH,
    "invisible": _INVISIBLE + _ZERO_EACH + _TAGS, "spaces": _SPACES, "twins": _TWINS, "wide": _WIDE,
    "words": _WORDS,
    "long": _NAMES_LONG, "raw bytes": _RAW, "surrogates": _SURROGATES,
}  # fmt: skip

#: All strings in the order of their kinds, without duplicates.
NAMES: tuple[str, ...] = tuple(dict.fromkeys(text for kind in BY_KIND.values() for text in kind))

#: Strings that can only be messages, because the system refuses a name of that length before keyturn sees it.
MESSAGES: tuple[str, ...] = (
    *NAMES,
    "x" * (1 << 20),
    "\x1b]52;c;aGk=\x07" * 80_000,
    "\u202e[/x]" * 200_000,
    "日\n" * 300_000,
)


def spread(texts: tuple[str, ...], number: int) -> tuple[str, ...]:
    """Return about `number` of `texts` at even distances, the first and the last included."""
    if number >= len(texts):
        return texts
    return tuple(texts[nth * len(texts) // number] for nth in range(number))


def as_argument(texts: tuple[str, ...]) -> Iterator[str]:
    """Return the texts that the system can pass as an argument or variable: no NUL, and bytes that Python
    decodes to this."""
    for text in texts:
        try:
            raw = os.fsencode(text)
        except UnicodeEncodeError:
            continue
        if b"\0" not in raw and os.fsdecode(raw) == text:
            yield text


def as_text(texts: tuple[str, ...]) -> Iterator[str]:
    """Return the texts that a UTF-8 file can hold."""
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            continue
        yield text


def as_folder(texts: tuple[str, ...]) -> Iterator[str]:
    """Return the texts that can be folder names."""
    for text in as_argument(texts):
        if text not in ("", ".", "..") and "/" not in text and len(os.fsencode(text)) <= 255:
            yield text
