"""Headless core of keyturn: stores, refreshes, delivers and rotates AWS credentials. No user interface.

Glossary:

profile
    A named profile of the AWS shared files: *native* (resolved by AWS tools) or *managed* (by keyturn).
managed profile
    An entry of `profiles.toml`: how keyturn creates and delivers the sessions of a profile.
access key
    Long-term key pair of an IAM user, `AKIA...`.
session
    Temporary credentials with an expiry, `ASIA...`.
source
    Origin of a session: an access key, a sign-in, another profile, or the caller's own credentials.
credential provider
    Code that creates a session from a source (`GetSessionToken`, `AssumeRole`, SSO, SAML, ...).
caller credentials
    `credential_source`: environment, instance role or container role of the calling process. Never cached.
adopt, release
    Move a profile's settings and secrets into keyturn; restore them byte for byte.
process line
    `credential_process = keyturn credential-process NAME` in the config file.
delivery
    The way clients get the session: process line, credentials file, environment, endpoint, console.
credential document
    The JSON that a `credential_process` prints.
inventory
    Both shared files, managed profiles, index and config, read at one moment.
index
    `index.json`: facts that are known without unlocking the vault. No secret.
vault, slot, identity, recipient
    age terms: the encrypted files, a means to open them, the private key, the public key.
generation
    One version of `keys.age`. Ten are kept.
agent
    Process that holds the unlocked identity, renews sessions and answers on a socket.
forwarded socket
    Second socket of the agent, forwarded by ssh to another host.
endpoint
    Loopback HTTP server for one program, like the ECS container credentials endpoint.
operation
    A use case that runs where the vault is open: in this process or in the agent.
rotation record, step, action
    State of one key rotation on disk; its progress; the next thing to do.
drift
    AWS lists other keys or key statuses than the rotation record expects.
previous key
    The old access key, stored beside the new one until it is deleted.
fingerprint
    Digest of a source, or stat values of files, that tells if a cached item is still valid.
state lock, source lock, file lock
    Locks for keyturn's own changes, for the AWS call of one source, and for the write of one shared file.
    Taken in the order source, state, vault, file.
"""

__version__ = "0.1.0"
