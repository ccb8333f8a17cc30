"""Everything that is known of a kind of model: each task in one module, named in `registry`."""
