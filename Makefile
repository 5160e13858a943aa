# make demo ARGS="--seed 3"   the whole loop drives to five goals, then a report
# make test                   lint, types, coverage of control, unit tests, ROS graph tests
# make mutation ARGS="--sample 300 --seed 1"   would the tests notice if control were wrong?
# make figures ARGS="--only loop,calibrate"   measure the figures of the README again
# make lint | coverage | bench | soak | test-numpy1 | venv | clean   soak: ARGS="--minutes 60"
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint coverage mutation bench figures soak test-numpy1 venv clean

ARGS ?=
REQUIREMENTS := requirements.txt requirements-dev.txt constraints.txt setup.py Makefile
# The environment is made again when a requirement or the place of the checkout changes.
KEY := $(shell (cat $(REQUIREMENTS); pwd) | sha256sum | cut -c1-12)
READY := .venv/ready-$(KEY)
KEY1 := $(shell (cat requirements-ros.txt requirements-dev.txt constraints-ros.txt Makefile; pwd) \
	| sha256sum | cut -c1-12)
READY1 := .venv-numpy1/ready-$(KEY1)
TORCH := $(shell grep '^torch==' constraints.txt)
PIP := -m pip --disable-pip-version-check --quiet install

help:
	@sed -n '1,5s/^# //p' Makefile

demo: $(READY)
	@.venv/bin/karpathy-control demo $(ARGS)

test: $(READY)
	@.venv/bin/python test/run.py $(ARGS)

lint: $(READY)
	@.venv/bin/ruff check .
	@.venv/bin/mypy

# Lines and branches of karpathy_control/control, run as plain Python; less than all is an error.
coverage: $(READY)
	@mkdir -p build
	@NUMBA_DISABLE_JIT=1 OMP_NUM_THREADS=1 .venv/bin/coverage run -m pytest -q test/control
	@.venv/bin/coverage report

mutation: $(READY)
	@.venv/bin/python test/mutation.py $(ARGS)

bench: $(READY)
	@.venv/bin/karpathy-control bench $(or $(ARGS),loop)

figures: $(READY)
	@.venv/bin/karpathy-control figures $(ARGS)

soak: $(READY)
	@.venv/bin/karpathy-control soak $(ARGS)

venv: $(READY)

$(READY):
	@python=$$(.ci/check_host); \
	echo "environment in .venv: a few minutes the first time"; \
	[ -x .venv/bin/python ] && .venv/bin/python -c '' || "$$python" -m venv --clear .venv
	@.venv/bin/python $(PIP) $(TORCH) setuptools
	@.venv/bin/python $(PIP) -c constraints.txt -r requirements.txt -r requirements-dev.txt
	@PYTHONWARNINGS=ignore .venv/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@.venv/bin/python -m karpathy_control.bringup.warmup
	@rm -f .venv/ready-* && touch $@

# The NumPy of Ubuntu 24.04 with what goes with it; unit tests only, there is no ROS in it.
test-numpy1: $(READY1)
	@OMP_NUM_THREADS=1 .venv-numpy1/bin/python -m pytest test --ignore=test/ros \
		--ignore=test/nodes -m 'not ros' -q $(ARGS)

$(READY1):
	@python=$$(.ci/check_host); \
	[ -x .venv-numpy1/bin/python ] && .venv-numpy1/bin/python -c '' \
		|| "$$python" -m venv --clear .venv-numpy1
	@.venv-numpy1/bin/python $(PIP) $(TORCH) setuptools
	@.venv-numpy1/bin/python $(PIP) -c constraints-ros.txt -r requirements-ros.txt \
		-r requirements-dev.txt scipy opencv-python-headless matplotlib pyyaml xacro
	@rm -f .venv-numpy1/ready-* && touch $@

clean:
	rm -rf .venv .venv-numpy1 build install log *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
