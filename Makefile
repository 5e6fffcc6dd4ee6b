# The verbs a newcomer needs. Each works from a bare clone: the environment is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
GALLERY ?= 1
STAMP := $(VENV)/.installed
PARITY := $(VENV)/.pyradiomics

.PHONY: demo test lint docs linkcheck bench chaos

demo: $(STAMP)  ## phantom cohort in, comparison report out (runs/demo/report.html)
	$(BIN)/survimg benchmark --cohort phantom --models deepmts,radiomics-lasso-cox,clinical-volume-cox \
	    --folds 3 --seed 0 --out runs/demo

test: $(STAMP) $(PARITY)  ## the fast suite
	$(BIN)/python -m pytest

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

chaos: $(STAMP)  ## every bad input and every kill, into docs/reliability.md; three minutes of CPU
	$(BIN)/python tests/chaos/chaos.py

# torch comes from the constraints file, so that pip takes the CPU build and not gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check numpy setuptools wheel -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check torch -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

# PyRadiomics is for the parity tests only, which skip without it. Its sdist builds without isolation
# alone, and not at all on Python 3.12 or later.
$(PARITY): $(STAMP)
	if $(BIN)/python -c "import sys; sys.exit(sys.version_info >= (3, 12))"; then \
	    $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation pyradiomics==3.0.1; \
	else \
	    echo "PyRadiomics cannot be installed on Python 3.12 or later: its parity tests will skip"; \
	fi
	touch $(PARITY)
