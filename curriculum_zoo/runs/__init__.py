"""Runs: the folder that a training leaves, written by training, and read in one place by everything else."""
