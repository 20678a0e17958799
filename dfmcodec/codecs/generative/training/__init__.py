"""Training and evaluation of generative models, on sets of small images of one size."""
