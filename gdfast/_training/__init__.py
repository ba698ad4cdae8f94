"""Training: from the arguments of `fit` and its kin to their results."""
