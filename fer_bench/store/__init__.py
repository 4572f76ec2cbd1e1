"""Finished and unfinished runs on the disk, and records and tables of them."""
