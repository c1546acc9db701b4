"""Parts of a setting's value that its writer did not mean to be part of it: quotes and comments. Pure.

AWS CLI, boto3 and botocore take everything after the `=` as the value. Other SDKs cut a comment at its end,
and the Go SDK strips quotes around it, so that the same line means two things.
"""

from __future__ import annotations

import re

#: A comment as the JavaScript and Go SDKs cut it.
_COMMENT = re.compile(r"[ \t][#;]")
#: Settings of an access key.
KEY_SETTINGS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_security_token")
_NOT_IN_KEY_ID = re.compile(r"[^A-Za-z0-9_]")


def value_fault(value: str) -> str | None:
    """Return what is wrong with a value, as a clause that follows the name of its setting, or None.

    The clause never holds the value.
    """
    if len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]:
        return "has quotes around it, which AWS tools take as part of the value"
    if _COMMENT.search(value):
        return "has a comment after it, which AWS tools take as part of the value"
    return None


def key_fault(key: str, value: str) -> str | None:
    """Return the same for a setting of an access key, whose values hold no blanks.

    :param key: one of `KEY_SETTINGS`.
    """
    fault = value_fault(value)
    if fault is None and re.search(r"\s", value):
        fault = "has a blank in it"
    if fault is None and key == "aws_access_key_id" and _NOT_IN_KEY_ID.search(value):
        fault = "has characters that no access key id has"
    return fault
