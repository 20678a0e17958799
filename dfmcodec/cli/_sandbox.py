"""Sandbox: a separate process for an untrusted file, with limits of the operating system.

The parent reads the file and writes the output. The process receives bytes and returns bytes, which
are never unpickled. It cannot write files, start processes or gain privileges, and it is killed
when it exceeds its memory or processor time. It does not isolate code that has taken control of the
process; see docs/services.md for that. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from dfmcodec import errors
from dfmcodec.errors import ConfigError, DfmError, LimitError
from dfmcodec.processes import keep_current_folder_out

Answer = tuple[dict[str, Any], bytes]  # plain values, and the bytes of the output

_LIBRARIES_BYTES = 1 << 30  # address space; libraries reserve most of it without using it
_PIXEL_BYTES = 4 * 64  # 64 per channel, as stated in SECURITY.md, for up to four channels
_START_S = 20
_PIXEL_S = 3e-5  # several times the time of decoding without kernels
_MULTIPLY_ADD_S = 1e-9
_MAX_VALUES_BYTES = 1 << 20
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h


@dataclass(frozen=True)
class Limits:
    """Limits of a process."""

    memory_bytes: int  # maximum address space, and maximum size of the answer
    cpu_s: int  # maximum processor time

    @classmethod
    def of_image(cls, max_pixels: int, max_multiply_adds: int) -> Limits:
        """Returns the limits for the largest image that a command accepts."""
        seconds = _START_S + _PIXEL_S * max_pixels + _MULTIPLY_ADD_S * max_multiply_adds
        return cls(_LIBRARIES_BYTES + _PIXEL_BYTES * max_pixels, round(seconds))

    def apply(self) -> None:
        """Limits this process permanently."""
        import resource

        libc = ctypes.CDLL(None, use_errno=True)
        for option, value in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
            if libc.prctl(option, int(value), 0, 0, 0):
                raise OSError(ctypes.get_errno(), "prctl")
        for what, soft, hard in (
            (resource.RLIMIT_AS, self.memory_bytes, self.memory_bytes),
            (resource.RLIMIT_CPU, self.cpu_s, self.cpu_s + 1),  # SIGXCPU identifies the cause, SIGKILL follows
            (resource.RLIMIT_FSIZE, 0, 0),
            (resource.RLIMIT_NPROC, 0, 0),
            (resource.RLIMIT_CORE, 0, 0),
        ):
            _, given = resource.getrlimit(what)
            highest = hard if given == resource.RLIM_INFINITY else min(hard, given)
            resource.setrlimit(what, (min(soft, highest), highest))


def check_available() -> None:
    """Raises an error if the system does not support these limits."""
    if sys.platform != "linux":
        msg = f"--sandbox needs Linux, this is {sys.platform}; run the command in a container or a virtual machine"
        raise ConfigError(msg)


def call(function: Callable[[], Answer], limits: Limits) -> Answer:
    """Calls a picklable function that uses only one thread in a separate process with limits.
    Raises DfmError if the function raised it, or the process died; LimitError if the processor time
    is exhausted; MemoryError if the memory is exhausted.
    """
    keep_current_folder_out()
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, limits), daemon=True)
    process.start()
    sender.close()
    try:
        values = json.loads(receiver.recv_bytes(_MAX_VALUES_BYTES))
        data = receiver.recv_bytes(limits.memory_bytes)
    except (EOFError, OSError, ValueError):
        process.join()
        raise _death(process.exitcode or 0, limits) from None
    finally:
        process.kill()
        process.join()
        receiver.close()
    if "error" in values:
        raise _error(str(values["error"]), str(values["message"]))
    return values, data


def _answer(sender: Connection, function: Callable[[], Answer], limits: Limits) -> None:
    """Runs in the process: sends the answer, or the name and message of an error."""
    from dfmcodec.threads import limit_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    limit_threads(1)
    limits.apply()
    try:
        values, data = function()
    except Exception as error:  # raised again by the parent
        values, data = {"error": type(error).__name__, "message": str(error)}, b""
    sender.send_bytes(json.dumps(values).encode())
    sender.send_bytes(data)


def _error(name: str, message: str) -> Exception:
    """Returns the error raised in the process: a documented error, or one to report as a bug."""
    if name == "MemoryError":
        return MemoryError()
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, DfmError):
        return kind(message)
    return DfmError(f"decoding met an unexpected error ({name}: {message}); please report it with the file")


def _death(exit_code: int, limits: Limits) -> DfmError:
    """Returns the error for a process that died without an answer."""
    if -exit_code == signal.SIGXCPU:
        msg = f"decoding took more than {limits.cpu_s} s of processor time; raise --max-pixels if you trust the file"
        return LimitError(msg)
    how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    return DfmError(f"the decoding process {how}; the file may be hostile, please report it")
