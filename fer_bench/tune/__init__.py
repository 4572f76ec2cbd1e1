"""Searches the settings of methods with one budget for all."""
