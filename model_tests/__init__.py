"""The tests that users run: ``pytest --pyargs model_tests`` where model-prep is installed."""
