"""Delivery of sessions to AWS clients, one module per delivery method."""
