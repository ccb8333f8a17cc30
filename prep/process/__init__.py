"""Child processes: numbered orders and answers, and the events that tell of progress."""
