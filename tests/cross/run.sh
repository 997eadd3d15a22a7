#!/usr/bin/env bash
# Runs checks under emulated aarch64 and old x86-64 on an x86-64 Debian host: run.sh [SCRIPT [ARGUMENT...]]
# SCRIPT: by default tests/fuzz/networks.py and tests/cross/check_latents.py. Without SCRIPT, it also runs random
# networks on WebAssembly and compiles the engine for Windows and macOS. Exits with 1 if anything fails.
# CROSS_CPUS: the emulated aarch64 CPUs, one run each. Everything built lies in .cross/; remove it to start afresh.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
cross=$repo/.cross root=$repo/.cross/root site=$repo/.cross/site
# Two instruction sets, since ONNX Runtime and numpy choose kernels by CPU: max has SVE, dot product and more, while
# cortex-a57 is plain ARMv8.0. Their float convolutions and tanh differ in the last bits, so both are worth a run.
read -ra cpus <<<"${CROSS_CPUS:-max cortex-a57}"
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
mkdir -p "$cross"
renice -n 10 $$ >/dev/null  # emulation is long and nobody waits at the screen

for python in "$repo/.venv/bin/python" python3.11 python3 ''; do
    [ -n "$python" ] || { echo "run.sh: no python3 with pip found" >&2; exit 1; }
    ! "$python" -m pip --version >/dev/null 2>&1 || break
done

# No binfmt-support: only one process is emulated, and it is started by qemu itself.
if ! command -v qemu-aarch64-static >/dev/null || ! command -v dpkg-deb >/dev/null ||
   ! PATH=$PATH:/usr/sbin command -v debootstrap >/dev/null; then
    $sudo apt-get update
    $sudo apt-get install -y --no-install-recommends qemu-user-static debootstrap debian-archive-keyring
fi

# An arm64 Debian bookworm, merely unpacked: without binfmt no maintainer script could run, and Python needs none.
if [ ! -e "$root" ]; then
    $sudo rm -rf "$cross/debs" "$root.new"
    $sudo env PATH="$PATH:/usr/sbin" debootstrap --download-only --force-check-gpg --arch=arm64 --variant=minbase \
        --include=python3,libpython3.11-dev bookworm "$cross/debs" >"$cross/debootstrap.log"
    mkdir "$root.new"
    for deb in "$cross"/debs/var/cache/apt/archives/*.deb; do dpkg-deb -x "$deb" "$root.new"; done
    # qemu shows the program the host's /proc/cpuinfo, and ONNX Runtime 1.32 crashes on import when it finds no ARM core
    # there. A file at the same path under the root hides it. Always a Cortex-A57, one entry for each CPU of the host:
    # instruction sets are read from the emulated CPU, save that a newer part number here would turn on the dot product
    # even where the emulated CPU has none.
    mkdir -p "$root.new/proc"
    for ((i = 0; i < $(getconf _NPROCESSORS_CONF); i++)); do
        printf '%s\t: %s\n' processor $i Features 'fp asimd' 'CPU implementer' 0x41 'CPU architecture' 8 \
            'CPU variant' 0x1 'CPU part' 0xd07 'CPU revision' 0
        echo
    done >"$root.new/proc/cpuinfo"
    mv "$root.new" "$root"
    $sudo rm -rf "$cross/debs"
fi

# The host's pip fetches the wheels: under emulation it would be slow, and the unpacked root has none.
if [ ! -e "$site" ]; then
    rm -rf "$site.new"
    fetch() {
        "$python" -m pip install --quiet --target "$site.new" --platform manylinux_2_28_aarch64 \
            --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
            --python-version 3.11 --implementation cp --only-binary=:all: "$@"
    }
    fetch numpy pillow onnxruntime typer rich
    # On its own, since constriction 0.5.0 has neither an aarch64 wheel for Linux nor a source archive on the index:
    # there, vaecodec's own range coder takes its place, as it does for users.
    fetch --no-deps 'constriction==0.5.*' 2>"$cross/constriction.log" || true
    mv "$site.new" "$site"
fi
# One compiler for all targets. It brings their C libraries, and Debian's package for arm64 has Python's headers.
if [ ! -e "$cross/zig" ]; then
    rm -rf "$cross/zig.new"
    "$python" -m pip install --quiet --target "$cross/zig.new" 'ziglang==0.17.*'
    mv "$cross/zig.new" "$cross/zig"
fi
compile() { PYTHONPATH=$cross/zig "$python" -m ziglang cc -std=c11 -O3 -Wall -Wextra -Werror "$@"; }
built=$cross/aarch64
rm -rf "$built"
mkdir "$built"
cp -rs "$repo/codec/vaecodec" "$built/"
rm -f "$built"/vaecodec/engine/_engine*.so
compile -target aarch64-linux-gnu.2.31 -shared -fPIC -I"$root/usr/include/python3.11" -idirafter "$root/usr/include" \
    "$repo/codec/vaecodec/engine/engine.c" -o "$built/vaecodec/engine/_engine.abi3.so"

status=0
# Runs a script with arguments: on_aarch64 CPU ENGINE SCRIPT...
on_aarch64() {
    local cpu=$1 engine=$2
    shift 2
    echo "== aarch64, $cpu, $engine: $(basename "$1")"
    # A host's settings for its own Python and BLAS mean nothing to the emulated ones.
    env -u PYTHONHOME -u LD_PRELOAD -u LD_LIBRARY_PATH -u OPENBLAS_CORETYPE PYTHONNOUSERSITE=1 \
        PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$site:$built" VAECODEC_ENGINE="$engine" \
        qemu-aarch64-static -cpu "$cpu" -L "$root" "$root/usr/bin/python3" "$@" || status=1
}

# The same on an old x86-64 CPU, with constriction itself.
on_x86() {
    local cpu=$1 engine=$2
    shift 2
    echo "== x86-64, $cpu, $engine: $(basename "$1")"
    env -u OPENBLAS_CORETYPE PYTHONDONTWRITEBYTECODE=1 QEMU_CPU="$cpu" VAECODEC_ENGINE="$engine" \
        PYTHONPATH="$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'):$repo/codec" \
        qemu-x86_64-static "$(readlink -f "$(command -v "$python")")" "$@" 2> >(grep -v "TCG doesn" >&2) || status=1
}

everywhere() {
    local cpu
    for cpu in "${cpus[@]}"; do on_aarch64 "$cpu" neon "$@"; done
    on_x86 Nehalem sse2 "$@"  # without AVX
    on_x86 Haswell avx2 "$@"  # without AVX-512
}

if [ $# -gt 0 ]; then
    everywhere "$@"
    exit $status
fi
everywhere "$repo/tests/fuzz/networks.py" 100
everywhere "$repo/tests/cross/check_latents.py"

echo "== WebAssembly"
wasm=$repo/tests/cross/wasm
compile -target wasm32-wasi -mexec-model=reactor -msimd128 -s -Wl,--export=run_network,--export=__heap_base \
    "$wasm/engine_wasm.c" -o "$cross/engine.wasm"
PYTHONPATH=$repo/codec "$python" "$wasm/check.py" "$cross/engine.wasm" 500 || status=1

for target in x86_64-windows aarch64-windows x86_64-macos aarch64-macos; do
    echo "== $target: compiles"
    compile -target $target -c "$wasm/engine_wasm.c" -o "$cross/$target.o" || status=1
done
exit $status
