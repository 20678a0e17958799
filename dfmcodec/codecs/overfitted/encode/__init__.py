"""The fit of the fitted model: latent grids, context networks and a Fourier machine for one image,
all found together by gradient descent.
"""
