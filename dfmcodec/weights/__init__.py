"""Pretrained weights, shipped with the package."""
