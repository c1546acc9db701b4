"""The headless core of keyturn: keeps, refreshes and delivers AWS credentials. It knows no screen."""

__version__ = "0.1.0"
