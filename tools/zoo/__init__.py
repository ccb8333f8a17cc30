"""Tiny stand-ins of models that people prepare: files as in the real repositories, real skill."""
