"""Latent grids, a context network and a synthesis network that are fitted to the image."""
