"""One module per way out: how a session reaches AWS clients."""
