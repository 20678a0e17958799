"""Compiled kernels: the loops in which decoders and encoders spend their time.

`compiled` is the module `_compiled`, written in C, or None where it was not built or is switched
off by `DFMCODEC_KERNELS=numpy` (the name of an instruction set takes that one instead), or where
the processor has no fast products of bytes. NumPy then computes the same symbols, and the same
pixels but for rounding. A kernel takes named arguments (`interface.py`) that are whole arrays,
releases the interpreter's lock and uses one core; callers spread blocks over `dfmcodec.threads`.
What computes is chosen here, once: a function in NumPy, which says what is computed, is decorated
with the one that has kernels do it.

Why C: a decoder that is called once for an image cannot spend 0.3 s on loading a compiler, as numba
needs on the same machine, and NumPy has no products of bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from dfmcodec.errors import ConfigError

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
        return _compiled if _compiled.instruction_sets() else None
    try:
        _compiled.use_instruction_set(wanted)
    except ValueError as error:
        possible = ", ".join(["numpy", *_compiled.instruction_sets()])
        msg = f"{SWITCH} is {wanted!r}; possible here: {possible}"
        raise ConfigError(msg) from error
    return _compiled


if TYPE_CHECKING:
    from dfmcodec.kernels import _compiled as compiled  # so that calls are checked against the interface
else:
    compiled = _load()
is_switched_off = False  # tests compare NumPy with kernels; modules bind `compiled` when they are imported


def has_kernels() -> bool:
    """Returns whether kernels compute; else NumPy does."""
    return compiled is not None and not is_switched_off


def share_memory() -> bool:
    """Has all threads of this process take memory from one place, so that what one of them frees is
    of use to the others: otherwise a decoding of 25 megapixels holds a sixth more. It is for the
    program, not for the library, as it concerns the whole process.

    Returns:
        Whether that can be: there are kernels, and the C library is glibc.
    """
    return compiled is not None and bool(compiled.share_memory())


def by_kernels(compiled_form: Callable[P, T]) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorates a function in NumPy.

    Args:
        compiled_form: What is called in its place where there are kernels, with the same arguments.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return (compiled_form if has_kernels() else function)(*args, **kwargs)

        return call

    return decorate


def instruction_set() -> str:
    """That of the kernels, or "numpy" where NumPy computes."""
    return os.environ.get(SWITCH) or str(compiled.instruction_sets()[0]) if has_kernels() else "numpy"
