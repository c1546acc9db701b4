"""Text of a profile's details, for the detail pane, the two lines under the list and the detail screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyturn.model.labels import ROLE_WORDS, consent_command, login_profile, login_words, sign_in_command
from keyturn.model.profile import (
    Delivery,
    FileProblem,
    FileWarning,
    Kind,
    LoginState,
    Profile,
    Session,
    State,
    login_state,
    needs_sign_in,
    state_of,
)
from keyturn.model.text import countdown, masked_key_id, safe, span
from keyturn.profiles.filter import Query
from keyturn.profiles.renewal_words import renewal_summary, renewal_words
from keyturn_tui.actions import why_not_manageable
from keyturn_tui.rendering.profile_cells import (
    Line,
    Span,
    View,
    left_text,
    marked_paragraph,
    next_step_text,
    paragraph,
    rotation_text,
    state_glyph,
    wrap,
)
from keyturn_tui.rendering.profile_rows import Entry, Problem, Row
from keyturn_tui.state import AppState

#: Width of the label column in cells.
LABEL = 10

KIND_LABELS: Mapping[str, str] = {
    Kind.IAM_KEY: "IAM user with an access key",
    Kind.ROLE: "assumed role",
    Kind.SSO_ROLE: "SSO role",
    Kind.SAML_ROLE: "SAML role",
    Kind.WEB_IDENTITY: "web identity role",
    Kind.CONSOLE_LOGIN: "console login (aws login)",
    Kind.PROCESS: "external credential_process",
    Kind.MFA_SESSION: "MFA session, temporary credentials",
    Kind.STATIC_SESSION: "temporary credentials in a file",
    Kind.UNKNOWN: "unknown",
}


@dataclass(frozen=True, slots=True)
class Description:
    """Lines in two columns, so that values can be repainted without their labels."""

    title: Line
    labels: tuple[Line, ...]
    values: tuple[Line, ...]


def describe(
    profile: Profile, view: View, width: int, *, display_path: Callable[[str], str] = str
) -> Description:
    """Return all facts about a profile except its secret.

    :param width: width of both columns in cells.
    :param display_path: shortens a path (`~/…`).
    """
    title = ((wrap(profile.name, width)[0], "title"),)
    return _description(title, _facts(profile, view, max(8, width - LABEL), display_path))


def _description(title: Line, facts: Iterable[tuple[str, Sequence[Line]]]) -> Description:
    """Return labelled facts in two columns; a label stands beside the first line of its fact."""
    rows = [(label if nth == 0 else "", line) for label, lines in facts for nth, line in enumerate(lines)]
    labels: tuple[Line, ...] = tuple(((label, "muted"),) for label, _ in rows)
    return Description(title, labels, tuple(line for _, line in rows))


def describe_row(
    row: Row | None, view: View, width: int, *, display_path: Callable[[str], str], missing: Span
) -> Description:
    """Describe a row of the list; see :func:`describe` and :func:`describe_file`.

    :param missing: title if there is no row.
    """
    if isinstance(row, Entry):
        return describe(row.profile, view, width, display_path=display_path)
    if isinstance(row, Problem):
        return describe_file(row.problem, width, display_path=display_path)
    return Description((missing,), (), ())


def _facts(
    profile: Profile, view: View, room: int, display_path: Callable[[str], str]
) -> Iterator[tuple[str, list[Line]]]:
    def text(words: str, role: str = "text") -> list[Line]:
        return paragraph(words, room, role)

    if len(wrap(profile.name, room + LABEL)) > 1:
        yield "Name", text(profile.name)
    yield "State", _state(profile, view, room)
    if profile.problem is not None:
        yield "Problem", text(profile.problem, "error")
    for warning in view.snapshot.warnings:
        if warning.profile == profile.name:
            line = f"{display_path(warning.path)}:{warning.line}: {warning.reason}"
            yield "Warning", text(line, "soon")
    failure = view.failure(profile)
    if failure is not None:
        yield "Failed", text(f"{failure.at:%H:%M:%S} UTC  {failure.line}", "error")
    yield "", [()]
    kind = profile.kind_label or KIND_LABELS[profile.kind]
    yield "Type", text(kind + (", with MFA" if profile.mfa_serial else ""))
    yield from _identity(profile, text)
    if profile.login is not None:
        yield "Login", text(login_text(profile, view))
    yield "", [()]
    yield from _key(profile, view, text)
    yield "Managed", _managed(profile, view, text)
    yield "Delivered", text(delivery_text(profile))
    renewal = renewal_words(profile, view.snapshot, view.now)
    if renewal is not None:
        yield "Renewal", text(renewal)
    if profile.origin is not None:
        yield "Defined", text(f"{display_path(profile.origin.file)}:{profile.origin.line}")
    if profile.last_use is not None:
        yield "Requested", text(f"{_age_text(view.now - profile.last_use)} ago")


def _identity(profile: Profile, text: Callable[[str], list[Line]]) -> Iterator[tuple[str, list[Line]]]:
    computed = " (computed)" if profile.account_derived else ""
    facts = {
        "Role": profile.role,
        "Account": profile.account and profile.account + computed,
        "Region": profile.region,
        "Identity": profile.session.arn if profile.session is not None else None,
        "Source": " > ".join(profile.chain) or (profile.source if profile.source != profile.name else None),
        "MFA": profile.mfa_serial,
    }
    yield from ((label, text(value)) for label, value in facts.items() if value)
    for setting, value in profile.role_settings:
        yield ROLE_WORDS[setting], text(value)


def _key(profile: Profile, view: View, text: Callable[..., list[Line]]) -> Iterator[tuple[str, list[Line]]]:
    key = profile.key
    if key is None:
        session = profile.session
        yield "Key", text(f"{masked_key_id(session.key_id)}, temporary" if session else "-")
        return
    status = f", {key.status.lower()}" if key.status else ""
    yield "Key", text(f"{masked_key_id(key.key_id)}{status}")
    words, role = rotation_text(profile, view.glyphs)
    age = profile.rotation.age_days
    old = f"{age}d old, " if age is not None else ""
    yield "Rotation", [((f"{old}{words}", role),)]
    yield "Policy", text(policy_text(profile))
    if profile.rotation.pending_step is not None:
        yield "Pending", text(f"{next_step_text(profile.rotation.pending_step)}; R resumes", "due")
    if key.slots_used is not None:
        yield "Slots", text(f"{key.slots_used} of 2 access keys of this user in use")
    if key.last_used is not None:
        by = f" ({key.last_used_by})" if key.last_used_by else ""
        yield "Last used", text(f"{_age_text(view.now - key.last_used)} ago{by}")


def _managed(profile: Profile, view: View, text: Callable[..., list[Line]]) -> list[Line]:
    if profile.managed:
        return text("by keyturn")
    if profile.plaintext_key:
        return text(f"{view.glyphs.due} no: plaintext key, m adopts it", "due")
    return text("no; m adopts it" if why_not_manageable(profile) is None else "no")


def policy_text(profile: Profile) -> str:
    """Return how often the key must be rotated."""
    days = profile.rotation.limit_days
    return f"rotate every {days} days" if days else "none"


def delivery_text(profile: Profile) -> str:
    """Return where clients find this profile's credentials."""
    name = f" as {profile.deliver_as}" if profile.deliver_as else ""
    words = {
        Delivery.CREDENTIAL_PROCESS: "via credential_process",
        Delivery.CREDENTIALS_FILE: f"in the credentials file{name}",
        Delivery.NOWHERE: "nowhere",
        Delivery.NATIVE: "resolved by the AWS CLI and SDKs",
    }[profile.delivery]
    if profile.lacks_consent:
        return f"a session, {words}; to deliver the key, run: {consent_command(profile.name)}"
    return f"the long-term key, {words}" if profile.delivers_key else words


