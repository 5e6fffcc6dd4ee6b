# The verbs a newcomer needs. Each works from a bare clone: the environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GALLERY ?= 1
STAMP := $(VENV)/.installed
PARITY := $(VENV)/.pyradiomics

LOWEST_PYTHON ?= python3.11
NEWEST_PYTHON ?= $(PYTHON)
INSTALL := -m pip install --quiet --disable-pip-version-check
# One worker per core, up to eight, each with one thread: threads of several workers slow each other down.
PYTEST := -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal
check test test-lowest test-newest: export OMP_NUM_THREADS ?= 1

.PHONY: demo check test test-lowest test-newest lint docs linkcheck bench speed chaos release

demo: $(STAMP)  ## phantom cohort in, comparison report out (runs/demo/report.html)
	$(BIN)/survimg benchmark --cohort phantom --truth outside --patients 160 --iterations 300 --seed 0 \
	    --protocol external --external phantom:160 --shift 0 --inner-folds 1 \
	    --models deepmts,radiomics-lasso-cox,clinical-volume-cox --out runs/demo

check: $(STAMP)  ## in a minute: style, types, imports, a test of every package
	$(BIN)/ruff check survimg tests examples benchmarks .ci
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python $(PYTEST) @tests/check.txt

test: $(STAMP) $(PARITY)  ## the fast suite, on all cores
	$(BIN)/python $(PYTEST)

test-lowest: .venv-lowest/.installed  ## the fast suite with the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python $(PYTEST)

test-newest: .venv-newest/.installed  ## the fast suite with the newest versions of all but torch
	.venv-newest/bin/python $(PYTEST)

lint: $(STAMP)  ## style, types, the import contract, known vulnerabilities of dependencies
	$(BIN)/ruff check survimg tests examples benchmarks .ci
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pip check
	$(BIN)/python .ci/audit.py

# GALLERY=0 leaves the examples out, for whoever writes text.
docs: $(STAMP)  ## the site, with every example executed, into docs/_build/html; some minutes
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	rm -rf docs/_build docs/generated docs/auto_examples
	$(BIN)/python -m sphinx -W --keep-going -b html -D plot_gallery=$(GALLERY) docs docs/_build/html

linkcheck: $(STAMP)  ## every link to another site answers; needs a network
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/python -m sphinx -W --keep-going -b linkcheck -D plot_gallery=0 docs docs/_build/linkcheck

bench: $(STAMP) $(PARITY)  ## the slow tests and the speed benchmarks; hours on two cores
	$(BIN)/python -m pytest -m slow
	for script in benchmarks/speed/*.py; do $(BIN)/python $$script; done

speed: $(STAMP)  ## says what has become slower or faster than the committed ratios by more than 15 %
	$(BIN)/python benchmarks/speed/moved.py

chaos: $(STAMP)  ## every bad input and every kill, into docs/reliability.md; over an hour of CPU
	$(BIN)/python tests/chaos/chaos.py

release: $(STAMP)  ## dist/: sdist, wheel, bill of materials (CycloneDX), SHA-256 sums
	$(BIN)/python .ci/release.py

# torch comes from the constraints file, so that pip takes the CPU build and not gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check numpy setuptools wheel -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

.venv-lowest/.installed: pyproject.toml constraints-lowest.txt
	$(LOWEST_PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python $(INSTALL) torch -c constraints-lowest.txt
	.venv-lowest/bin/python $(INSTALL) -c constraints-lowest.txt -e ".[test]"
	touch $@

# torch stays as it is in the constraints file: its newest may have no build for the CPU alone. pandas 3
# is asked for, as the newest lifelines (for tests) would otherwise keep pandas 2.
.venv-newest/.installed: pyproject.toml constraints.txt
	$(NEWEST_PYTHON) -m venv --clear .venv-newest
	.venv-newest/bin/python $(INSTALL) "$$(grep '^torch==' constraints.txt)" "pandas>=3" -e ".[test]"
	touch $@

# PyRadiomics is for the parity tests only, which skip without it. Its sdist builds without isolation
# alone, and not at all on Python 3.12 or later.
$(PARITY): $(STAMP)
	if $(BIN)/python -c "import sys; sys.exit(sys.version_info >= (3, 12))"; then \
	    $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation pyradiomics==3.0.1; \
	else \
	    echo "PyRadiomics cannot be installed on Python 3.12 or later: its parity tests will skip"; \
	fi
	touch $(PARITY)
