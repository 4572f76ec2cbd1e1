"""Training and evaluation of one run: the same for every method."""
