"""Embedded AWS stand-in: a strict STS and IAM on loopback, for trying keyturn and for tests.

It depends on `keyturn` for the clock, secrets and text; `keyturn` does not depend on it.
"""

from keyturn_sandbox.policy.principals import AccessKey, MfaDevice, Role, Session, User
from keyturn_sandbox.sandbox import Sandbox
from keyturn_sandbox.service import Call
from keyturn_sandbox.state import SandboxState

__all__ = ["AccessKey", "Call", "MfaDevice", "Role", "Sandbox", "SandboxState", "Session", "User"]
