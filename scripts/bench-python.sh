#!/bin/sh
# A Python environment for benches/python_worker.py, under target/. Prints its interpreter.
set -eu
cd "$(dirname "$0")/.."
venv=target/bench/venv
if ! "$venv/bin/python" -c 'import confluent_kafka, numpy, onnxruntime, tokenizers' 2>/dev/null; then
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        confluent-kafka==2.15.0 numpy==2.4.6 onnxruntime==1.32.0 tokenizers==0.23.3 >&2
fi
echo "$venv/bin/python"
