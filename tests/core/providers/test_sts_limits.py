"""Session lengths: AWS's fixed limits, at their boundaries. Tables."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keyturn.model.errors import UsageError
from keyturn.providers import sts_limits

#: Seconds wanted, seconds requested (None: refused), of a user's session and of a role's.
LENGTHS = [
    (None, 43_200, 3_600),
    (0, None, None),
    (899, None, None),
    (900, 900, 900),
    (3_600, 3_600, 3_600),
    (43_200, 43_200, 43_200),
    (43_201, 43_201, None),
    (129_600, 129_600, None),
    (129_601, None, None),
]


@pytest.mark.parametrize(("wanted", "user", "role"), LENGTHS)
def test_a_length_is_asked_for_if_aws_allows_it(
    wanted: int | None, user: int | None, role: int | None
) -> None:
    rules: list[tuple[Callable[[], int], int | None]] = [
        (lambda: sts_limits.for_session_token(wanted), user),
        (lambda: sts_limits.for_role(wanted, chained=False)[0], role),
    ]
    for rule, requested in rules:
        if requested is not None:
            assert rule() == requested
            continue
        with pytest.raises(UsageError) as excinfo:
            rule()
        assert str(wanted) in excinfo.value.why


@pytest.mark.parametrize(
    ("wanted", "seconds", "shortened"),
    [
        (None, 3_600, False),
        (900, 900, False),
        (3_600, 3_600, False),
        (3_601, 3_600, True),
        (43_200, 3_600, True),
    ],
)
def test_a_role_from_another_session_gets_an_hour_at_most_and_says_so(
    wanted: int | None, seconds: int, shortened: bool
) -> None:
    found, note = sts_limits.for_role(wanted, chained=True)
    assert (found, bool(note)) == (seconds, shortened)
    assert sts_limits.for_role(wanted, chained=False) == (wanted or 3_600, "")


#: Rule, a text of this many characters, True if AWS accepts it.
SIZES: list[tuple[Callable[[str], object], int, bool]] = [
    (sts_limits.session_name, 1, False),
    (sts_limits.session_name, 2, True),
    (sts_limits.session_name, 64, True),
    (sts_limits.session_name, 65, False),
    (sts_limits.source_identity, 1, False),
    (sts_limits.source_identity, 2, True),
    (sts_limits.source_identity, 64, True),
    (sts_limits.source_identity, 65, False),
    (sts_limits.external_id, 1, False),
    (sts_limits.external_id, 2, True),
    (sts_limits.external_id, 1224, True),
    (sts_limits.external_id, 1225, False),
    (sts_limits.serial, 8, False),
    (sts_limits.serial, 9, True),
    (sts_limits.serial, 256, True),
    (sts_limits.serial, 257, False),
]


@pytest.mark.parametrize(
    ("rule", "size", "takes"), SIZES, ids=[f"{rule.__name__} {size}" for rule, size, _ in SIZES]
)
def test_a_text_has_the_length_that_aws_takes(rule: Callable[[str], object], size: int, takes: bool) -> None:
    if takes:
        assert rule("x" * size) == "x" * size
        return
    with pytest.raises(UsageError) as excinfo:
        rule("x" * size)
    assert str(size) in excinfo.value.why


#: Rule, a text with each character that it accepts beside letters and digits.
MARKS: list[tuple[Callable[[str], object], str]] = [
    (sts_limits.session_name, "_+=,.@-"),
    (sts_limits.source_identity, "_+=,.@-"),
    (sts_limits.external_id, "_+=,.@:/-"),
    (sts_limits.serial, "_+=/:,.@-"),
]


@pytest.mark.parametrize(("rule", "marks"), MARKS, ids=[rule.__name__ for rule, _ in MARKS])
def test_a_text_has_the_characters_that_aws_takes(rule: Callable[[str], object], marks: str) -> None:
    rule("aZ09" * 3 + marks)
    for odd in set(" !\"#$%&'()*:;/<>?[\\]^`{|}~\n\x00é٣") - set(marks):
        with pytest.raises(UsageError) as excinfo:
            rule("aZ09" * 3 + odd)
        assert repr(odd) in excinfo.value.why


ROLE = "arn:aws:iam::111122223333:role/{}"
POLICY = "arn:aws:iam::{}:policy/ReadOnly"
#: Rule, text, True if AWS accepts it.
ARNS = [
    (sts_limits.role_arn, ROLE.format("x"), True),
    (sts_limits.role_arn, ROLE.format("path/to/x"), True),
    (sts_limits.role_arn, ROLE.format("x").replace("aws:", "aws-cn:", 1), True),
    (sts_limits.role_arn, ROLE.format("x" * (2049 - len(ROLE) + 1)), True),
    (sts_limits.role_arn, ROLE.format("x" * (2050 - len(ROLE) + 1)), False),
    (sts_limits.role_arn, ROLE.format(""), False),
    (sts_limits.role_arn, ROLE.format("a b"), False),
    (sts_limits.role_arn, ROLE.format("ü"), False),
    (sts_limits.role_arn, ROLE.format("x").replace("111122223333", "11112222333"), False),
    (sts_limits.role_arn, ROLE.format("x").replace("111122223333", "aws"), False),
    (sts_limits.role_arn, "x" + ROLE.format("x"), False),
]


@pytest.mark.parametrize(("rule", "text", "takes"), ARNS, ids=range(len(ARNS)))
def test_an_arn_has_the_shape_of_a_roles(rule: Callable[[str], str], text: str, takes: bool) -> None:
    if takes:
        assert rule(text) == text
    else:
        with pytest.raises(UsageError):
            rule(text)


@pytest.mark.parametrize("account", ["111122223333", "aws"])
def test_a_managed_policy_is_of_an_account_or_awss_own(account: str) -> None:
    arn = POLICY.format(account)
    assert sts_limits.policy_arns([arn]) == [arn]
    ten = [f"{arn}{number}" for number in range(10)]
    assert sts_limits.policy_arns(ten) == ten
    for bad in ([POLICY.format("1")], [arn, arn], [*ten, f"{arn}x"], [arn, "x" * 30]):
        with pytest.raises(UsageError):
            sts_limits.policy_arns(bad)


def inline(size: int) -> str:
    """Return a policy of this many characters."""
    return '{"Statement": "' + "x" * (size - 17) + '"}'


def test_policies_have_2048_characters_at_most_each_and_together() -> None:
    assert sts_limits.policy(inline(2048)) == inline(2048)
    with pytest.raises(UsageError):
        sts_limits.policy(inline(2049))
    arn = POLICY.format("aws")
    sts_limits.check_policy_size(inline(2048 - len(arn)), [arn])
    sts_limits.check_policy_size(None, [arn])
    sts_limits.check_policy_size(inline(2048), [])
    for text, arns in ((inline(2049 - len(arn)), [arn]), (None, [arn] * 100)):
        with pytest.raises(UsageError):
            sts_limits.check_policy_size(text, arns)


def test_fifty_tags_pass_and_a_key_counts_once_whatever_its_case() -> None:
    fifty = {f"k{number}": "v" for number in range(50)}
    assert sts_limits.tags(fifty) == fifty
    assert sts_limits.tags({"k" * 128: "v" * 256}) == {"k" * 128: "v" * 256}
    for bad in ({**fifty, "one more": ""}, {"a": "", "b": "", "A": ""}, {"ok": "", "Aws:x": ""}):
        with pytest.raises(UsageError):
            sts_limits.tags(bad)


def test_every_missing_transitive_tag_is_refused() -> None:
    assert sts_limits.transitive_tags((), {}) == ()
    with pytest.raises(UsageError, match="b is not one"):
        sts_limits.transitive_tags(("a", "b"), {"a": "1"})
