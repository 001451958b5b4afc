"""Compiled kernels kept on disk, so that only the first process on a machine waits for the compiler.

Numba's own `cache=True` does not serve here: it never finds a closure such as a composed kernel again and stores it
anew each time, it does not see that a module which a kernel calls into has changed, two processes that start
together can mix up each other's files, and any trouble with the disk is an error. Here one file holds one kernel for
one signature, processor and state of the sources, and the file's name is a digest of all these. If a file cannot be
read or written, the kernel is compiled as if there were no cache.
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
from numba.core.compiler_lock import global_compiler_lock
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

# Sums may be reordered and multiply-adds fused. Not "nnan" or "ninf": NaN and Inf must follow IEEE's rules.
FASTMATH = {"reassoc", "contract", "nsz"}


@cache
def directory():
    """The folder in which kernels are kept; None if there is no folder that only this user can write to.

    Loading a pickle can run any code, so the files must not be writeable for other users.
    """
    users = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME") or "~/.cache"
    path = Path(os.path.expanduser(config.CACHE_DIR or users)) / "fastlin"
    if not path.is_absolute():  # "~" is left: there is no home directory
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
    """The data that every compiled kernel depends on: the sources of all kernels, and the versions of its compiler."""
    sources = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    versions = numba.__version__, llvmlite.__version__, np.__version__, sys.version
    return *versions, hashlib.sha256(sources).hexdigest()


class KernelCache(NullCache):
    """The cache of one Numba dispatcher, which loads from it before it compiles, and saves to it afterwards."""

    def __init__(self, name):
        self.name = name

    @property
    def cache_path(self):
        return directory()

    def file(self, signature, codegen):
        key = repr((self.name, signature, codegen.magic_tuple(), _state()))
        return directory() / f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def load_overload(self, signature, target):
        with contextlib.suppress(Exception):
            digest, data = pickle.loads(self.file(signature, target.codegen()).read_bytes())
            if digest == hashlib.sha256(data).digest():  # a full disk or a power failure can damage the data
                # All that loaded code needs. target.refresh() makes Numba ready to compile, and imports scipy.linalg.
                rtsys.initialize(target)
                return CompileResult._rebuild(target, *pickle.loads(data))
        return None

    def save_overload(self, signature, compiled):
        with contextlib.suppress(Exception):
            data = dumps(compiled._reduce())
            path = self.file(signature, compiled.codegen)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                draft = Path(folder, path.name)
                draft.write_bytes(pickle.dumps((hashlib.sha256(data).digest(), data)))
                draft.replace(path)  # atomic: another process sees the whole file or none


def jit(function, name=None, fastmath=FASTMATH, count_references=True):
    """The function as a kernel: without the GIL, with IEEE's division, kept on disk.

    name : the name under which it is kept. A function that is made inside another one needs a name that says what it
    was made of, because all that are made there share one `__qualname__`. Without a name it is not kept on disk by
    itself; the kernels that call it contain a copy of it.
    count_references : False for a function that only compiled code calls, with arrays that stay alive meanwhile.
    """
    if name is not None:
        function.__name__ = function.__qualname__ = name
    dispatcher = numba.njit(function, nogil=True, fastmath=fastmath, error_model="numpy", _nrt=count_references)
    if directory() is not None and "<locals>" not in function.__qualname__:
        dispatcher._cache = KernelCache(function.__qualname__)
    return dispatcher


def inlined(function):
    """Returns the function as one that Numba copies into the kernels that call it and compiles together with them.

    A function with machine code of its own would be optimised a second time in every kernel that calls it.
    """
    return numba.njit(function, inline="always")


# A child that is forked while another thread compiles would wait for Numba's compiler for ever: the fork waits instead,
# and the lock is the forking thread's. It is reentrant, so a thread may fork while it compiles itself. These are C's
# methods, because Ctrl-C could come between the steps of a function of Python's.
_lock = global_compiler_lock._lock
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
