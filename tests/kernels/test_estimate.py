"""Roots from an estimate: within 1 ULP, on every machine that can compute them, also where updates take others."""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastlin import ops

pytestmark = pytest.mark.slow
NATIVE = Path(ops.module("naive").__file__).parent / "native"
FLAGS = ["-O2", "-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"]
SOURCE = """
#include "estimate.h"
void float32(float *x, long n) { for (long i = 0; i < n; i += LANES) estimated_roots_float(x + i); }
void float64(double *x, long n) { for (long i = 0; i < n; i += LANES) estimated_roots_double(x + i); }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The header alone, compiled."""
    cython_base = pytest.importorskip("fastlin.kernels.cython_base")
    if sys.platform != "linux" or not shutil.which("gcc") or "avx512" not in cython_base.supported():
        pytest.skip("needs gcc on Linux and a processor with AVX-512")
    folder = tmp_path_factory.mktemp("estimate")
    (folder / "roots.c").write_text(SOURCE)
    build = ["gcc", *FLAGS, f"-I{NATIVE}", "-shared", "-fPIC", "-o", "roots.so", "roots.c"]
    subprocess.run(build, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "roots.so"))


def estimated(library, x):
    found = x.copy()
    getattr(library, x.dtype.name)(ctypes.c_void_p(found.ctypes.data), ctypes.c_long(x.size))
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_estimated_roots_are_within_an_ulp(library, dtype):
    """Numbers of all magnitudes, subnormal ones too: no root is subnormal."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    exponents = rng.uniform(info.minexp - info.nmant, info.maxexp, 1 << 20)
    x = np.exp2(np.floor(exponents)).astype(dtype) * (1 + exponents % 1).astype(dtype)
    exact = np.sqrt(x.astype(np.longdouble))
    assert (np.abs(estimated(library, x) - exact) <= np.spacing(exact.astype(dtype))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_numbers_have_their_own_roots(library, dtype):
    x = np.resize(np.array([0.0, -0.0, np.inf, np.nan, -1.0, 4.0], dtype), 96)
    with np.errstate(invalid="ignore"):
        exact = np.sqrt(x)
    found = estimated(library, x)
    np.testing.assert_array_equal(found, exact)
    np.testing.assert_array_equal(np.signbit(found[x == 0]), np.signbit(exact[x == 0]))
