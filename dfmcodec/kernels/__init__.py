"""Compiled kernels: the inner loops of decoders and encoders, in C.

`compiled` is the extension module `_compiled`. It is None if the module was not built, or if
`DFMCODEC_KERNELS=numpy` disables it. Encoding needs it. Without it, NumPy decodes the same symbols,
and the same pixels up to rounding. `DFMCODEC_KERNELS` can also select an instruction set. A kernel
takes named arguments (`_compiled.pyi`); arrays are complete. It releases the GIL and uses one core;
callers distribute blocks over `dfmcodec.threads`. What decoding needs is chosen only here: the
NumPy function, which defines the result, is decorated with the function that calls the kernels.

The kernels are in C because a decoder that is called once per image cannot spend 0.3 s on loading a
compiler, as numba needs on the same machine, and because NumPy has no byte products.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dfmcodec.errors import ConfigError, InstallationError

P = ParamSpec("P")
T = TypeVar("T")

SWITCH = "DFMCODEC_KERNELS"


def _load() -> ModuleType | None:
    wanted = os.environ.get(SWITCH)
    if wanted == "numpy":
        return None
    try:
        from dfmcodec.kernels import _compiled
    except ImportError as error:
        if wanted:
            msg = f"{SWITCH} is {wanted!r}, but this installation has no kernels; it can be numpy"
            raise ConfigError(msg) from error
        return None
    if not wanted:
        return _compiled
    try:
        _compiled.use_instruction_set(wanted)
    except ValueError as error:
        possible = ", ".join(["numpy", *_compiled.instruction_sets()])
        msg = f"{SWITCH} is {wanted!r}; possible here: {possible}"
        raise ConfigError(msg) from error
    return _compiled


if TYPE_CHECKING:
    from dfmcodec.kernels import _compiled as compiled  # lets type checkers compare calls with the interface
else:
    compiled = _load()
is_switched_off = False  # tests compare NumPy with kernels; modules bind `compiled` when they are imported


def has_kernels() -> bool:
    """Indicates whether kernels are used, instead of NumPy."""
    return compiled is not None and not is_switched_off


def require_kernels() -> None:
    """Raises InstallationError if there are no kernels."""
    if compiled is None:
        msg = "there are no compiled kernels, which encoding needs; " + (
            f"unset {SWITCH}"
            if os.environ.get(SWITCH)
            else "install a wheel, or install again with a C compiler (docs/install.md)"
        )
        raise InstallationError(msg)


def share_memory() -> bool:
    """Makes all threads of the process allocate from one arena, so that they can reuse memory that
    another thread has freed, and keep freed arrays of up to 32 MB, so that the operating system
    does not clear their pages again. Without it, decoding 25 megapixels uses a sixth more memory,
    and encoding takes 7 % longer. Only the command calls this function, because it affects the
    complete process.

    Returns:
        True if it is supported: there are kernels, and the C library is glibc.
    """
    return compiled is not None and bool(compiled.share_memory())


def return_memory() -> None:
    """Returns the memory of freed arrays, which `share_memory` keeps, to the operating system. A
    stage that needs much memory calls it before the next stage, which allocates arrays of other
    sizes.
    """
    if compiled is not None:
        compiled.return_memory()


def by_kernels(compiled_form: Callable[P, T]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a NumPy function. If there are kernels, `compiled_form` is called instead, with the
    same arguments.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return (compiled_form if has_kernels() else function)(*args, **kwargs)

        return call

    return decorate


def instruction_set() -> str:
    """Returns the instruction set of the kernels, or "numpy" if there are none."""
    return os.environ.get(SWITCH) or str(compiled.instruction_sets()[0]) if has_kernels() else "numpy"
