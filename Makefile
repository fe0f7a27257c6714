# One command each to build, test, benchmark, lint and debug. `make help` lists them.
PYTHON ?= python
PYTEST_ARGS ?= -q
SANITIZERS = $(shell $(or $(CC),gcc) -print-file-name=libasan.so) \
             $(shell $(or $(CC),gcc) -print-file-name=libubsan.so)
C_FILES = $(shell find src_c tests/c -name '*.[ch]')
CYTHON_FILES = $(wildcard bncore/*.pyx bncore/*.pxi bncore/*.pxd)

.PHONY: help build test bench lab lint format debug clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

build:  ## editable install with the compiled core (a failed compile is fatal) and what the tests need
	BNCORE_REQUIRE_EXT=1 $(PYTHON) -m pip install -e ".[test]"

test:  ## run the suite (PYTEST_ARGS="-q -x tests/norm" to narrow it)
	$(PYTHON) -m pytest $(PYTEST_ARGS)

bench:  ## time all norms, recurrent layers, population statistics and whole nets, compare folding, then renew the README's tables and pictures
	$(PYTHON) benchmarks/bench_norm.py --json benchmarks/results/norm.json
	$(PYTHON) benchmarks/bench_family.py --json benchmarks/results/family.json
	$(PYTHON) benchmarks/bench_population.py --json benchmarks/results/population.json
	$(PYTHON) benchmarks/bench_isa.py --json benchmarks/results/isa.json
	$(PYTHON) benchmarks/bench_conv.py --json benchmarks/results/conv.json
	$(PYTHON) benchmarks/bench_train.py --json benchmarks/results/train.json
	$(PYTHON) benchmarks/bench_infer.py --json benchmarks/results/infer.json
	$(PYTHON) benchmarks/bench_fold.py --json benchmarks/results/fold.json
	for table in norm rows family population conv train infer fold; do $(PYTHON) benchmarks/table.py --table $$table || exit 1; done
	for picture in norm train infer fold; do $(PYTHON) benchmarks/plot.py --picture $$picture || exit 1; done

lab:  ## run every experiment, then renew the README's table and pictures of the lab
	mkdir -p build
	$(PYTHON) -m bncore lab all --out build/lab --force
	cp build/lab/bncore-lab.json benchmarks/results/lab.json
	for name in speed grid; do cp build/lab/$$name-1.png benchmarks/results/lab-$$name.png || exit 1; done
	$(PYTHON) benchmarks/table.py --table lab

lint:  ## what CI checks; tools: python -m pip install -r .ci/lint.txt
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy bncore
	cython-lint $(CYTHON_FILES)
	clang-format --dry-run -Werror $(C_FILES)

format:  ## apply the formatters
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	clang-format -i $(C_FILES)

debug:  ## rebuild in place with symbols, sanitizers and bounds checks, then run the suite under them
	BNCORE_DEBUG=1 BNCORE_REQUIRE_EXT=1 $(PYTHON) setup.py build_ext --inplace
	LD_PRELOAD="$(SANITIZERS)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1 \
	    $(PYTHON) -m pytest $(PYTEST_ARGS) -p no:cacheprovider
	@echo "the debug build is still in place; 'make build' brings the fast one back"

clean:  ## remove what builds and tests leave behind
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f bncore/_native.c bncore/_build_info.json bncore/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
