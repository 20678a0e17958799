"""The loss of windows and its gradient by JAX: on a GPU, and where there are no kernels."""
