"""Deep Fourier Machine: its layers, the network from positions to samples, and quantisation."""
