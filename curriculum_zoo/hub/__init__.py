"""Weights: how they lie in a folder, how they are checked, where released ones are found."""
