# Needs Python >= 3.11 and make, nothing else. Everything is installed into .venv, once.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := runs/demo

.PHONY: help demo test lint bench accuracy docs minimum clean
.DELETE_ON_ERROR:

# One thread a process: the models here are so small that more only wait for each other, and tests run side by side.
demo test minimum: export OMP_NUM_THREADS ?= 1
# Or each of the many commands that tests start would compile vitkit again.
unexport PYTHONDONTWRITEBYTECODE

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

demo: $(VENV)/.installed  ## train a small transformer on digits, break it, and write a page about it in runs/demo
	@rm -rf $(RUN)
	$(BIN)/vitkit fit --config configs/image/digits.yaml --name $(notdir $(RUN))
	$(BIN)/vitkit evaluate $(RUN)/best.ckpt --suite configs/suites/quick.yaml --out $(RUN)
	@echo "The page is $(CURDIR)/$(RUN)/report.html"

test: $(VENV)/.installed-test  ## every test: unit, doctests, documentation, command line
	$(BIN)/pytest -n auto --maxprocesses 4

lint: $(VENV)/.installed-test  ## style, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-bench  ## time and memory beside timm's, as JSON in runs/bench
	@for name in encoder attention patterns startup evaluate_memory report_scale cache axial plan robustness_volume robustness_occlusion robustness_full; do $(BIN)/python benchmarks/$$name.py || exit 1; done

accuracy: $(VENV)/.installed-bench  ## accuracy of each position scheme over five seeds, in runs/bench; DATA=pneumoniamnist.npz adds X-rays
	$(BIN)/python benchmarks/accuracy.py $(if $(DATA),--data "$(DATA)")

docs: $(VENV)/.installed-docs  ## the documentation, in docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

minimum: $(VENV)-minimum/.installed  ## every test with the lowest versions that pyproject.toml allows
	$(VENV)-minimum/bin/pytest -n auto --maxprocesses 4

clean:  ## forget the environments and whatever was built; runs/ stays
	rm -rf $(VENV) $(VENV)-minimum docs/_build build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# An environment of its own, then one stamp per extra: nothing is installed again until pyproject.toml changes.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "vitkit needs Python 3.11 or later, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "No environment could be made: on Debian and Ubuntu, install python3-venv."; rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-%: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -e ".[$*]"
	@touch $@ $(VENV)/.installed

$(VENV)-minimum/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-minimum
	$(VENV)-minimum/bin/python -m pip install --disable-pip-version-check uv
	VIRTUAL_ENV=$(VENV)-minimum $(VENV)-minimum/bin/uv pip install --resolution lowest-direct -e ".[test]"
	@touch $@
