"""What runs no test: `--relock`, `--dry-run`, `--cleanup`."""
