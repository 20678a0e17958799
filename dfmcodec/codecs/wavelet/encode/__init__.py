"""The encoder of the wavelet codec: symbols, filter and adaptation of an image, given pretrained
weights.
"""
