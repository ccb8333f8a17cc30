"""model-prep: prepare every model of a catalogue, and prove that the cache is usable offline."""
