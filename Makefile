# One environment, .venv, serves the notebooks and the tests. It is made once: the stamp's name holds a
# checksum of the pins and of this folder's path, so that only a changed pin or a moved folder installs again.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PY := .venv/bin/python
KEY := $(shell (pwd; cat requirements.txt pyproject.toml tools/jupyterlab_overrides.json) | cksum)
STAMP := .venv/installed-$(firstword $(KEY))
BENCH_KEY := $(shell cksum < benchmarks/requirements.txt)
BENCH_STAMP := .venv-bench/installed-$(firstword $(KEY))-$(firstword $(BENCH_KEY))
CELL_TIMEOUT := 300# seconds that one notebook cell may take under test
TEST_JOBS := 2# processes, one a core; a third makes browsers wait. A file's tests stay together (a notebook's share a kernel)

# The course's networks are tiny: one thread is as fast as several, and leaves the others to the browser.
lab present test site figures notebooks: export OMP_NUM_THREADS ?= 1
# The kernel called python3 is the environment's, whatever kernels a person or another program has installed.
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_PATH := $(CURDIR)/.venv/share/jupyter
export PYTHONNOUSERSITE := 1
unexport PYTHONDONTWRITEBYTECODE# thirty kernels and processes of a test run read what one has compiled

.PHONY: help lab present test test-all site doctor bench notebooks figures clean

help:             ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 18

lab: $(STAMP)     ## install what is missing, open JupyterLab on the first notebook (LAB_ARGS="--port 9000")
	@set -- --LabApp.log_level=WARN --ServerApp.log_level=WARN --ServerApp.answer_yes=True; \
	if [ "$$(id -u)" = 0 ]; then set -- "$$@" --allow-root; fi; \
	screen="$$DISPLAY$$WAYLAND_DISPLAY$$BROWSER"; \
	if [ "$$(uname)" = Linux ] && [ -z "$$screen" ]; then set -- "$$@" --no-browser; fi; \
	echo "Starting JupyterLab: open the address below in a browser. Ctrl-C stops it."; \
	exec $(PY) -m jupyter lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb "$$@" $(LAB_ARGS)

present: $(STAMP) ## the demos full screen, for a lecture hall (PRESENT_ARGS="--chapter 03")
	@exec $(PY) -m course_lib present $(PRESENT_ARGS)

test: $(STAMP)    ## library tests, doctests, every notebook and the browser tests (TEST_ARGS="-k maml")
	$(PY) -m pytest -q -rs tests course_lib $(wildcard notebooks) \
	    --nbval-lax --nbval-current-env --nbval-cell-timeout=$(CELL_TIMEOUT) \
	    -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder --continue-on-collection-errors --durations=10 $(TEST_ARGS)

test-all: $(STAMP) ## make test, and what takes hours: every network, every fault as often as TRUST.md says
	$(MAKE) test TEST_ARGS="--long $(TEST_ARGS)"

site: $(STAMP)    ## the course as web pages whose sliders move, into build/site (SITE_ARGS="OUT --only 03")
	$(PY) -m course_lib site $(SITE_ARGS)

doctor: $(STAMP)  ## say in plain words what is right and wrong on this machine
	@$(PY) -m course_lib doctor

bench: $(BENCH_STAMP) ## time and memory of each method beside other libraries' (BENCH_ARGS="--help")
	.venv-bench/bin/python benchmarks/run.py $(BENCH_ARGS)

notebooks: $(STAMP) ## run every notebook from top to bottom and save its outputs (NAMES="01 03")
	$(PY) tools/notebooks.py $(NAMES)

figures: $(STAMP) ## draw the lecture's figures anew
	$(PY) figures/draw.py

clean:            ## remove the environments and everything that can be made again (data/ and runs/ stay)
	rm -rf .venv .venv-bench build dist *.egg-info .pytest_cache
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

.venv/installed-%:
	@tools/make_venv.sh .venv $(PYTHON)
	$(PY) -m pip install -r requirements.txt
	@mkdir -p .venv/share/jupyter/lab/settings
	@cp tools/jupyterlab_overrides.json .venv/share/jupyter/lab/settings/overrides.json
	@rm -f .venv/installed-* && touch $@

.venv-bench/installed-%: $(STAMP)
	$(PY) -m venv --clear .venv-bench
	$(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
	    "$$(.venv-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/course.pth"
	.venv-bench/bin/python -m pip install -r benchmarks/requirements.txt
	@touch $@
