# Every target does its own set-up first, once per lock. After that nothing here needs a network.
#   make demo    the main job, shown        make test   every check        make quick  the checks of a minute
#   make bench   the measurements           make bench-latency  what a step waits for
#   make format make lock make clean

# One thread each: a second one on a busy machine makes small matrix products slower, not faster.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
MAKEFLAGS += --no-print-directory

PYTHON_IN := .venv/bin/python
CODE := $(wildcard src tests examples benchmarks)
PYTEST := $(PYTHON_IN) -m pytest -n auto --dist worksteal
INSIDE := $(addprefix tests/,core engine journal tasks conformance test_repository.py test_layers.py)

.PHONY: demo test quick bench bench-latency bench-solve bench-votes setup checks format lock clean

demo: setup
	@$(PYTHON_IN) examples/demo.py

test: checks
	@HYPOTHESIS_PROFILE=full $(PYTEST)

# The inside: rules, engine, journal, tasks. Models, planning and the ways in take longer, and are in `make test`.
quick: checks
	@HYPOTHESIS_PROFILE=quick $(PYTEST) -m "not slow" $(INSIDE)

bench: setup
	@$(PYTHON_IN) -m benchmarks

bench-latency: setup
	@$(PYTHON_IN) -m benchmarks.latency

bench-solve: setup
	@$(PYTHON_IN) -m benchmarks.solve

bench-votes: setup
	@$(PYTHON_IN) -m benchmarks.votes

setup:
	@scripts/setup

checks: setup
	@scripts/stage format $(PYTHON_IN) -m ruff format --check .
	@scripts/stage lint $(PYTHON_IN) -m ruff check .
	@scripts/stage types $(PYTHON_IN) -m mypy --no-error-summary $(CODE)
	@scripts/stage layers .venv/bin/lint-imports --no-logo

format: setup
	@$(PYTHON_IN) -m ruff format .
	@$(PYTHON_IN) -m ruff check --fix .

lock:
	@scripts/lock --upgrade

clean:
	@rm -rf .venv .wheelhouse .wheelhouse.part dist build .coverage .benchmarks
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
