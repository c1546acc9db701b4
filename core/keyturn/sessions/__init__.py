"""One module per way in: how temporary credentials are made from a key, a role, or what botocore resolves."""
