# Every target installs what it needs and says so. See README.md.
SHELL := /bin/bash
PY := .venv/bin/python

.PHONY: help install guests postgres demo test test-all test-az lint bench
help:
	@sed -n 's/^\([a-z-]*\):.*## /\1 — /p' Makefile

install: ## .venv with holdfast and azurelab, pinned by requirements.lock
	@scripts/install.sh python

guests: install ## QEMU and the guest image (built once, then cached)
	@scripts/install.sh guests
	@.venv/bin/azurelab guest-image

postgres: install
	@scripts/install.sh postgres

demo: guests ## the main job on azurelab: import a running machine, kill the server, finish, undo
	@$(PY) -m holdfast.demo

lint: install
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(PY) scripts/check_house.py

test: guests postgres lint ## lint, types and the default suite
	@scripts/test.sh "not slow and not az and not chaos and not live"

test-all: guests postgres lint ## everything, the slow, the chaotic and az included
	@scripts/test.sh "not az and not live"
	@$(MAKE) test-az

test-az: install ## the real azure-cli, in an environment of its own
	@scripts/azure_cli.sh
	@$(PY) -m pytest -m az

bench: guests
	@$(PY) -m benchmarks
