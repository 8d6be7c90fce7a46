"""Training: the loop, its optimiser, its checkpoints, its evaluation and its log."""
