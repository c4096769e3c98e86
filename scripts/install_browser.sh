#!/usr/bin/env bash
# Install Chromium, which `make test-browser` drives, as root on Debian; nothing if it is there.
set -euo pipefail
command -v chromium >/dev/null && exit 0
if [ "$(id -u)" != 0 ]; then
    echo "Chromium is missing: install it (apt-get install chromium), or run 'make test-browser' as root." >&2
    exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core
