"""Rotation of long-term access keys: state machine, record, journal, AWS calls and recovery."""
