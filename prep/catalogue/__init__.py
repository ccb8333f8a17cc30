"""`models.toml`, `models.lock.toml` and goldens: what is wanted, and exactly which bytes."""
