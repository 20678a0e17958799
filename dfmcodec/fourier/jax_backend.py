"""Setup of JAX for this package, and evaluation of the coordinate network with JAX.

Outside the encoder and training, only modules of this name import JAX.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax

from dfmcodec.files.cache_folder import cache_folder

_PROGRAMS = "jax"  # cache folder for compiled programs
_CACHE_WARNING = "Error (reading|writing) persistent compilation cache"
_PLUGIN_ERROR = "Jax plugin configuration error"


def _in_one_line(record: logging.LogRecord) -> bool:
    """Shortens the log message of a GPU build of JAX without a GPU, a traceback of 12 lines."""
    if record.exc_info and record.exc_info[1] is not None and _PLUGIN_ERROR in record.msg:
        reason = " ".join(str(record.exc_info[1]).split())
        record.msg = (
            "JAX has a plugin for devices that does not start, so the CPU computes; "
            "nvidia-smi shows whether there is a GPU (%s)"
        )
        record.args, record.exc_info, record.exc_text = (reason,), None, None
    return True


logging.getLogger("jax._src.xla_bridge").addFilter(_in_one_line)


def use_compilation_cache() -> None:
    """Enables JAX's persistent compilation cache, unless the calling program has configured one."""
    config: Any = jax.config
    folder = cache_folder(_PROGRAMS)
    if config.jax_compilation_cache_dir is None and folder is not None:
        config.update("jax_compilation_cache_dir", str(folder))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@contextmanager
def calls() -> Iterator[None]:
    """Wraps calls of compiled functions and handles problems with the compilation cache.

    If JAX cannot read a file of our cache, it compiles again. The cache is then emptied, because
    JAX would keep the damaged file.

    Raises:
        MemoryError: JAX ran out of memory. JAX's own error is a RuntimeError.
    """
    _recorder.enter()
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise MemoryError(str(error)) from error
    finally:
        _recorder.leave()


class _Recorder:
    """Recorder of warnings for all threads in `calls`. Python's warning settings are global, so the
    first thread starts recording and the last stops it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._catching = warnings.catch_warnings(record=True)
        self._caught: list[warnings.WarningMessage] = []

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._catching = warnings.catch_warnings(record=True)
                caught = self._catching.__enter__()
                assert caught is not None
                self._caught = caught
                warnings.filterwarnings("always", _CACHE_WARNING)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            self._catching.__exit__(None, None, None)
            caught, self._caught = self._caught, []
        cache_warnings = [warning for warning in caught if re.match(_CACHE_WARNING, str(warning.message))]
        for warning in caught:
            if warning not in cache_warnings:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if any("Error reading" in str(warning.message) for warning in cache_warnings):
            _empty_cache()


_recorder = _Recorder()


def _empty_cache() -> None:
    folder = cache_folder(_PROGRAMS)
    if folder is not None:
        with suppress(OSError):
            for path in folder.glob("*-cache"):
                path.unlink()