def _state(profile: Profile, view: View, room: int) -> list[Line]:
    glyph, role = state_glyph(profile, view)
    lines = marked_paragraph(glyph, state_sentence(profile, view), room, role)
    session = profile.session
    timed = state_of(profile, view.vault, view.now) in (State.FRESH, State.SOON, State.EXPIRED)
    if timed and session is not None and session.expires is not None:
        lines.append(((_bar(session, view), role), (f" {_end(session.expires, view)}", "text")))
    elif len(lines) == 1:
        lines.append(())  # keep the facts below in place while the cursor moves
    return lines


def state_sentence(profile: Profile, view: View) -> str:  # noqa: PLR0911  # one return for each row of the table
    """Return the state as text, for example `fresh, 41m left of 1h`."""
    if profile.name in view.working:
        return "working"
    state = state_of(profile, view.vault, view.now)
    session = profile.session
    match state:
        case State.FRESH | State.SOON if session is not None and session.expires is not None:
            of = f" of {span(session.expires - session.issued)}" if session.issued else ""
            return f"{state.value}, {countdown(session.expires - view.now)} left{of}"
        case State.UNKNOWN:
            return "temporary credentials, expiry unknown"
        case State.EXPIRED if needs_sign_in(profile, view.now):
            return "expired: sign in again"
        case State.EXPIRED if session is not None and session.expires is not None:
            return f"expired {_age_text(view.now - session.expires)} ago"
        case State.NONE if profile.login is not None:
            return "none: no valid session cached"
        case State.NONE:
            return "none: no session yet" if profile.managed else "none: no session known"
        case State.LONG_TERM:
            return "long-term key, does not expire"
        case State.LOCKED:
            return "locked: unlock the vault to refresh"
        case _:
            return "broken: invalid configuration"


def login_text(profile: Profile, view: View) -> str:
    """Return the state of a profile's sign-in, and the command that signs in again once it has ended; empty
    if there is no sign-in.
    """
    login = profile.login
    if login is None:
        return ""
    words = login_words(login, view.now)
    if login_state(login, view.now) is not LoginState.ENDED:
        return words
    return f"{words}: {sign_in_command(login.kind, login_profile(profile))}"


