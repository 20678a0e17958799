"""The fit of the overfitted codec: latent grids, context networks and a Fourier machine for one
image, all found together by gradient descent.
"""
