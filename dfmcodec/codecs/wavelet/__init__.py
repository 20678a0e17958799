"""The wavelet codec: wavelet transform, trellis-coded quantisation, context networks, and a
correction network.
"""
