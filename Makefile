# Needs make and Python 3.11.5 or newer; `make` alone lists what it can do.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?=
SOURCE ?= sample
DATA_DIR ?=
PROFILE ?= smoke
OUT ?= runs/$(PROFILE)
REPOSITORY ?=

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
SITE_VENV := .venv-site
SITE_READY := $(SITE_VENV)/.ready
PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3)
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11, 5))

# Sets $$python to the first interpreter that is new enough, or ends.
FIND_PYTHON = set -e; python=""; \
	for candidate in $(PYTHONS); do \
	    if "$$candidate" -c '$(NEW_ENOUGH)' 2>/dev/null; then python="$$candidate"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo "error: no Python 3.11.5 or newer found (tried: $(PYTHONS)); install one or name it: make setup PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	fi

.PHONY: help setup run gpu gpu-pack test test-slow test-all fuzz mutants bench bench-gpu notebooks badges lab site clean

help:
	@echo "make setup      make .venv with everything in it (nothing to do the second time)"
	@echo "make run        run the nine notebooks into OUT; variables SOURCE, DATA_DIR, PROFILE, OUT"
	@echo "make gpu        the paper's settings at full size, on a GPU; variables SOURCE, DATA_DIR, OUT, DEVICE, PEERS, WEIGHTS, WORKERS"
	@echo "make gpu-pack   pack code and slices for another machine that has one: build/spider_gpu.tar.gz"
	@echo "make test       ruff, mypy, the unit tests, the committed notebooks run again and compared, but for 4 to 6; coverage"
	@echo "make test-all   make test, and then what is slow (make test-slow): the tests marked so, notebooks 4 to 6"
	@echo "make fuzz       meet CASES (10000) spoilt files; a table of what came of them"
	@echo "make mutants    change what numbers come from in small ways, and see whether the tests notice"
	@echo "make bench      measure the package beside its peers, ten minutes: results/benchmarks.csv; make bench-gpu: training on CUDA"
	@echo "make notebooks  pair the notebooks with their .py files and execute them again"
	@echo "make badges     set the repository's address, REPOSITORY=owner/name, in notebooks and pages; nothing is executed"
	@echo "make lab        open JupyterLab"
	@echo "make site       build the notebooks, results and pages as a static site: build/site/index.html"
	@echo "make clean      remove .venv, .venv-site, build, mutants and caches; runs/ stays"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(FIND_PYTHON); \
	echo "making $(VENV) with $$("$$python" --version); this downloads PyTorch and takes some minutes"; \
	"$$python" -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[lab,dev]'
	@touch $@

run: setup
	$(RUN) -m spider_utils run --source $(SOURCE) $(if $(DATA_DIR),--data-dir "$(DATA_DIR)") --profile $(PROFILE) --out "$(OUT)"

# An option of tools/gpu.py for each variable that is given by hand.
told = $(if $(filter command environment,$(firstword $(origin $(1)))),--$(2) "$($(1))")
GPU_DATA = $(call told,SOURCE,source) $(call told,DATA_DIR,data-dir) $(call told,OUT,out)
NEEDS_PEER := import sys, torch; from importlib.util import find_spec; sys.exit(torch.cuda.is_available() and not find_spec("nnunetv2"))

