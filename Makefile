# Everything a person or CI calls. Each target prepares what it needs.
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench build prepare onnxruntime kafka clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

demo: prepare onnxruntime ## real text through an embedded Kafka and SqueezeBERT, in the terminal
	cargo run --quiet --bin squeezeflow -- demo

test: prepare onnxruntime kafka ## all tests, a real Apache Kafka among them
	cargo test --no-fail-fast

lint: prepare ## formatting, clippy and docs, warnings denied
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

bench: prepare onnxruntime ## texts per second of the bundled model and of the stages; release build
	cargo bench

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

clean: ## what was built and fetched
	rm -rf target .cache
