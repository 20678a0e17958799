"""Training of the shipped weights: context networks, their tables, and the correction network."""
