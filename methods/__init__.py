"""The built-in methods: one file each, with its settings for data sets and ranges for a search beside it."""
