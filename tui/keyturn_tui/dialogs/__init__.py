"""Modal dialogs that ask the user for a decision or a secret."""
