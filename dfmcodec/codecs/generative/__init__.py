"""The published generative model.

A decoder network maps a code to all coefficients of a Deep Fourier Machine.
Codes that are drawn from the density of the training images' codes give new images. The quantised
code of an image makes a file of tens of bytes. Nothing of this package is imported before
`dfm generate`, or a file of this model, needs it.
"""
