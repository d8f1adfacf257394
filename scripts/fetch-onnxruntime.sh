#!/usr/bin/env bash
# Fetches the pinned ONNX Runtime library out of the `onnxruntime` wheel, by name and digest, into
# .cache/onnxruntime/VERSION/libonnxruntime.so of this repository. Does nothing where it is there already.
#
#   scripts/fetch-onnxruntime.sh
#   scripts/fetch-onnxruntime.sh gpu     # with the CUDA provider, of the `onnxruntime-gpu` wheel, into
#                                        # .cache/onnxruntime-gpu/VERSION; for the image, see Dockerfile
#
# pip is only the downloader: the package index is whatever pip is configured for. The library is
# built for glibc 2.28 or later. PYTHON names the interpreter (default: python3); another
# architecture than x86_64 is untried and wants the wheel's digest in ONNXRUNTIME_WHEEL_SHA256.
set -euo pipefail

fail() { echo "fetch-onnxruntime: $*" >&2; exit 1; }

# The GPU's wheel has releases of its own: 1.31.1 is its newest. It wants CUDA 13 and cuDNN 9.
case ${1:-cpu} in
    cpu) package=onnxruntime version=1.32.0 providers=() ;;
    gpu) package=onnxruntime-gpu version=1.31.1 providers=(libonnxruntime_providers_shared.so libonnxruntime_providers_cuda.so) ;;
    *) fail "\`$1\` is neither cpu nor gpu" ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$root/.cache/$package/$version/libonnxruntime.so
python=${PYTHON:-python3}

[ -s "$target" ] && exit 0

machine=$(uname -m)
[ "$(uname -s)" = Linux ] || fail "only Linux is pinned; set model.library or ORT_DYLIB_PATH to your own ONNX Runtime"
case $package.$machine in
    onnxruntime.x86_64) digest=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d ;;
    onnxruntime-gpu.x86_64) digest=e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6 ;;
    onnxruntime.aarch64)
        digest=${ONNXRUNTIME_WHEEL_SHA256:-}
        [ -n "$digest" ] || fail "$machine is untried: set ONNXRUNTIME_WHEEL_SHA256 to the digest of the wheel that you trust"
        echo "fetch-onnxruntime: $machine is untried" >&2 ;;
    *) fail "no pinned $package for $machine; set model.library or ORT_DYLIB_PATH to your own" ;;
esac
"$python" -m pip --version >/dev/null 2>&1 ||
    fail "$python has no pip: install it, or set PYTHON, or put libonnxruntime.so at $target yourself"

mkdir -p "$(dirname "$target")"
scratch=$(mktemp -d "$(dirname "$target")/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

# The ABI tag picks one wheel of several; the library inside does not depend on Python.
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version 311 --platform "manylinux_2_28_$machine" \
    "$package==$version" -d "$scratch" >&2 || fail "pip could not download $package==$version"

wheel=$(echo "$scratch"/"${package//-/_}"-"$version"-*.whl)
[ -f "$wheel" ] || fail "pip downloaded no wheel"
echo "$digest  $wheel" | sha256sum --check --status ||
    fail "the wheel's sha256 is $(sha256sum "$wheel" | cut -d' ' -f1), expected $digest: refusing it"

"$python" - "$wheel" "$scratch" "libonnxruntime.so.$version" ${providers[@]+"${providers[@]}"} <<'PYTHON'
import shutil, sys, zipfile
wheel, folder, *members = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in members:
        with archive.open("onnxruntime/capi/" + member) as source, open(f"{folder}/{member}", "wb") as sink:
            shutil.copyfileobj(source, sink)
PYTHON
chmod 644 "$scratch"/libonnxruntime*
# On one file system: nobody ever sees half a library. The one that says that all are there comes last.
for provider in ${providers[@]+"${providers[@]}"}; do mv -f "$scratch/$provider" "$(dirname "$target")/"; done
mv -f "$scratch/libonnxruntime.so.$version" "$target"
echo "fetch-onnxruntime: $target" >&2
