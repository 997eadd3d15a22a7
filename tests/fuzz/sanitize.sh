#!/usr/bin/env bash
# Runs the engine's C code under the address and undefined-behaviour sanitizers of GCC: sanitize.sh [NETWORKS [FILES]]
# PYTHON: the Python to use, with the codec's dependencies, pytest and hypothesis. The build lies in .sanitize/.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$repo/.venv/bin/python}
built=$repo/.sanitize
rm -rf "$built"
mkdir "$built"
# Links to all files but one.
cp -rs "$repo/codec/vaecodec" "$built/"
rm -f "$built"/vaecodec/engine/_engine*.so
# Not by setup.py, since Python's own flags, such as -fwrapv, would hide overflows.
gcc -std=c11 -O2 -g -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=all -shared -fPIC \
    -I"$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
    "$repo/codec/vaecodec/engine/engine.c" -o "$built/vaecodec/engine/_engine.abi3.so"

# libstdc++ as well: the sanitizer must intercept its exceptions, which ONNX Runtime throws.
sanitized() {
    echo "== $*"
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" \
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONDONTWRITEBYTECODE=1 \
        PYTHONPATH="$built:$repo/tests" "$python" -W ignore "$@"
}
cd "$repo"
shopt -s nullglob
sanitized -m pytest -p no:cacheprovider tests/fuzz/test_networks.py tests/codec/test_engine*.py
sanitized tests/fuzz/networks.py "${1:-2000}" "$RANDOM"
sanitized tests/fuzz/targets.py "${2:-5000}" "$RANDOM"
