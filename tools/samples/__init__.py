"""The trainers of the sample models, one a task, and the small world that the models know."""
