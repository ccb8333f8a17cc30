"""Child processes with numbered orders and answers, and progress events."""
