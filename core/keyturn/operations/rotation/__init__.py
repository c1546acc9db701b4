"""Rotation of access keys: state machine, record, journal, AWS calls and recovery."""
