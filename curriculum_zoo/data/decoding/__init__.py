"""Decoding: from an image file to an upright image of a given size."""
