"""Use cases: one module per operation, run in the process that holds the open vault."""
