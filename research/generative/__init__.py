"""Generative models of small images, and codes of images under them.

A decoder network maps a code to all coefficients of a Deep Fourier Machine. Codes drawn from the
density of the training images' codes give new images. The quantised code of an image makes a file
of tens of bytes.
"""
