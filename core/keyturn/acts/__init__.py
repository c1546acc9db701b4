"""What keyturn does to profiles, one module per act. They run in the process that holds the vault's identity."""
