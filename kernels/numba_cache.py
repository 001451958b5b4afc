"""Compiled kernels kept on disk, so that only the first process on a machine waits for the compiler.

Numba's own `cache=True` does not serve here: it never finds a closure such as a composed kernel again and stores it
anew each time, it does not see that a module which a kernel calls into has changed, two processes that start
together can mix up each other's files, and any trouble with the disk is an error. Here one file holds one kernel for
one signature, processor and state of the sources, all of which its name is a digest of; whatever goes wrong, the
kernel is compiled as if there were no cache.
"""

import contextlib
import hashlib
import os
import pickle
import sys
import tempfile
from functools import cache
from pathlib import Path

import llvmlite
import numba
import numpy as np
from numba.core import config
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

# Sums may be reordered and multiply-adds fused. Not "nnan" or "ninf": NaN and Inf must take IEEE's course.
FASTMATH = {"reassoc", "contract", "nsz"}


@cache
def directory():
    """Where kernels are kept; None if there is no place that only this user can write: pickles are programs."""
    users = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME") or "~/.cache"
    path = Path(os.path.expanduser(config.CACHE_DIR or users)) / "fastlin"
    if not path.is_absolute():  # "~": there is no home
        return None
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
        status = path.stat()
    except OSError:
        return None
    ours = os.name == "nt" or (status.st_uid == os.geteuid() and not status.st_mode & 0o022)
    return path if ours else None


@cache
def _state():
    """What any kernel depends on: the sources of all of them, and what compiles and loads them."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    versions = numba.__version__, llvmlite.__version__, np.__version__, sys.version
    return *versions, hashlib.sha256(sources).hexdigest()


class KernelCache(NullCache):
    """What a Numba dispatcher asks before it compiles, and tells afterwards."""

    def __init__(self, name):
        self.name = name

    @property
    def cache_path(self):
        return directory()

    def file(self, signature, codegen):
        key = repr((self.name, signature, codegen.magic_tuple(), _state()))
        return directory() / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def load_overload(self, signature, target):
        target.refresh()
        with contextlib.suppress(Exception):
            digest, data = pickle.loads(self.file(signature, target.codegen()).read_bytes())
            if digest == hashlib.sha256(data).digest():  # else the disk was full, or the power went
                return CompileResult._rebuild(target, *pickle.loads(data))
        return None

    def save_overload(self, signature, compiled):
        with contextlib.suppress(Exception):
            data = dumps(compiled._reduce())
            path = self.file(signature, compiled.codegen)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                draft = Path(folder, path.name)
                draft.write_bytes(pickle.dumps((hashlib.sha256(data).digest(), data)))
                draft.replace(path)  # at once: another process sees all of it or nothing


def keep(dispatcher):
    """The dispatcher, which from now on keeps what it compiles.

    Not that of a function made inside another: many go by its name, and what calls it keeps a copy.
    """
    name = dispatcher.py_func.__qualname__
    if directory() is not None and "<locals>" not in name:
        dispatcher._cache = KernelCache(name)
    return dispatcher


def jit(function, fastmath=FASTMATH):
    """The function as a kernel: without the GIL, with IEEE's division, kept on disk."""
    return keep(numba.njit(function, nogil=True, fastmath=fastmath, error_model="numpy"))
