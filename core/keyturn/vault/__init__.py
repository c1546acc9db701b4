"""The vault: secrets in plain age files, opened by an identity that a slot holds.

`keyturn.vault.vault.Vault` is the way in. Importing this package loads neither `pyrage` nor `keyring`; the functions
that need them do.
"""
