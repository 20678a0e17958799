"""The encoder of the overfitted codec. It fits latent grids, a context network and a synthesis
network to one image by joint gradient descent.
"""
