# make demo: the main job, from a fresh clone; make test: everything that must hold. Both need Python and make alone.
PYTHON ?= python3
BIN := .venv/bin
# Compiled modules are kept: tests start many processes, and pytest takes long to make its own form of the tests.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install dev demo test lint docs format clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.installed: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[local]'
	@touch $@

.venv/.dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[local,dev]'
	@touch $@

install: .venv/.installed  ## make .venv and install the package with the local model's server

dev: .venv/.dev  ## install the tools for tests and checks as well

demo: install  ## compile the demo task on the local 1.5B model and print what came out
	$(BIN)/pld-dspy demo --out runs/demo

test: dev  ## run all tests, then those on a real local model, which needs the processor for itself
	$(BIN)/python -m pytest --ignore tests/real_model -n 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest tests/real_model

lint: dev  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/.docs: .venv/.installed
	$(BIN)/python -m pip install --quiet --editable '.[local,docs]'
	@touch $@

docs: .venv/.docs  ## build the documentation into build/site; a warning or a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

format: dev  ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment and what runs left behind (models stay in the cache)
	rm -rf .venv build dist runs mlruns mlflow.db
