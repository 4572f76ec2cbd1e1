"""The command line of fer-bench."""
