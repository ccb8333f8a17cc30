"""Whatever ends a test early: the ways, and what interrupts a run at one of its loads."""
