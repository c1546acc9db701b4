"""Loopback credential endpoint that `keyturn exec --endpoint` starts for one program."""
