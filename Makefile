# The front door: `make demo` shows it, `make test` proves it. Both install what is missing first.
# Everything that is built goes to CARGO_TARGET_DIR, outside the clone, and is shared by all targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test crash churn load writers bench bench-git bench-mcp bench-photos bench-queue bench-search bench-serve bench-service bench-sql tidy lint fmt build-times clean

export DKC_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dkc
export CARGO_TARGET_DIR ?= $(DKC_CACHE)/target
# Where tests find the real mails, a Python that has DuckDB and polars, and node packages; scripts/setup.sh fills them.
export DKC_CORPUS ?= $(DKC_CACHE)/corpus/package/data
export DKC_PYTHON ?= $(DKC_CACHE)/venv/bin/python
export DKC_NPM ?= $(DKC_CACHE)/npm

# nextest where it is installed; it leaves out the examples in doc comments, so those run after it.
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: ## Build, collect a generated mailbox into ./demo, show answers from it
	@scripts/setup.sh build
	@scripts/demo.sh

test: ## Run all tests, after installing what they need
	@scripts/setup.sh test
	cargo fmt --all --check
	cargo $(if $(NEXTEST),nextest run,test) --workspace --no-fail-fast
	$(if $(NEXTEST),cargo test --workspace --doc)

crash: ## Kill dkc at 670 moments, cut the power at 200, flip 200 bits, check the order of 200 commits
	@scripts/setup.sh test
	DKC_KILLS=100 DKC_WRITES=300 DKC_COMMITS=200 DKC_CUTS=200 DKC_SEEDS=20 DKC_FLIPS=200 \
	cargo test --workspace --test it -- --test-threads 2 contracts:: crash:: cursor:: power:: flipped

churn: ## Collect a mailbox for ten minutes while it is changed, and compare it 20 times
	@scripts/setup.sh test
	DKC_CHURN_SECS=30 DKC_CHECKPOINTS=20 cargo test --workspace --test it -- --nocapture churn::

writers: ## Have eight processes write 400 commits to one lake, merge beside them; kill services on Postgres during 500 runs
	@scripts/setup.sh test
	DKC_WRITER_COMMITS=50 DKC_COMPACTIONS=20 DKC_QUEUED_RUNS=500 \
	cargo test --workspace --test it -- --nocapture writers:: workers::

load: ## Have 500 agents ask 20,000 times over HTTP, 40 by processes of their own, and 200 clients of all kinds for a minute
	@scripts/setup.sh test
	DKC_LOAD_CALLS=20000 DKC_LOAD_AT_ONCE=500 DKC_LOAD_AGENTS=40 DKC_LOAD_SECONDS=60 \
	cargo test --workspace --test it -- --nocapture load::

tidy: ## Check the shape of the tree: layers, headers, lengths, links
	cargo tidy

lint: ## Run clippy as CI does: a warning is an error
	cargo lint

fmt: ## Format all Rust files
	cargo fmt --all

bench: ## Measure speed and memory beside mu, notmuch, mbsync and Python; QUICK=1 leaves out 60,000 mails
	@scripts/setup.sh bench
	cargo build-dkc
	$(DKC_PYTHON) benches/run.py $(if $(QUICK),--quick)

bench-git: ## Measure how fast git history is read, beside git and GitPython
	@scripts/setup.sh bench
	cargo build-dkc
	$(DKC_PYTHON) benches/git_history.py

bench-mcp: ## Measure what agents wait for, beside FastMCP and node; then what the tools cost in tokens
	@scripts/setup.sh bench
	cargo build-dkc
	test -x $(DKC_CACHE)/fastmcp/bin/python || python3 -m venv $(DKC_CACHE)/fastmcp
	$(DKC_CACHE)/fastmcp/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: fastmcp==4.2.3
	$(DKC_PYTHON) benches/mcp_peers.py --fastmcp $(DKC_CACHE)/fastmcp/bin/python
	$(DKC_PYTHON) benches/mcp_tokens.py

bench-photos: ## Measure how fast photos are read, beside Pillow, exiv2, exifread and exiftool
	@scripts/setup.sh bench
	cargo build-dkc
	$(DKC_PYTHON) benches/photos.py

bench-queue: ## Measure the queue: runs a second, delay, idling with 10,000 schedules; also on DKC_BENCH_POSTGRES
	@scripts/setup.sh bench
	cargo bench --workspace --profile dev --bench queue --bench publish

bench-service: ## Measure the service as it is left alone: memory, CPU, writing, growth
	@scripts/setup.sh bench
	cargo build-dkc
	$(DKC_PYTHON) benches/service.py

bench-search: ## Measure search beside ONNX Runtime, Chroma and FAISS; at first it embeds 60,000 texts, which takes long
	@scripts/setup.sh bench
	cargo build-dkc
	cargo bench --workspace --profile dev --bench search -- fill enlarge peers
	for what in static transformer near words large; do cargo bench --workspace --profile dev --bench search -- $$what; done
	test -x $(DKC_CACHE)/searchpeers/bin/python || python3 -m venv $(DKC_CACHE)/searchpeers
	$(DKC_CACHE)/searchpeers/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: onnxruntime==1.32.0 tokenizers==0.23.3 numpy==2.4.6 chromadb==1.5.9 faiss-cpu==1.15.1
	$(DKC_CACHE)/searchpeers/bin/python benches/search_peers.py
	$(DKC_PYTHON) benches/search_service.py

bench-serve: ## Measure how many pages of rows the gateway gives, beside FastAPI, Datasette and roapi
	@scripts/setup.sh bench
	cargo build-dkc
	test -x $(DKC_CACHE)/servepeers/bin/python || python3 -m venv $(DKC_CACHE)/servepeers
	$(DKC_CACHE)/servepeers/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: pyarrow==26.0.1 fastapi==0.165.0 'uvicorn[standard]==0.54.0' asyncpg==0.32.0 orjson==3.13.0 datasette==0.65.5 roapi==0.12.7
	$(DKC_CACHE)/servepeers/bin/python benches/serve_peers.py

bench-sql: ## Measure how fast questions are answered, beside DuckDB over the same files
	@scripts/setup.sh bench
	cargo build-dkc
	$(DKC_PYTHON) benches/sql.py

build-times: ## Measure a warm build, and a one-line change to a collector rebuilt and tested
	@scripts/setup.sh build
	@scripts/build_times.sh

clean: ## Remove ./demo; what cargo built and the cache stay
	rm -rf demo
