"""Operating system access: atomic files, locks, child processes, process hardening, peers, the clock."""
