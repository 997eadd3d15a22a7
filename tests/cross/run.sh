#!/usr/bin/env bash
# Runs a check under emulated aarch64 on an x86-64 Debian host: run.sh [SCRIPT [ARGUMENT...]]
# SCRIPT: tests/cross/check_latents.py unless given. Exits with its exit code (the last failing one).
# CROSS_CPUS: the emulated CPUs, one run each. Everything built lies in .cross/; remove it to start afresh.
set -euo pipefail

repo=$(cd "$(dirname "$0")/../.." && pwd)
script=$(realpath "${1:-$repo/tests/cross/check_latents.py}")
shift $(($# > 0))
cross=$repo/.cross root=$repo/.cross/root site=$repo/.cross/site
# Two instruction sets, since ONNX Runtime and numpy choose kernels by CPU: max has SVE, dot product and more, while
# cortex-a57 is plain ARMv8.0. Their float convolutions and tanh differ in the last bits, so both are worth a run.
read -ra cpus <<<"${CROSS_CPUS:-max cortex-a57}"
sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
mkdir -p "$cross"
renice -n 10 $$ >/dev/null  # emulation is long and nobody waits at the screen

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
        --include=python3 bookworm "$cross/debs" >"$cross/debootstrap.log"
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
    for python in "$repo/.venv/bin/python" python3.11 python3 ''; do
        [ -n "$python" ] || { echo "run.sh: no python3 with pip found" >&2; exit 1; }
        ! "$python" -m pip --version >/dev/null 2>&1 || break
    done
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
status=0
for cpu in "${cpus[@]}"; do
    echo "== aarch64, $cpu"
    # A host's settings for its own Python and BLAS mean nothing to the emulated ones.
    env -u PYTHONHOME -u LD_PRELOAD -u LD_LIBRARY_PATH -u OPENBLAS_CORETYPE PYTHONNOUSERSITE=1 \
        PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$site:$repo/codec" \
        qemu-aarch64-static -cpu "$cpu" -L "$root" "$root/usr/bin/python3" "$script" "$@" || status=$?
done

# Old x86-64 CPUs, with constriction itself: without AVX, then with AVX2 but no AVX-512.
for cpu in Nehalem Haswell; do
    echo "== x86-64, $cpu"
    env -u OPENBLAS_CORETYPE PYTHONDONTWRITEBYTECODE=1 QEMU_CPU=$cpu \
        PYTHONPATH="$("$repo/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'):$repo/codec" \
        qemu-x86_64-static "$(readlink -f "$repo/.venv/bin/python")" "$script" "$@" 2> >(grep -v "TCG doesn" >&2) || status=$?
done
exit $status
