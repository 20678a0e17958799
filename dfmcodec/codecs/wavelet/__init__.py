"""Wavelet, trellis-coded quantisation, context networks, and a network that corrects the
synthesis.
"""
