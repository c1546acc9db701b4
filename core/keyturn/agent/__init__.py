"""The agent: one process per user that holds the unlocked vault and answers on a unix socket."""
