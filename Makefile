# `make demo` and `make test` need python3 (3.11 or later) and nothing else: they make `.venv` and install into it
# exactly what constraints.txt pins. Repeating them costs nothing until constraints.txt or a pyproject.toml changes.

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
EXAMPLES := examples/lrnde-torchode examples/lrnde-jax-odeint
# The stamp's name carries what it depends on, this folder included (a virtual environment cannot be moved), so that
# an old stamp never counts, whatever the file times say.
SUM := $(shell { cat pyproject.toml $(EXAMPLES:%=%/pyproject.toml) constraints.txt; pwd; } | cksum | cut -d' ' -f1)
STAMP := .venv/installed-$(SUM)
# Where the core's tests find numpy and no other array library to compute with.
CORE_BIN := .venv-core/bin
CORE_STAMP := .venv-core/installed-$(SUM)
# Where the oldest versions that pyproject.toml allows are.
OLDEST_BIN := .venv-oldest/bin
OLDEST_STAMP := .venv-oldest/installed-$(shell { cat pyproject.toml constraints-oldest.txt; pwd; } | cksum | cut -d' ' -f1)
# Chromium for the tests of the HTML report, unless LRNDE_BROWSER names another.
BROWSER := $(if $(LRNDE_BROWSER),,.venv/browser-$(shell { cat tests/browser/*.*; pwd; } | cksum | cut -d' ' -f1))
PIP = PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(1)/python -m pip \
	--disable-pip-version-check --quiet --quiet
# Two processes of one thread each: OpenMP's threads wait for each other by spinning, which with two processes on two
# cores can take a hundred times as long as the work.
ONE_THREAD := OMP_NUM_THREADS=1
# Tests compile much and run little, so the compiler had better not try hard: half the time on diffrax's. XLA's older
# code for fused loops compiles in half the time, but differs more from program to program in which product and sum
# become one instruction, of one rounding, where tests compare to the last bit; AVX has no such instruction.
X86_FLAGS := $(if $(filter x86_64,$(shell uname -m)),--xla_cpu_use_fusion_emitters=false --xla_cpu_max_isa=AVX)
COMPILE_FAST := XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
	--xla_cpu_parallel_codegen_split_count=1 $(X86_FLAGS) $(XLA_FLAGS)"
PYTEST_ARGS ?= --quiet --numprocesses 2 --dist worksteal
GPU_ARGS ?=
GPU_SITE := annotated-doc array-api-compat click diffrax equinox iniconfig jaxtyping joblib lineax markdown-it-py mdurl optax \
	optimistix packaging pluggy pygments pytest rich shellingham torchdiffeq torchsde trampoline typer typing-extensions \
	wadler-lindig
ADAPTERS ?= torchdiffeq torchsde diffrax taylor torchode jax_odeint lrnde_conformance:ReferenceDriver

.PHONY: help demo test tests test-core lint format types examples conformance docs build test-install test-oldest gpu gpu-site clean

help:
	@echo "make demo    train with and without the penalty on real digits and compare (4 minutes; ARGS=--fast for less)"
	@echo "make test    all tests, lint and types"
	@echo "make tests   the tests alone        make lint    ruff's lint and format checks"
	@echo "make test-core   the core's tests without any backend, on numpy and array-api-strict (CI runs it after make test)"
	@echo "make types   pyright                make format  format and sort imports"
	@echo "make examples      the example scripts and notebooks and the code of the documentation, with whole trainings"
	@echo "make conformance   every adapter against all laws of the protocol (ADAPTERS=... for some, ARGS=--fast for less)"
	@echo "make gpu     what a machine with a GPU is asked, in ten minutes, with the packages it has (see CONTRIBUTING.md)"
	@echo "make build   wheel and source distribution of the last commit in dist, checked for the package index"
	@echo "make test-install   the wheel in an empty environment with each extra alone (EXTRAS=... for some)"
	@echo "make test-oldest    the core, the command and the adapters with the oldest versions that pyproject.toml allows"
	@echo "make docs    the documentation      make clean   remove all that these commands made"

demo: $(STAMP)
	@$(BIN)/lrnde compare $(ARGS)

# Ruff and pyright run beside the tests, which leave a core idle while they start and end.
test: $(STAMP) $(BROWSER)
	@$(MAKE) --no-print-directory --jobs 2 lint types tests

tests: $(STAMP) $(BROWSER)
	@$(ONE_THREAD) $(COMPILE_FAST) $(BIN)/python -m pytest $(PYTEST_ARGS)

test-core: $(CORE_STAMP)
	@$(ONE_THREAD) $(CORE_BIN)/python -m pytest -p tests.shapes $(PYTEST_ARGS) tests/core

lint: $(STAMP)
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet

types: $(STAMP)
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(STAMP)
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet

# One after the other, and compiled with the usual effort.
examples: $(STAMP)
	@$(ONE_THREAD) $(BIN)/python -m pytest --quiet --capture=no --whole tests/examples tests/docs

conformance: $(STAMP)
	@$(BIN)/lrnde conformance $(ADAPTERS) $(ARGS)

docs: $(STAMP)
	@$(call PIP,$(BIN)) install --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Of the last commit, because a source distribution takes whatever lies in its folder.
build: $(STAMP)
	@$(call PIP,$(BIN)) install --editable '.[release]'
	@rm -rf build/release dist
	@mkdir -p build/release
	@git archive HEAD | tar -x -C build/release
	@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --outdir dist build/release
	@$(BIN)/twine check --strict dist/*

test-install: build
	@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(PYTHON) -m tests.release.install dist/*.whl $(EXTRAS)

test-oldest: $(OLDEST_STAMP)
	@$(ONE_THREAD) $(COMPILE_FAST) $(OLDEST_BIN)/python -m pytest $(PYTEST_ARGS) tests/core tests/cli/test_cli.py tests/cli/test_listing.py
	@$(ONE_THREAD) $(COMPILE_FAST) $(OLDEST_BIN)/lrnde conformance --fast diffrax torchdiffeq torchsde taylor

# Nothing is installed here, and $(PYTHON) is the machine's own, with its torch and jax.
gpu:
	@PYTHONPATH=benchmarks $(PYTHON) -m lrnde_gpu $(GPU_ARGS)

# To be made where there is a net, and carried along: what such a machine may lack and can be copied. With MNIST=DIR, the
# folder of its four files.
gpu-site:
	@rm -rf build/gpu-site build/mnist
	@PIP_CONSTRAINT=constraints.txt $(PYTHON) -m pip --disable-pip-version-check --quiet install --no-deps --no-compile \
		--target build/gpu-site $(GPU_SITE)
	@if [ -n "$(MNIST)" ]; then mkdir -p build/mnist && cp "$(MNIST)"/*-ubyte* build/mnist; fi
	@du -sh build/gpu-site

$(STAMP):
	@echo "Installing the pinned dependencies into .venv (a few minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(call PIP,$(BIN)) install --editable '.[dev]' $(EXAMPLES:%=--editable %)
	@rm -f .venv/installed-*
	@touch $@

$(CORE_STAMP):
	@echo "Installing what the core's tests need into .venv-core"
	@$(PYTHON) -m venv .venv-core
	@$(call PIP,$(CORE_BIN)) install --editable '.[test-core]'
	@rm -f .venv-core/installed-*
	@touch $@

# As an option: many versions of pip also build with what the variable names, and the build needs a newer packaging.
$(OLDEST_STAMP):
	@echo "Installing the oldest versions that pyproject.toml allows into .venv-oldest"
	@$(PYTHON) -m venv .venv-oldest
	@PIP_BUILD_CONSTRAINT=constraints.txt $(OLDEST_BIN)/python -m pip --disable-pip-version-check --quiet --quiet install \
		--constraint constraints-oldest.txt --editable '.[torchdiffeq,torchsde,diffrax,taylor,conformance,benchmarks,test-core]'
	@rm -f .venv-oldest/installed-*
	@touch $@

.venv/browser-%: | $(STAMP)
	@rm -f .venv/browser-*
	@if $(BIN)/python -m tests.browser.chromium; then touch $@; else echo "The tests of the HTML report are skipped."; fi

clean:
	@rm -rf .venv .venv-core .venv-oldest .pytest_cache .ruff_cache .hypothesis build dist site lrnde-compare
	@find lrnde lrnde_core lrnde_cli adapters benchmarks conformance examples tests -name __pycache__ -prune -exec rm -rf {} +
