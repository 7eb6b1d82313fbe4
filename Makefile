# One command from a bare Debian machine (git, make, python3): `make demo`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
RECIPE ?= recipes/digits/recipe.toml
SCRIPTS := scripts/bootstrap scripts/clean-room scripts/relock \
	$(addprefix .github/actions/setup/bin/,compare-builds forget-referrers smoke-summary)
PYTEST_FLAGS ?=

.PHONY: help demo test lint bootstrap bootstrap-tests format relock clean-room clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 - /p' $(MAKEFILE_LIST)

demo: bootstrap ## install what is missing, then build recipes/digits
	$(PYTHON) -m buildkit build $(RECIPE)

test: bootstrap-tests ## install what is missing, then run every check and every test
	@$(MAKE) --no-print-directory lint
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_FLAGS)

lint: bootstrap-tests ## ruff, mypy, and zizmor on the workflows
	$(PYTHON) -m ruff check . $(SCRIPTS)
	$(PYTHON) -m ruff format --check . $(SCRIPTS)
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy --scripts-are-modules $(SCRIPTS)
	.venv/bin/zizmor --offline --quiet .github

format: bootstrap-tests ## rewrite the sources in the project's form
	$(PYTHON) -m ruff format . $(SCRIPTS)

bootstrap: ## install what a build needs
	@scripts/bootstrap

bootstrap-tests: ## install what the tests need
	@scripts/bootstrap --tests

relock: ## write requirements/*.lock again from pyproject.toml
	scripts/relock

clean-room: ## `make demo` of the last commit on a bare Debian, apart from this machine
	scripts/clean-room

clean: ## remove .venv, stores of the recipes and caches (the Nix store stays)
	rm -rf .venv .buildkit .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
