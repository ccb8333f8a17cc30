"""Commands of the maintainers. Nothing here runs when models are prepared, checked or tested."""
