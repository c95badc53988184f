#!/usr/bin/env bash
# Install the system libraries that Qt needs, and with --virtual the X server
# Xvfb, where they are missing. Without root rights: say what to install.
set -euo pipefail

[[ $(uname -s) == Linux ]] || exit 0

# What napari's window loads, and the Debian package that brings it.
libraries=(
    libGL.so.1:libgl1
    libEGL.so.1:libegl1
    libxkbcommon-x11.so.0:libxkbcommon-x11-0
    libdbus-1.so.3:libdbus-1-3
    libxcb-cursor.so.0:libxcb-cursor0
    libxcb-icccm.so.4:libxcb-icccm4
    libxcb-keysyms.so.1:libxcb-keysyms1
    libxcb-shape.so.0:libxcb-shape0
    libxcb-xinerama.so.0:libxcb-xinerama0
    libglib-2.0.so.0:libglib2.0-0
    libfontconfig.so.1:libfontconfig1
    libgssapi_krb5.so.2:libgssapi-krb5-2
)

PATH=$PATH:/usr/sbin:/sbin # ldconfig is not on every user's path
present=$(ldconfig -p 2>/dev/null) || libraries=() # no way to tell: let Qt say it
missing=()

for entry in "${libraries[@]}"; do
    [[ $present == *"${entry%%:*}"* ]] || missing+=("${entry#*:}")
done
if [[ ${1:-} == --virtual ]] && ! command -v Xvfb >/dev/null; then
    missing+=(xvfb)
fi
# Debian keeps ensurepip, which a virtual environment is made with, apart.
if ! "${PYTHON:-python3}" -c 'import ensurepip' 2>/dev/null; then
    missing+=(python3-venv)
fi

[[ ${#missing[@]} -gt 0 ]] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "Missing on this system, by the names of their Debian packages: ${missing[*]}" >&2
    exit 1
fi
if [[ $(id -u) -ne 0 ]]; then
    echo "System packages are missing. Please run this line, then try again:" >&2
    echo "sudo apt-get install -y ${missing[*]}" >&2
    exit 1
fi

echo "Installing system packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
