"""Operations that obtain, cache, renew and hand out temporary credentials."""
