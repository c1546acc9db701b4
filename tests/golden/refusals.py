"""Error lines, as many different ones as are reached cheaply, with their exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from tests.golden.recording import Recording, run_text

_PASSPHRASE = {3: "passphrase"}
_USAGE: Sequence[tuple[str, ...]] = (
    ("frobnicate",), ("--frobnicate",), ("--filter",), (), ("vault",), ("agent",), ("vault", "frobnicate"),
    ("list", "surplus"), ("list", "--jsno"), ("show",), ("show", "nobody"), ("show", "ci-deply"), ("adopt",),
    ("adopt", "nobody", "--yes"), ("adopt", "contractor", "--yes"), ("adopt", "old-vpn", "--yes"),
    ("adopt", "old-cluster", "--yes"), ("adopt", "loop-a", "--yes"), ("adopt", "acme-dev-readonly", "--yes"),
    ("adopt", "gh-actions", "--yes"), ("adopt", "default", "--yes"), ("adopt", "CI-DEPLOY"), ("release",),
    ("release", "nobody", "--yes"), ("refresh",), ("refresh", "nobody"), ("refresh", "nobody", "no-one"),
    ("refresh", "old-cluster"), ("refresh", "contractor"), ("stop", "nobody"), ("deliver", "ci-deploy"),
    ("deliver", "ci-deploy", "--to", "elsewhere"), ("deliver", "nobody", "--to", "nowhere"),
    ("credential-process",),
    ("credential-process", "nobody"), ("credential-process", ""), ("exec", "nobody", "--", "true"),
    ("exec", "ci-deploy", "--token-env", "--", "true"), ("exec", "ci-deploy", "--", ""), ("env", "nobody"),
    ("env", "ci-deploy", "--shell", "cmd"), ("env", "ci-deploy", "--min-left", "soon"), ("set",), ("set",
    "nobody"),
    ("set", "nobody", "renew=off"), ("set", "contractor", "renew=off"), ("rotate",), ("rotate", "nobody"),
    ("rotate", "nobody", "--status"), ("rotate", "personal", "--undo", "--finish"),
    ("rotate", "personal", "--confirm", "AAAA"), ("rotate", "contractor", "--yes"), ("vault", "init",
    "--slot", "wall"),
    ("vault", "export"), ("vault", "import", "/nonexistent"), ("vault", "unlock", "--passphrase-fd", "x"),
    ("agent", "ssh-config"), ("agent", "pause"), ("--sandbox", "exec", "x"), ("--read-only",), ("list",
    "--version"),
)  # fmt: skip
_SETTINGS: Sequence[tuple[str, ...]] = tuple(
    ("set", name, *words)
    for name, words in (
        ("ci-audit", ("colour=red",)), ("ci-audit", ("renew",)), ("ci-audit", ("renew=maybe",)),
        ("ci-audit", ("renew=off", "renew=auto")), ("ci-audit", ("duration=soon",)), ("ci-audit",
        ("duration=1m",)),
        ("ci-audit", ("duration=48h",)), ("ci-audit", ("session=none",)), ("ci-audit", ("session=free",)),
        ("ci-audit", ("rotation_days=x",)), ("ci-audit", ("rotate=auto",)), ("ci-audit", ("rotate=never",)),
        ("ci-audit", ("tags=team",)), ("ci-audit", ("tags=team=a,team=b",)), ("ci-audit", ("tags=aws:x=y",)),
        ("ci-audit", ("transitive_tags=other",)), ("ci-audit", ("policy={",)), ("ci-audit",
        ("policy=/nonexistent",)),
        ("ci-audit", ("policy_arns=x",)), ("ci-audit", ("external_id=x",)), ("ci-audit", ("external_id=a b",
        )),
        ("ci-audit", ("role_session_name=a b",)), ("ci-audit", ("source_identity=!",)),
        ("ci-audit", ("mfa_serial=x y",)), ("ci-audit", ("region=Not_One",)), ("ci-deploy",
        ("external_id=abc",)),
        ("ci-deploy", ("session=none",)), ("contractor", ("rotate=ask",)), ("loop-a", ("duration=1h",)),
    )
)  # fmt: skip


def _record(recording: Recording, page: str, commands: Sequence[tuple[str, ...]]) -> None:
    """Run commands that change nothing."""

    def one(words: tuple[str, ...]) -> tuple[str, str]:
        recording.home.wait_for_mid_minute()
        return page, run_text(words, recording.home.run(*words))

    recording.together(partial(one, words) for words in commands)


def without_vault(recording: Recording, twin: Mapping[str, str | None]) -> None:
    """Record bad usage, names that are none, and what needs a vault, in a home of its own where there is
    none.

    :param twin: the variables of that home.
    """
    run = partial(recording.run, "refusals-no-vault.txt", extra=twin)
    for words in (
        *_USAGE, ("vault", "init"), ("vault", "init", "--slot", "keyring"), ("vault", "unlock"), ("vault",
        "lock"),
        ("vault", "recovery-key"), ("vault", "recovery-key", "--yes"), ("vault", "passphrase"),
        ("vault", "reset-passphrase"), ("vault", "restore"), ("vault", "export", "/nonexistent/x", "--yes"),
        ("vault", "export", "x", "--yes"), ("adopt", "ci-deploy"), ("adopt", "ci-deploy", "--yes"),
        ("agent", "start"), ("agent", "resume"),
    ):  # fmt: skip
        run(*words)
    init = ("vault", "init", "--passphrase-fd")
    run(*init, "3", fds={3: "short"})
    run(*init, "3", fds={3: "empty"})
    run(*init, "7", note="descriptor 7 is not open")
    run(*init, "3", "--recovery-out-fd", "8", fds=_PASSPHRASE, note="8 is not open")


def open_(recording: Recording) -> None:
    """Record refusals with the vault open, and AWS's bad days."""
    page = "refusals-open.txt"
    _record(recording, page, _SETTINGS)
    change = partial(recording.change, page)
    change("set", "personal", "session=none", note="there is no terminal")
    change("adopt", "ci-deploy", "--yes", note="managed already")
    change("adopt", "--all", "--plan")
    change("release", "contractor", "--yes")
    change("release", "ci-deploy", note="there is no terminal")
    change("release", "ci-deploy", "--yes", note="without the passphrase")
    change("release", "ci-release", "--plan")
    change("deliver", "ci-release", "--to", "credentials-file", "--as", "contractor")
    change("deliver", "personal", "--to", "credentials-file")
    change("deliver", "ci-release", "--to", "credentials-file", "--as", "a]b")
    change("deliver", "contractor", "--to", "nowhere")
    change("refresh", "denied", note="the trust policy asks for MFA")
    change("refresh", "stale", note="nobody's key")
    change("refresh", "stale-role")
    change("refresh", "asker")
    change("refresh", "acme-alice", "--mfa-code", "000000")
    change("refresh", "acme-alice", "--mfa-code", "12")
    change("refresh", "prod-admin", "nobody", "ci-deploy", "--json")
    change("refresh", "personal", note="session=none")
    change("exec", "acme-alice", "--min-left", "40h", "--", "true")
    change("exec", "ci-release", "--", "/nonexistent/program")
    change("exec", "ci-release", "--", "/etc/passwd")
    change("exec", "personal", "--endpoint", "--", "true")
    change("set", "gov-ops", "mfa_serial=choose")
    change("set", "ci-audit", "external_id=wrong-one")
    change("refresh", "ci-audit", note="the wrong external id")
    change("set", "ci-audit", "external_id=acme:audit-2026/7f3")
    change("set", "ci-release", "duration=12h")
    change("refresh", "ci-release", note="longer than the role allows")
    change("set", "ci-release", "duration=")
    change("rotate", "ci-release", "--yes")
    change("rotate", "ci-deploy", note="there is no terminal")
    for way in ("--resume", "--undo", "--finish"):
        change("rotate", "ci-deploy", way, "--yes")
    change("rotate", "stale", "--yes")
    change("rotate", "acme-alice", "--yes", note="needs a code")
    change("vault", "init", note="there is one")
    for kind in (
        "error", "throttle-429", "reset", "proxy-403", "portal-302", "not-http", "not-xml", "missing",
        "no-token",
        "no-expiry", "garbage-date", "past-expiry",
    ):  # fmt: skip
        recording.home.wait_for_next_minute()
        recording.home.fault("AssumeRole", kind, 4)
        recording.run(page, "refresh", "ci-release", note=f"AWS: {kind}")
        recording.home.tool("fault", "--clear")
    recording.home.wait_for_next_minute()
    recording.home.tool("skew", "+20m")
    recording.run(page, "refresh", "ci-release", note="AWS's clock is 20 minutes off")
    recording.home.tool("fault", "--clear")
    recording.query(page, "show", "ci-release")
    change("refresh", "ci-release")


