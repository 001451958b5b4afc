"""What is recorded with a measurement, on machines that say less of themselves."""

import platform
from pathlib import Path

import pytest

from fastlin import machine, ops


def lines_of_cpuinfo(monkeypatch, text):
    monkeypatch.setattr(Path, "exists", lambda self: text is not None)
    monkeypatch.setattr(Path, "read_text", lambda self: text)


@pytest.mark.parametrize("text", [None, "", "processor\t: 0\nBogoMIPS\t: 50.00\n"], ids=["absent", "empty", "no model"])
def test_a_processor_without_a_name_is_called_by_its_kind(text, monkeypatch):
    """As on macOS, where there is no /proc, and on arm64, whose cpuinfo has no model name."""
    lines_of_cpuinfo(monkeypatch, text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.cpu_name() == "arm64"
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert machine.cpu_name() == "arm"


def test_the_model_name_is_taken_from_the_first_processor(monkeypatch):
    lines_of_cpuinfo(monkeypatch, "processor\t: 0\nmodel name\t: A: 1\nprocessor\t: 1\nmodel name\t: B\n")
    assert machine.cpu_name() == "A: 1"


def test_what_is_not_installed_is_said(monkeypatch):
    monkeypatch.setattr(machine, "version", lambda package: "1.0" if package == "numpy" else None)
    monkeypatch.setattr(ops, "installed", lambda: ("naive", "numpy"))
    facts = machine.describe()
    assert facts["instruction set"] == "none"
    assert (facts["numpy"], facts["numba"]) == ("1.0", "not installed")


def test_version_of_a_package_that_is_not_there():
    assert machine.version("no-such-package-as-this") is None
    assert machine.version("numpy")
