# `make` or `make help` lists what can be done. Every target first installs what it needs into .venv, once for each
# state of pyproject.toml. The variable PYTHON chooses the interpreter: make PYTHON=python3.13 test

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# With uv installed, packages come faster; plain pip does the same. Neither compiles what is never imported to bytecode,
# which takes half of an installation with torch.
INSTALL := $(if $(shell command -v uv 2>/dev/null),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check)

# Everything here runs on the CPU; what numba and JAX compile is kept beside the packages that compiled it.
export JAX_PLATFORMS ?= cpu
export NUMBA_CACHE_DIR ?= $(CURDIR)/$(VENV)/numba
export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/$(VENV)/jax
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1

# Programs that JAX compiles run a few times only in tests: compiling them with less effort takes less time altogether.
QUICK_XLA := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true
PYTEST := XLA_FLAGS="$(QUICK_XLA) $$XLA_FLAGS" $(BIN)/python -m pytest -n 2 --dist loadfile
ifndef DEMO_NAME
DEMO_NAME := demo-$(shell date +%Y%m%d-%H%M%S)
endif
DEMO_STEPS ?= 1e6

.DEFAULT_GOAL := help
.PHONY: help venv test test-quick test-all test-integrations lint docs demo bench clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.installed-core  ## make .venv with the package itself

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "PowerGrid needs Python 3.11 or newer; choose one with: make PYTHON=python3.13 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-core: pyproject.toml | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-%: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[$*]'
	@touch $@

# A fixed seed here, so that the same commit passes or fails the same way; test-all draws new property cases each time.
test: $(VENV)/.installed-test  ## run the tests, without the slow ones
	$(PYTEST) --hypothesis-seed=0

# What may differ between versions of Python and of numba: compiling, the power flow, the step, environments.
QUICK := tests/unit/test_package.py tests/unit/core tests/conformance/test_one_preset.py \
	$(addprefix tests/unit/engine/test_,results.py ahead.py fused.py random.py step.py symbols.py) \
	$(addprefix tests/unit/powerflow/test_,sparse_lu.py newton.py) tests/unit/envs/test_reset.py \
	'tests/conformance/test_environments.py::test_numpy_and_jax_play_the_same_episode[ieee13_single]'
test-quick: $(VENV)/.installed-test  ## a few minutes of tests that tell versions of Python apart
	$(PYTEST) --hypothesis-seed=0 $(QUICK)

test-all: $(VENV)/.installed-test  ## run all tests, the slow ones too
	$(PYTEST) -m ''

# Learning libraries hold back each other's versions, so they get two environments of their own; those of the second one
# hold gymnasium back. Sweeps are tested where Ray and Dask are. MARKS='not slow' leaves out what takes a minute each.
INTEGRATIONS := integrations integrations-held
MARKS ?=
integrations := stable_baselines3 cleanrl skrl tianshou benchmarl sweep_dask sweep_search
integrations-held := rllib torchrl jaxmarl gymnax sweep_ray
test-integrations: $(INTEGRATIONS:%=tested-%)  ## train with other learning libraries, in .venv-integrations(-held)
	$(PYTHON) scripts/libraries.py

tested-%:
	@$(MAKE) --no-print-directory VENV=.venv-$* .venv-$*/.installed-$*
	OMP_NUM_THREADS=1 .venv-$*/bin/python -m pytest -n 2 --dist loadfile -m '$(MARKS)' $($*:%=tests/integrations/test_%.py)

# Tianshou asks for an older deepdiff than pandapower and runs with both, so it comes without its dependencies.
$(VENV)/.installed-integrations: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[integrations]'
	$(INSTALL) --no-deps 'tianshou==2.0.1'
	@touch $@

lint: $(VENV)/.installed-dev  ## style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs  ## build docs/_build/html; warnings are errors
	$(BIN)/sphinx-build -W --keep-going -q -j 2 -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "docs/_build/html/index.html"

demo: $(VENV)/.installed-demo  ## train three microgrids, compare with the operators' rules, write a report
	$(BIN)/powergrid train p2p_microgrids --steps $(DEMO_STEPS) --out runs/$(DEMO_NAME)
	$(BIN)/powergrid evaluate runs/$(DEMO_NAME) --policy learned --policy rule_based --policy random --report
	@echo "report: runs/$(DEMO_NAME)/report.html"

bench: $(VENV)/.installed-test  ## measure speeds on this machine
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:  ## remove .venv, caches and built files; runs/ stays
	rm -rf $(VENV) $(INTEGRATIONS:%=.venv-%) docs/_build docs/jupyter_execute docs/reference/generated dist build
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
	find powergrid tests scripts bench -name __pycache__ -type d -prune -exec rm -rf {} +
