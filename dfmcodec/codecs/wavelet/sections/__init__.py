"""The sections of the wavelet codec <-> bytes."""
