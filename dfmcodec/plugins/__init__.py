"""Plugins for `.dfm` files in other programs."""