# nnU-Net is installed where there is a GPU for it.
gpu: setup
	@[ "$(PEERS)" = no ] || $(RUN) -c '$(NEEDS_PEER)' || \
	    $(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[peers]'
	$(RUN) -m tools.gpu run $(GPU_DATA) $(call told,DEVICE,device) $(call told,PEERS,peers) $(call told,WEIGHTS,weights) $(call told,WORKERS,workers)

gpu-pack: setup
	$(RUN) -m tools.gpu pack $(GPU_DATA)

# A process a core, of one thread; the tests of a file stay in one process, where they share what is slow to make.
PYTEST := SPIDER_STATIC=1 OMP_NUM_THREADS=1 $(RUN) -m pytest
SPREAD := -n logical --maxprocesses 8 --dist loadfile

# The committed notebooks run beside the tests, in fresh run folders, so that no earlier result hides a change: those
# that need the network that notebook 4 trains beside the slow tests, the rest beside the others. Progress bars are off,
# so that outputs can be compared; no coverage follows them, as kernels do not start under it.
TRAINED := $(wildcard notebooks/0[456]_*.ipynb)
UNTRAINED := $(filter-out $(TRAINED),$(wildcard notebooks/*.ipynb))
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 1800 --nbval-kernel-startup-timeout 300

# $(call BESIDE,notebooks,checks): both, the notebooks' report last; fails where one of them fails.
BESIDE = @runs=$$(mktemp -d) && trap 'kill $$(jobs -p) 2>/dev/null; rm -rf "$$runs"' EXIT; failed=0; \
	SPIDER_RUNS="$$runs/runs" $(PYTEST) $(NBVAL) $(1) >"$$runs/notebooks.log" 2>&1 & notebooks=$$!; \
	{ $(2); } || failed=1; \
	wait $$notebooks || failed=1; cat "$$runs/notebooks.log"; exit $$failed

test: setup
	$(RUN) -m ruff check . && $(RUN) -m ruff format --check spider_utils tests tools benchmarks && $(RUN) -m mypy
	$(call BESIDE,$(UNTRAINED),COVERAGE_FILE="$$runs/.coverage" $(PYTEST) tests -m "not slow" $(SPREAD) --cov --cov-report=term:skip-covered)

test-slow: setup
	$(call BESIDE,$(TRAINED),$(PYTEST) tests -m slow $(SPREAD))

test-all: test test-slow

CASES ?= 10000
fuzz: setup
	$(RUN) -m tests.fuzz --cases $(CASES)

# One change at a time, by mutmut, in a copy below mutants/; what is settled is not done again.
mutants: setup
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(VENV)/bin/mutmut run
	$(RUN) -m tools.mutants

# Both sides of a row in turn, medians; keep the machine quiet. ROWS names some rows, RUNS how often each side runs.
RUNS ?= 5
ROWS ?=
bench: setup
	SPIDER_STATIC=1 $(RUN) -m benchmarks --runs $(RUNS) $(if $(ROWS),--rows $(ROWS))

bench-gpu: setup
	SPIDER_STATIC=1 $(RUN) -m benchmarks --device cuda --runs $(RUNS) $(if $(ROWS),--rows $(ROWS))

notebooks: setup
	OMP_NUM_THREADS=1 $(RUN) -m tools.notebooks

# pyproject.toml changes in its address alone, which needs no new set-up.
badges: setup
	@if [ -z "$(REPOSITORY)" ]; then echo "error: name it: make badges REPOSITORY=owner/name" >&2; exit 2; fi
	$(RUN) -m tools.badges "$(REPOSITORY)"
	@touch $(READY)

lab: setup
	$(RUN) -m jupyter lab notebooks

$(SITE_READY): site/requirements.txt
	@$(FIND_PYTHON); \
	echo "making $(SITE_VENV) with $$("$$python" --version), for Jupyter Book"; \
	"$$python" -m venv --clear $(SITE_VENV)
	$(SITE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r site/requirements.txt
	@touch $@

# Nothing is executed: notebooks are shown as they are committed. A link that leads nowhere ends it. From nothing each
# time, since Jupyter Book warns of a page only when it reads it.
site: $(SITE_READY)
	@rm -rf build/book build/site
	$(SITE_VENV)/bin/jupyter-book build . --quiet -W --keep-going \
	    --config site/_config.yml --toc site/_toc.yml --path-output build/book >/dev/null
	@mv build/book/_build/html build/site && rm -r build/book
	@echo "the site is ready; open build/site/index.html in a browser, or put build/site on any static host"

clean:
	rm -rf $(VENV) $(SITE_VENV) build dist mutants *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
