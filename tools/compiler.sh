#!/usr/bin/env bash
# Installs a C and a C++ compiler and Python's headers with apt-get, if they are missing: compiler.sh PYTHON
set -euo pipefail

python=$1
packages=()
command -v gcc >/dev/null || packages+=(gcc libc6-dev)
command -v g++ >/dev/null || packages+=(g++)  # compressai is built from source
version=$("$python" -c 'import os, sys, sysconfig
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    print("%d.%d" % sys.version_info[:2])')
[ -z "$version" ] || packages+=("python$version-dev")
if [ ${#packages[@]} -gt 0 ] && command -v apt-get >/dev/null; then
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update
    $sudo apt-get install -y --no-install-recommends "${packages[@]}"
fi
