"""The encoder of the generative codec, which searches the code of an image under a model."""
