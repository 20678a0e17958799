"""Training of the shipped prior: context networks, their tables, and the Deep Fourier Machine."""
