"""The loopback credential endpoint that `keyturn exec --endpoint` gives to one program."""
