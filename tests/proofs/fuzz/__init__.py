"""Hostile bytes for every reader of what somebody else wrote."""
