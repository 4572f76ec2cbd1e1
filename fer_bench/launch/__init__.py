"""Training of the runs of a sweep: on this machine, on a Ray cluster, or with Slurm."""
