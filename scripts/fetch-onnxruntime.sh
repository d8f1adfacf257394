#!/usr/bin/env bash
# Fetches the pinned ONNX Runtime library out of the `onnxruntime` wheel, by name and digest, into
# .cache/onnxruntime/VERSION/libonnxruntime.so of this repository. Does nothing where it is there already.
#
#   scripts/fetch-onnxruntime.sh
#
# pip is only the downloader: the package index is whatever pip is configured for. The library is
# built for glibc 2.28 or later. PYTHON names the interpreter (default: python3); another
# architecture than x86_64 is untried and wants the wheel's digest in ONNXRUNTIME_WHEEL_SHA256.
set -euo pipefail

version=1.32.0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$root/.cache/onnxruntime/$version/libonnxruntime.so
python=${PYTHON:-python3}

fail() { echo "fetch-onnxruntime: $*" >&2; exit 1; }

[ -s "$target" ] && exit 0

machine=$(uname -m)
[ "$(uname -s)" = Linux ] || fail "only Linux is pinned; set model.library or ORT_DYLIB_PATH to your own ONNX Runtime"
case $machine in
    x86_64) digest=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d ;;
    aarch64)
        digest=${ONNXRUNTIME_WHEEL_SHA256:-}
        [ -n "$digest" ] || fail "$machine is untried: set ONNXRUNTIME_WHEEL_SHA256 to the digest of the wheel that you trust"
        echo "fetch-onnxruntime: $machine is untried" >&2 ;;
    *) fail "no pinned ONNX Runtime for $machine; set model.library or ORT_DYLIB_PATH to your own" ;;
esac
"$python" -m pip --version >/dev/null 2>&1 ||
    fail "$python has no pip: install it, or set PYTHON, or put libonnxruntime.so at $target yourself"

mkdir -p "$(dirname "$target")"
scratch=$(mktemp -d "$(dirname "$target")/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# The ABI tag picks one wheel of several; the library inside does not depend on Python.
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 311 --platform "manylinux_2_28_$machine" \
    "onnxruntime==$version" -d "$scratch" >&2 || fail "pip could not download onnxruntime==$version"

wheel=$(echo "$scratch"/onnxruntime-"$version"-*.whl)
[ -f "$wheel" ] || fail "pip downloaded no wheel"
echo "$digest  $wheel" | sha256sum --check --status ||
    fail "the wheel's sha256 is $(sha256sum "$wheel" | cut -d' ' -f1), expected $digest: refusing it"

"$python" - "$wheel" "onnxruntime/capi/libonnxruntime.so.$version" "$scratch/library" <<'PYTHON'
import shutil, sys, zipfile
wheel, member, out = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(out, "wb") as sink:
    shutil.copyfileobj(source, sink)
PYTHON
chmod 644 "$scratch/library"
mv -f "$scratch/library" "$target"   # same file system: nobody ever sees half a library
echo "fetch-onnxruntime: $target" >&2
