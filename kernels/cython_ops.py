"""The Cython kernels: this module offers those of the extension that was compiled for this CPU.

One source, `native/kernels.pyx`, is compiled several times with different instruction sets. Tests name the one to use
in FASTLIN_ISA; without it this module takes the widest one that the CPU and the operating system support.
"""

import importlib.util
import os

from fastlin.kernels import cython_base


def built():
    """The instruction sets that this installation has and this machine can run, widest first."""
    return [isa for isa in cython_base.supported() if importlib.util.find_spec(f"fastlin.kernels.cython_{isa}")]


def _choose():
    isa = os.environ.get("FASTLIN_ISA") or built()[0]
    if isa not in built():
        # No ImportError: with one the advice would be to install a compiler.
        raise ValueError(f"FASTLIN_ISA={isa!r}, but this machine and installation offer {', '.join(built())}")
    return isa


ISA = _choose()
_extension = importlib.import_module(f"fastlin.kernels.cython_{ISA}")


def __getattr__(name):
    """The functions of the table and the drivers."""
    return getattr(_extension, name)
