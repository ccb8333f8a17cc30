"""The matrix: every way to spoil a prepared home, and every harmless way to change one.

A row is a deed with the verdict that must follow; the whole is a table in these modules, one for
each kind of deed. ``make matrix`` does every deed to a really prepared home and runs ``pytest
--offline`` on it, as a user would; the rows that need no load are in ``make test`` as well.
"""
