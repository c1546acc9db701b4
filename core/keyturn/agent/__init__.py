"""Agent: one process per user that holds the unlocked vault identity and answers on a Unix socket."""
