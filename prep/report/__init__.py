"""What a run came to: the verdict of each model, and the forms in which people read it."""
