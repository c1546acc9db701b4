"""The vault: secrets in plain age files, opened with an identity that a slot holds.

The entry point is :class:`keyturn.vault.vault.Vault`. Importing this package loads neither `pyrage` nor
`keyring`; the functions that need them import them.
"""
