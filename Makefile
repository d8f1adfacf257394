# Everything a person or CI calls. Each target prepares what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo test screenshot browser accounted chaos fuzz lint check-deploy bench bench-stages build prepare onnxruntime kafka clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

demo: prepare onnxruntime ## real text through an embedded Kafka and SqueezeBERT, in the terminal
	cargo run --quiet --bin squeezeflow -- demo

test: prepare onnxruntime kafka browser ## all tests, a real Apache Kafka and a real browser among them
	cargo test --no-fail-fast

screenshot: prepare onnxruntime kafka browser ## the pictures of the page in docs/, anew; some minutes
	SQUEEZEFLOW_SCREENSHOT=1 cargo test --test page its_pictures -- --nocapture

accounted: prepare onnxruntime kafka ## 100,000 records of every kind through a real Kafka, each accounted for
	SQUEEZEFLOW_ACCOUNTED=100000 cargo test --test kafka accounted -- --nocapture --test-threads 1

chaos: prepare onnxruntime kafka ## exactly-once under every fault, with full numbers; three brokers, 50 minutes
	CHAOS=full cargo test --test chaos -- --include-ignored --test-threads 1

# `make test` runs the same bodies for seconds. This wants a nightly Rust and cargo-fuzz.
SECONDS = 600
fuzz: prepare ## the fuzz targets for ten minutes each, on and on from what earlier runs found
	for target in decode_and_splice configuration; do mkdir -p fuzz/found/$$target && \
	cargo +nightly fuzz run --sanitizer none $$target fuzz/found/$$target fuzz/corpus/$$target -- \
	-max_total_time=$(SECONDS) -dict=fuzz/$$target.dict -timeout=10 -rss_limit_mb=1024 || exit 1; done

lint: prepare ## formatting, clippy and docs, warnings denied
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

check-deploy: ## Dockerfile, compose file, manifests, alerts and collector, each past its own tool
	@scripts/check-deploy.sh

bench: prepare onnxruntime kafka ## all figures of docs/BENCHMARKS.md, anew: an hour or more; ROUNDS=3 for a first look
	cargo bench --bench model
	cargo bench --bench flow
	cargo bench --bench delivery
	cargo bench --bench tracing

bench-stages: prepare onnxruntime ## each stage alone, for who works on one
	cargo bench --bench stages

build: prepare onnxruntime ## the release program, with ONNX Runtime beside it
	cargo build --release
	cp -f .cache/onnxruntime/*/libonnxruntime.so target/release/

prepare: ## what the build needs from the system
	@scripts/prepare.sh

onnxruntime: ## the pinned ONNX Runtime library, from its wheel on PyPI
	@scripts/fetch-onnxruntime.sh

kafka: ## the pinned Apache Kafka for the tests, from Maven Central
	@scripts/prepare.sh kafka
	@scripts/fetch-kafka.sh

browser: ## Chromium for the page's tests, where it may be installed
	@scripts/prepare.sh browser

clean: ## what was built and fetched
	rm -rf target .cache
