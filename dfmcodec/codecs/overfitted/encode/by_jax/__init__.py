"""The window loss and its gradient in JAX, for GPUs."""
