"""Weights: where trained weights are, how they lie in a folder, and how they are checked."""
