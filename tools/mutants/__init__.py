"""Mutation testing of the checks: `make mutants`."""
