"""Data sets: readers, the cache of decoded images, splits, imbalance, label noise, drawn faces."""
