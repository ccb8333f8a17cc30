"""Holds the home against the lock and the receipts; changes nothing."""
