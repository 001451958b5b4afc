"""The compiled part only; everything static is in pyproject.toml.

Each extension holds the same loops compiled for one instruction set (kernels/cython_ops.py picks one at
import). They are optional: without a C compiler the install succeeds and the other backends work.
"""

import platform
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

FLAGS = {"base": []}
if platform.machine().lower() in {"x86_64", "amd64"}:
    FLAGS["avx2"] = ["-mavx2", "-mfma"]
    FLAGS["avx512"] = [
        *["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"],
        "-mprefer-vector-width=512",
    ]

# Sums in loops may fuse multiply-add; nothing here reads errno or traps. Never -ffast-math: at link it
# switches off subnormals for the whole process, and it assumes there are no NaN.
COMMON = ["-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
}

extensions = [
    Extension(
        f"fastlin.kernels.cython_{isa}",
        [f"kernels/cython_{isa}.pyx"],
        include_dirs=["kernels", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        depends=[str(path) for path in Path("kernels").iterdir() if path.suffix in {".h", ".pxi"}],
        extra_compile_args=COMMON + flags,
    )
    for isa, flags in FLAGS.items()
]

extensions.append(
    Extension(
        "fastlin.kernels.plain",
        ["kernels/plain.pyx"],
        include_dirs=[numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    )
)

modules = cythonize(extensions, build_dir="build/cython", compiler_directives=DIRECTIVES)
for module in modules:
    module.optional = True  # said here: cythonize makes new objects, which forget it

setup(ext_modules=modules)
