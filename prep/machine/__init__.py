"""Disk space and memory of this machine."""
