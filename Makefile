# The two commands of the README, and what CI adds. Everything is installed into .venv of this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard kernels/*.pyx kernels/*.pxi kernels/*.h)

.PHONY: help demo test bench lint clean

help:
	@echo "make demo    install into .venv, compare all backends on two inputs, write compare.png"
	@echo "make test    install into .venv, run the tests"
	@echo "make bench   run the benchmarks (pytest-benchmark)"
	@echo "make lint    ruff, cython-lint, mypy"
	@echo "make clean   remove .venv and everything built"

demo: $(VENV)/installed
	$(BIN)/fastlin info
	$(BIN)/fastlin compare --plot compare.png

test: $(VENV)/installed
	$(BIN)/python -m pytest

bench: $(VENV)/installed
	$(BIN)/python -m pytest bench/bench_ops.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint kernels
	$(BIN)/mypy

# pip >= 25.1 knows dependency groups.
$(VENV)/installed: pyproject.toml setup.py $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group test --group bench --group lint
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info kernels/*.so compare.png
