"""Data sets: what there is, in memory or in files, by name and by folder."""
