"""Describes the machine of a measurement: processor, instruction set, threads, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from fastlin import _pool, ops


def cpu_name() -> str:
    """The processor's model name if the system provides it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def instruction_set() -> str:
    """The instruction set that the cython kernels were chosen for, or "none" without them."""
    return str(ops.module("cython").ISA) if "cython" in ops.installed() else "none"


def memory() -> float:
    """The bytes of memory, or Inf where the system does not say."""
    names = "SC_PAGE_SIZE", "SC_PHYS_PAGES"
    known = hasattr(os, "sysconf") and set(names) <= set(os.sysconf_names)
    return float(os.sysconf(names[0]) * os.sysconf(names[1])) if known else float("inf")


def version(package: str) -> str | None:
    """The installed version of a package, without importing it."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe() -> dict[str, str]:
    """The facts that are recorded with every measurement."""
    facts = {
        "cpu": cpu_name(),
        "cores": str(_pool.physical_cores()),
        "threads": str(_pool.thread_limit(None)),
        "instruction set": instruction_set(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    packages = ("fastlin", "numpy", "numba", "scikit-learn", "matplotlib")
    return facts | {name: version(name) or "not installed" for name in packages}
