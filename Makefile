# Every target does its own set-up: a fresh machine needs only python3 (3.11 or newer), make and the network.
PYTHON ?= python3
SPACE  ?= spaces/pruning_ratios.yaml
# Processes that run the tests; 0 is one.
JOBS   ?= 2
READY  := .venv/.ready-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.PHONY: run test check faults setup clean
.DEFAULT_GOAL := run

run: setup
	.venv/bin/python -m search.run $(SPACE)

test: setup check
	.venv/bin/python -m pytest -n $(JOBS)

# Every fault, for real: one after the other. FAULTS_KILLS=200 kills the driver that often.
faults: setup
	.venv/bin/python -m tests.faults.table --out studies/faults/table.md

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

setup: $(READY)

# uv only speeds the installation up; byte code is compiled once here because imports of torch and diffusers
# otherwise take three times as long at every start.
$(READY):
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Slimfront needs Python 3.11 or newer, found " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11")'
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	.venv/bin/uv pip install --quiet --python .venv/bin/python --compile-bytecode -c constraints.txt --group dev -e .
	rm -f .venv/.ready-*
	touch $@

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache
