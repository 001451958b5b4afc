# The commands of the README, the inner loop, and what CI adds. Everything is installed into .venv of this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard kernels/native/*)

# Benches run on this processor, even where these variables have NumPy's BLAS work as on an older one.
unexport OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

.PHONY: help demo quick test bench bench-compare bench-backends bench-peers bench-kernels mutants fuzz asan tsan soak coverage lint clean

help:
	@echo "make demo    install into .venv, compare all backends on two inputs, write compare.png"
	@echo "make quick   run the tests without the slow ones and most of Numba's (a minute)"
	@echo "make test    install into .venv, run all tests"
	@echo "make mutants break what each row of docs/lectures.md names: its test goes red (2 minutes; ROW=svm-losses for one)"
	@echo "make fuzz    look for input that breaks a promise (an hour; MINUTES=5 FUNCTION=svm_loss for less)"
	@echo "make bench   run the benchmarks (pytest-benchmark) and save them; BENCH='-k softmax' runs some"
	@echo "make bench-compare   run the benchmarks beside the last ones that were saved"
	@echo "make bench-backends   time naive, NumPy, Numba and Cython, write the README's first table (a minute)"
	@echo "make bench-peers   time it beside NumPy, torch, JAX and scikit-learn, write the README's tables (an hour)"
	@echo "make bench-kernels   measure tiles, exp, calls, threads and classes for docs/kernels.md (8 minutes)"
	@echo "make tsan    run the teams of threads under ThreadSanitizer, by gcc and clang, with forks (3 minutes)"
	@echo "make soak    run calls for 10 minutes among threads, forks, signals and other libraries; SOAK='--minutes 3'"
	@echo "make asan    run kernel and fuzz tests over extensions built with sanitizers (20 minutes)"
	@echo "make coverage   run all tests and print the branches of fastlin/ that they do not take"
	@echo "make lint    ruff, cython-lint, mypy"
	@echo "make clean   remove .venv and everything built"

demo: $(VENV)/installed
	$(BIN)/fastlin info
	$(BIN)/fastlin compare --plot compare.png

quick: $(VENV)/installed
	$(BIN)/python -m pytest -q -m "not slow and (not numba or quick)"

test: $(VENV)/installed
	$(BIN)/python -m pytest

mutants: $(VENV)/installed
	$(BIN)/python -m tests.lectures.mutants $(if $(ROW),--row $(ROW))

fuzz: $(VENV)/installed
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),60) $(if $(FUNCTION),--function $(FUNCTION))

bench: $(VENV)/installed
	$(BIN)/python -m pytest bench --benchmark-autosave $(BENCH)

bench-compare: $(VENV)/installed
	$(BIN)/python -m pytest bench --benchmark-compare $(BENCH)

bench-backends: $(VENV)/installed
	$(BIN)/python -m pytest bench --benchmark-json=build/backends.json \
		-k "float32 and (test_loss[ and (-softmax] or -svm]) or test_update[ and (-momentum_update] or -adam_update]))"
	$(BIN)/python bench/backends.py build/backends.json
	$(BIN)/python bench/report.py

# On Linux plain torch brings gigabytes of CUDA; the CPU build comes with
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make bench-peers
bench-peers: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --group peers
	$(BIN)/python -m pip install --quiet --group fit-peers || echo "fits go on without scikit-learn-intelex and cyanure"
	$(BIN)/python bench/peers.py
	$(BIN)/python bench/peers_training.py
	$(BIN)/python -m pip install --quiet sparse_dot_mkl mkl || echo "sparse rows go on without MKL"
	$(BIN)/python bench/peers_sparse.py
	$(BIN)/python bench/peers_fit.py
	$(BIN)/python bench/fit_picture.py
	$(BIN)/python bench/report.py

bench-kernels: $(VENV)/installed
	$(BIN)/python bench/kernel_study.py
	$(BIN)/python bench/classes.py
	$(BIN)/python bench/report.py

tsan: $(VENV)/installed
	$(BIN)/python tests/hardening/tsan.py --results bench/results/tsan.json

soak: $(VENV)/installed
	$(BIN)/python tests/hardening/soak.py --results bench/results/soak.json $(SOAK)

asan: $(VENV)/installed
	$(BIN)/python tests/hardening/asan.py
	$(BIN)/python bench/report.py

coverage: $(VENV)/installed
	$(BIN)/python tests/hardening/branches.py
	$(BIN)/python bench/report.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint kernels/native
	$(BIN)/mypy

# pip >= 25.1 knows dependency groups.
$(VENV)/installed: pyproject.toml setup.py $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[all]" --group test --group bench --group lint
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info kernels/*.so compare.png
