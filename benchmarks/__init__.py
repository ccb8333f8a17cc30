"""Benchmarks and full-size proofs: figures for people, no timed tests."""
