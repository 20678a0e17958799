"""The published generative model.

A decoder network maps a code to all coefficients of a Deep Fourier Machine. Codes drawn from the
density of the training images' codes give new images. The quantised code of an image makes a file
of tens of bytes. This package is imported only for `dfm generate` and for files of this codec.
"""
