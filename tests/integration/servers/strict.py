"""Servers as in production: OpenSSH, vsftpd, SeaweedFS, Azurite, and OAuth in front of fake-gcs-server.

``scripts/install_servers.sh`` installs them. OpenSSH and vsftpd need root, and the system user that it creates.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.servers import BUCKET, LOOPBACK, AzureAccount, Bucket, GoogleStorage, Login, free_port, running
from tests.integration.servers.embedded import gcs_server
from tests.integration.servers.gateway import oauth_gateway
from tests.integration.servers.trouble import certificate

INSTALLED = Path(__file__).resolve().parents[3] / ".servers"

USER = "cordial-tests"

#: A user with read permission on the bucket only.
READER = {"accessKey": "AKIA-OF-THE-READER", "secretKey": "reader-secret-key"}

#: A user who may read the objects of the bucket, but not list them.
GETTER = {"accessKey": "AKIA-OF-THE-GETTER", "secretKey": "getter-secret-key"}


@contextmanager
def user_folder() -> Iterator[Login]:
    """Set a password and a root folder for the system user, who owns ``exports`` in it and not ``read-only``."""
    password = secrets.token_urlsafe(12)
    subprocess.run(["chpasswd"], input=f"{USER}:{password}", text=True, check=True)
    # Not in /tmp: OpenSSH rejects a root that others can write to, or whose parents they can write to.
    root = Path(tempfile.mkdtemp(prefix="cordial-tests-", dir="/srv"))
    try:
        root.chmod(0o755)
        for folder in ("exports", "read-only"):
            (root / folder).mkdir()
        shutil.chown(root / "exports", USER)
        yield Login(0, USER, password, root)
    finally:
        shutil.rmtree(root)
        subprocess.run(["passwd", "--quiet", "--lock", USER], check=True)


@contextmanager
def openssh_server(user: Login, folder: Path) -> Iterator[Login]:
    """Serve the user's folder over SFTP."""
    folder.mkdir()
    port = free_port()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")], check=True)
    settings = {
        "ListenAddress": f"{LOOPBACK}:{port}",
        "HostKey": folder / "host_key",
        "PidFile": folder / "pid",
        "AuthorizedKeysFile": authorized_keys(user),
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "yes",
        "AllowUsers": user.username,
        "MaxStartups": "100",
        "Subsystem": "sftp internal-sftp",
        "ForceCommand": "internal-sftp",
        "ChrootDirectory": user.root,
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    Path("/run/sshd").mkdir(exist_ok=True)
    with running([_binary("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")], port):
        yield Login(port, user.username, user.password, user.root)


def authorized_keys(user: Login) -> Path:
    """Return the file of the public keys that the SFTP server accepts; the server reads it as the user."""
    return user.root / "authorized_keys"


@contextmanager
def vsftpd_server(
    user: Login, folder: Path, *, tls: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Iterator[Login]:
    """Serve the user's folder over FTP, or over explicit TLS, in which transfers must resume the session of the login.

    :param settings: more of its configuration.
    """
    folder.mkdir()
    port = free_port()
    empty = folder / "empty"
    empty.mkdir()
    config = {
        "listen": "YES",
        "listen_address": LOOPBACK,
        "listen_port": port,
        "background": "NO",
        "anonymous_enable": "NO",
        "local_enable": "YES",
        "write_enable": "YES",
        "local_umask": "022",
        "chroot_local_user": "YES",
        "allow_writeable_chroot": "YES",
        "local_root": user.root,
        "pam_service_name": user.username,
        "secure_chroot_dir": empty,
        "pasv_address": LOOPBACK,
        "utf8_filesystem": "YES",
        "delay_failed_login": 0,
    }
    if tls:
        config |= {"ssl_enable": "YES", "force_local_logins_ssl": "YES", "force_local_data_ssl": "YES"}
        # Its default cipher is too old for the client; its default of require_ssl_reuse is YES.
        config |= {"rsa_cert_file": tls, "rsa_private_key_file": tls, "ssl_ciphers": "HIGH"}
    file = folder / "vsftpd.conf"
    file.write_text("".join(f"{name}={value}\n" for name, value in {**config, **(settings or {})}.items()))
    with running([_binary("vsftpd"), str(file)], port):
        yield Login(port, user.username, user.password, user.root)


@contextmanager
def seaweedfs_server(folder: Path) -> Iterator[tuple[Bucket, str, Path]]:
    """Serve S3 over HTTP and over TLS; yield the bucket, the address over TLS, and the authority of its certificate."""
    (folder / "data").mkdir(parents=True)
    pem = certificate(folder / "tls.pem")
    port, tls_port = free_port(), free_port()
    url, secret_key = f"http://{LOOPBACK}:{port}", secrets.token_urlsafe(20)
    getter_keys = (GETTER["accessKey"], GETTER["secretKey"])
    bucket = Bucket(url, BUCKET, "us-west-2", "AKIA-OF-THE-TEST", secret_key, getter_keys)
    credentials = {"accessKey": bucket.access_key, "secretKey": bucket.secret_key}
    writer = {"name": "cordial", "credentials": [credentials], "actions": ["Admin", "Read", "Write", "List"]}
    reader = {"name": "reader", "credentials": [READER], "actions": ["Read", "List"]}
    getter = {"name": "getter", "credentials": [GETTER], "actions": ["Read"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [writer, reader, getter]}))
    options = {"ip": LOOPBACK, "ip.bind": LOOPBACK, "dir": folder / "data", "master.volumeSizeLimitMB": 64}
    for part in ("master", "volume", "filer"):
        options |= {f"{part}.port": free_port(), f"{part}.port.grpc": free_port()}
    options |= {"volume.max": 50, "master.telemetry": "false"}
    options |= {"s3.port": port, "s3.port.https": tls_port, "s3.port.grpc": free_port()}
    options |= {"s3.port.iceberg": 0, "s3.port.lance": 0, "s3.autoCreateBucket": "false"}
    options |= {"s3.cert.file": pem, "s3.key.file": pem, "s3.config": folder / "s3.json"}
    command = [str(INSTALLED / "python" / "bin" / "weed"), "server", "-s3"]
    command += [f"-{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "GOMEMLIMIT": "256MiB"}
    with running(command, f"{bucket.url}/healthz", env=environment, cwd=folder):
        bucket.client().create_bucket(Bucket=BUCKET)
        yield bucket, f"https://{LOOPBACK}:{tls_port}", pem


@contextmanager
def google_storage_with_login(folder: Path) -> Iterator[GoogleStorage]:
    """Serve Google Cloud Storage to one service account only."""
    inside, outside = free_port(), free_port()
    with gcs_server(folder, port=inside, external_port=outside), oauth_gateway(outside, inside) as key:
        yield GoogleStorage(f"http://{LOOPBACK}:{outside}", key)


@contextmanager
def azurite_server(folder: Path) -> Iterator[AzureAccount]:
    """Serve Azure Blob Storage, with node."""
    port = free_port()
    account = AzureAccount(port, "cordialtests", base64.b64encode(secrets.token_bytes(32)).decode())
    script = INSTALLED / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    command = ["node", str(script), "--blobHost", LOOPBACK, "--blobPort", str(port), "--location", str(folder)]
    # Its releases do not know the API version of the client yet.
    command += ["--silent", "--disableTelemetry", "--disableProductStyleUrl", "--skipApiVersionCheck"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{account.name}:{account.key}"}
    with running(command, port, env=environment):
        account.client().create_container(BUCKET)
        yield account


def is_azurite_installed() -> bool:
    return (INSTALLED / "node_modules" / "azurite").is_dir()


def _binary(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    assert found, f"{name} is not installed; see scripts/install_servers.sh"
    return found
