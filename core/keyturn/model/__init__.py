"""Values and errors of keyturn: profiles, plans, snapshots, secrets, safe text. No I/O and no clock."""
