"""Label noise: kinds, transition matrices, instance-dependent noise, lists of labels."""
