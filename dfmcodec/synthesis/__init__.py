"""Coefficients -> pixels: the correcting machine, the image filter, and other resolutions."""
