"""Conversations between the user and the service: ask, run, ask again."""
