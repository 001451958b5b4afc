"""The compiled part only; everything static is in pyproject.toml.

The loops of kernels/native/kernels.pyx are compiled once for each instruction set (kernels/cython_ops.py picks one at
import). Extensions are optional: without a C compiler the install succeeds and the other backends work.
"""

import platform
import shutil
import sysconfig
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

FLAGS = {"base": []}
if platform.machine().lower() in {"x86_64", "amd64"}:
    FLAGS["avx2"] = ["-mavx2", "-mfma", "-mf16c"]
    FLAGS["avx512"] = [
        *["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mf16c"],
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

NUMPY = {"define_macros": [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")]}
NATIVE = Path("kernels/native")
FOLDERS = [str(NATIVE), numpy.get_include()]


def extension(name, source, flags, needs=()):
    """fastlin.kernels.NAME, made from a file of kernels/native."""
    return Extension(
        f"fastlin.kernels.{name}",
        [str(NATIVE / source)],
        include_dirs=FOLDERS,
        depends=["setup.py", *map(str, needs)],
        extra_compile_args=flags,
        **NUMPY,
    )


def compiled(extensions, folder):
    """The extensions with their C files in build/cython/FOLDER. Optional: without a compiler the others work."""
    modules = cythonize(extensions, build_dir=f"build/cython/{folder}", compiler_directives=DIRECTIVES)
    for module in modules:
        module.optional = True  # set here because cythonize makes new objects, without it
    return modules


class Build(build):
    """Starts with empty folders: what an earlier build left in them would be packed, removed modules too."""

    def run(self):
        package = Path(self.build_lib, "fastlin")
        if package.resolve() == Path("fastlin").resolve():
            raise SystemExit(f"--build-lib {self.build_lib} is the folder of the sources, which a build would remove")
        for folder in (package, Path(self.get_finalized_command("bdist").bdist_base)):
            if folder.exists():
                shutil.rmtree(folder)
        super().run()


class BuildExtensions(build_ext):
    """Leaves no module of an earlier build behind where this build makes none: extensions are optional."""

    def build_extension(self, ext):
        try:
            super().build_extension(ext)
        except BaseException:
            Path(self.get_ext_fullpath(ext.name)).unlink(missing_ok=True)
            raise

    def copy_extensions_to_source(self):
        for old in NATIVE.parent.glob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"):
            old.unlink()
        super().copy_extensions_to_source()


included = sorted(path for path in NATIVE.iterdir() if path.suffix in {".h", ".pxi"})
modules = []
for name in ("quick_check", "contract"):
    modules += compiled([extension(name, f"{name}.pyx", [])], name)
for isa, flags in FLAGS.items():  # one source; each set of flags has a folder of its own for the C made from it
    modules += compiled([extension(f"cython_{isa}", "kernels.pyx", COMMON + flags, included)], isa)

setup(ext_modules=modules, cmdclass={"build": Build, "build_ext": BuildExtensions})