def locked(recording: Recording) -> None:
    """Record what is said with the vault locked and no agent."""
    page = "refusals-locked.txt"
    recording.change(page, "vault", "lock")
    _record(
        recording,
        page,
        (
            ("vault", "lock"), ("vault", "unlock"), ("vault", "status"), ("vault", "status", "--json"),
            ("vault", "recovery-key", "--yes"), ("vault", "passphrase"), ("vault", "restore"),
            ("vault", "export", "/nonexistent/x", "--yes"), ("vault", "export", "said", "--yes"),
            ("vault", "export", "x", "--yes"), ("agent", "status"), ("agent", "status", "--json"), ("agent",
            "pause"),
            ("agent", "resume"), ("agent", "start"), ("refresh", "ci-deploy"), ("refresh", "ci-deploy",
            "nobody"),
            ("refresh", "ci-release", "--json"), ("deliver", "ci-audit", "--to", "credentials-file"),
            ("credential-process", "ci-deploy"), ("credential-process", "personal"), ("exec", "ci-release",
            "--", "true"),
            ("env", "ci-release"), ("release", "ci-deploy", "--yes"), ("rotate", "ci-deploy", "--yes"),
            ("rotate", "ci-deploy", "--status"), ("rotate", "acme-build", "--yes"), ("adopt", "denied",
            "--yes"),
            ("adopt", "loop-a"), ("set", "ci-audit", "mfa_serial=choose"), ("list",), ("show", "ci-release"),
        ),
    )  # fmt: skip
    fds: Mapping[int, str]
    for words, fds in (
        (("vault", "unlock", "--passphrase-fd", "3"), {3: "wrong"}),
        (("vault", "unlock", "--passphrase-fd", "3"), {3: "empty"}),
        (("vault", "unlock", "--recovery-key-fd", "3"), {3: "wrong"}),
        (("vault", "recovery-key", "--yes", "--passphrase-fd", "3"), {3: "passphrase"}),
        (("vault", "recovery-key", "--passphrase-fd", "3"), {3: "passphrase"}),
        (
            ("vault", "passphrase", "--recovery-key-fd", "3", "--new-passphrase-fd", "4"),
            {3: "recovery", 4: "short"},
        ),
    ):
        recording.run(page, *words, fds=fds)
