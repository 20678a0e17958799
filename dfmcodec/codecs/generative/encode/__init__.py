"""The encoder of the generative model: it finds the code of an image under a generator."""
