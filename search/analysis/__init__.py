"""What can be seen of a model before it is searched: which blocks bear pruning, which timesteps count, what moved."""
