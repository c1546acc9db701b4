"""Safe use of the operating system: atomic files, locks, child processes, process hardening, peers, the clock."""
