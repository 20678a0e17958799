"""Support for `.dfm` files in other programs."""
