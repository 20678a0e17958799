"""Pixels <-> integer coefficients: geometry, colour, wavelet, quantiser, trellis.

The latents are the quantised bands of a wavelet; each module describes its own part.
"""
