"""The choice of the implementation of the window loss."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from dfmcodec.codecs.overfitted.encode.window_kernel import LossByKernel
from dfmcodec.codecs.overfitted.encode.window_loss import WindowLoss, WindowPixels
from dfmcodec.codecs.overfitted.encode.windows import Windows


def loss_of_windows(windows: Windows, pixels: Sequence[WindowPixels]) -> WindowLoss:
    """Returns the window loss for this computer: JAX on a GPU, else kernels. JAX is not imported
    without a device plugin.
    """
    if may_have_device():
        from dfmcodec.codecs.overfitted.encode.by_jax.window_device import LossOnDevice
        from dfmcodec.codecs.overfitted.encode.by_jax.window_loss import is_on_cpu
        from dfmcodec.fourier.jax_backend import use_compilation_cache

        use_compilation_cache()
        if not is_on_cpu():
            return LossOnDevice(windows, pixels)
    return LossByKernel(windows, pixels)


def may_have_device() -> bool:
    """Indicates whether a device plugin for JAX is installed, such as that of `jax[cuda12]`."""
    return find_spec("jax_plugins") is not None
