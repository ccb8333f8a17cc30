"""Hostile bytes for every reader of what somebody else wrote; ``python -m tests.fuzz`` for long."""
