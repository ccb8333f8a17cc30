"""Converts a verified snapshot to OpenVINO, and checks what the conversion holds."""
