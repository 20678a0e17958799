"""The encoder of the overfitted codec, which fits grids and networks by joint gradient descent."""
