"""The endpoint: a process beside one program, which renews that program's credentials and ends with it."""
