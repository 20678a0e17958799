"""A Deep Fourier Machine that maps positions to samples."""
