"""Pretrained weights, which are shipped with the package."""
