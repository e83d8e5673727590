PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= $(shell expr 2 \* $$(nproc))  # as many tests wait for a network or a clock
SEED ?=  # of the order of the tests; at random unless it is given

.PHONY: help demo test check budgets bench image clean

help:
	@echo "make demo    load a model from an embedded server, kill it half-way, resume, verify"
	@echo "make test    the whole suite, in an order at random that it prints as a seed; SEED=N repeats one"
	@echo "make check   ruff, mypy --strict, import-linter"
	@echo "make budgets the numbers that keep the layout small; fails if one is exceeded"
	@echo "make bench   speed and memory beside s5cmd, rclone, curl, aria2c, hf and modelscope"
	@echo "make image   the container image, with podman, buildah or docker"

$(BIN)/dsload: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	@touch $@

$(VENV)/dev: $(BIN)/dsload
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'  # the first that knows --group
	$(BIN)/pip install --quiet --editable '.[ssh,conda]' --group dev
	@touch $@

$(VENV)/bench: $(VENV)/dev
	$(BIN)/pip install --quiet --group bench
	@touch $@

demo: $(BIN)/dsload
	$(BIN)/python examples/demo.py demo-volume

test: $(VENV)/dev
	$(BIN)/pytest --numprocesses=$(WORKERS) --dist=worksteal $(SEED:%=--randomly-seed=%)

check: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

budgets: $(VENV)/dev
	@$(BIN)/python -m tests.budgets

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks

CONTAINER_TOOL := $(firstword $(foreach tool,podman buildah docker,$(if $(shell command -v $(tool)),$(tool))))
BASE ?= docker.io/library/python:3.13-slim
TAG ?= dsload:latest
BUILD_FLAGS ?=

image:
	@test -n "$(CONTAINER_TOOL)" || { echo "make image needs podman, buildah or docker" >&2; exit 1; }
	$(CONTAINER_TOOL) build --file Containerfile --build-arg BASE=$(BASE) --tag $(TAG) \
	    --build-arg VERSION=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' dsload/__init__.py) \
	    --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null) $(BUILD_FLAGS) .

clean:
	rm -rf $(VENV) demo-volume .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
