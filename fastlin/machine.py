"""Describes the machine of a measurement: processor, instruction set, threads, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
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


def busy_cores() -> float:
    """How many cores other programs use now, or, on systems without /proc/stat, the load of the last minute."""
    stat = Path("/proc/stat")

    def idle() -> float:
        times = stat.read_text().split(maxsplit=9)  # of all cores together: user, nice, system, idle, iowait ...
        return (int(times[4]) + int(times[5])) / os.sysconf("SC_CLK_TCK")

    if not stat.exists():
        return os.getloadavg()[0]
    before = idle()
    time.sleep(1.0)
    return max(0.0, (os.cpu_count() or 1) - (idle() - before))


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
