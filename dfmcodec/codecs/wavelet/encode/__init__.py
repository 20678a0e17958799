"""The wavelet codec: symbols, filter and adaptation of one image under a shipped prior."""
