"""Rotation of a long-term key, act by act: each is on disk before the next."""
