"""Everything that is known of a kind of model: files, consumers, questions, measures."""