def _bar(session: Session, view: View) -> str:
    if session.issued is None or session.expires is None or session.expires <= session.issued:
        return "expires"
    cells = 12
    share = (session.expires - view.now) / (session.expires - session.issued)
    filled = round(cells * min(1.0, max(0.0, share)))
    filled_cell, empty_cell = ("#", ".") if view.glyphs.fresh == "+" else ("█", "░")
    return filled_cell * filled + empty_cell * (cells - filled)


def _end(expires: datetime, view: View) -> str:
    is_far = abs(expires - view.now) > timedelta(hours=20)
    return f"{expires:%d %b %H:%M UTC}" if is_far else f"{expires:%H:%M:%S} UTC"


def _age_text(length: timedelta) -> str:
    return (
        span(length)
        if length < timedelta(hours=1)
        else span(timedelta(minutes=length // timedelta(minutes=1)))
    )


def describe_file(
    problem: FileProblem | FileWarning, width: int, *, display_path: Callable[[str], str] = str
) -> Description:
    """Describe a file that cannot be read, or a misread line: place, reason and consequence."""
    room = max(8, width - LABEL)
    place = display_path(problem.path) + (f":{problem.line}" if problem.line else "")
    is_warning = isinstance(problem, FileWarning)
    effect = "The AWS CLI and SDKs reject this file. keyturn does not write to it."
    if is_warning:
        effect = "AWS tools read this line differently from how it looks. keyturn reads it as the CLI does."
    facts = (
        ("File", place, "text"),
        ("Warning" if is_warning else "Problem", problem.reason, "soon" if is_warning else "error"),
        ("", "", "text"),
        ("Effect", effect, "text"),
        ("", "", "text"),
        ("Fix", "Correct this line in an editor. keyturn reloads the file automatically.", "text"),
    )
    wrapped = ((label, paragraph(words, room, role)) for label, words, role in facts)
    title = "Misread line" if is_warning else "Unreadable file"
    return _description(((title, "title"),), wrapped)


def profile_summary(profile: Profile, view: View) -> tuple[Line, Line]:
    """Return the two lines under the list, for terminals without a detail pane."""
    glyph, role = state_glyph(profile, view)
    state = state_of(profile, view.vault, view.now).value
    left = left_text(profile, view)
    shows_state = state in ("fresh", "soon") and profile.name not in view.working and left != "unknown"
    heading = f"{state} {left}" if shows_state else left
    parts = [f"{profile.role.rpartition('/')[2]}" if profile.role else ""]
    if profile.account:
        parts.append(f"@ {profile.account}" if profile.role else profile.account)
    key = profile.key.key_id if profile.key else profile.session.key_id if profile.session else ""
    facts = [masked_key_id(key) if key else "", " ".join(p for p in parts if p), profile.region or ""]
    first: Line = ((f" {glyph} {heading}  ", role), ("  ".join(safe(f) for f in facts if f), "text"))
    failure = view.failure(profile)
    if profile.problem is not None:
        return first, ((f" {safe(profile.problem)}", "error"),)
    if failure is not None:
        return first, ((f" {failure.at:%H:%M} {safe(failure.line)}", "error"),)
    if profile.managed:
        renewal = renewal_summary(profile, view.snapshot, view.now)
        words = f"delivered {safe(delivery_text(profile))}" + (f"   renewal {renewal}" if renewal else "")
    elif profile.plaintext_key:
        words = f"{view.glyphs.due} plaintext key in the file; m moves it to the vault"
    elif profile.login is not None:
        words = f"login {safe(login_text(profile, view))}"
    else:
        adopts = "; m adopts it" if why_not_manageable(profile) is None else ""
        words = f"native: resolved by the AWS CLI and SDKs{adopts}"
    return first, ((f" {words}", "due" if profile.plaintext_key else "muted"),)


def empty_list_lines(state: AppState, query: Query) -> tuple[Line, ...]:
    """Return the text of an empty list."""
    paths = state.service.paths
    if state.snapshot is None:
        return ((("  Reading AWS config files…", "muted"),),)
    if query:
        return ((("  No matches. Esc clears the filter.", "muted"),),)
    files = [state.display_path(str(path)) for path in (paths.aws_config, paths.aws_credentials)]
    return (
        ((f"  No profiles in {safe(files[0])}", "text"),),
        ((f"  or {safe(files[1])}.", "text"),),
        (),
        (("  aws configure sso   adds one for Identity Center", "muted"),),
        (("  aws configure       adds one with an access key", "muted"),),
        (("  keyturn --sandbox   starts keyturn with sample profiles", "muted"),),
        (),
        (("  keyturn reloads the files when they change.", "muted"),),
    )


def summary_lines(row: Row | None, state: AppState) -> tuple[Line, ...]:
    """Return a row in two lines, or no lines if no row is selected."""
    if isinstance(row, Entry):
        return profile_summary(row.profile, state.view())
    if isinstance(row, Problem):
        place = f"{state.display_path(row.problem.path)}:{row.problem.line}"
        role = "soon" if isinstance(row.problem, FileWarning) else "error"
        return ((f" {safe(place)}", role),), ((f" {safe(row.problem.reason)}", role),)
    return ()
