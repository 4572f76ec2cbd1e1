"""Sweeps: from a request to a plan, what is stored of it, and what is done with it later."""
