"""Servers that list little, lie, refuse, or drop the connection: the file is found, or the server is quoted."""

from __future__ import annotations

import gzip
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cordial.destinations import (
    AzureBlobDestination,
    Destination,
    FileWait,
    FtpDestination,
    GcsDestination,
    S3Destination,
    SftpDestination,
    open_delivered_file,
    read_delivered_file,
)
from airflow_provider_cordial.exceptions import (
    DeliveredFileNotFoundError,
    DestinationAccessError,
    DestinationUnreachableError,
    FileChangedError,
    FolderNotListedError,
    IncompleteFileError,
)
from tests.helpers.places import Places
from tests.helpers.sandbox import NO_HOST_KEYS, SetConnection
from tests.integration.servers import Login
from tests.integration.servers.embedded import ftp_server
from tests.integration.servers.odd import (
    answering,
    odd_sftp_server,
    recording,
    with_facts,
    with_times,
    without_commands,
)
from tests.integration.servers.strict import vsftpd_server
from tests.integration.servers.trouble import certificate, faulty_proxy

WAIT = FileWait(timeout=10, poll_interval=0.1, stable_for=0.1, read_timeout=5)

CONTENT = b"audience,2026-10-01\r\n" + b"".join(b"a%d,%d\n" % (n, n) for n in range(30_000))

SFTP = SftpDestination(conn_id="sftp_odd", path="exports")
FTP = FtpDestination(conn_id="ftp_odd", path="exports")


def read(
    destination: Destination,
    *,
    name: str = "trends",
    is_unique: bool = False,
    path: str | None = None,
    **wait: float,
) -> bytes:
    options = {name: getattr(WAIT, name) for name in ("timeout", "poll_interval", "stable_for", "read_timeout")}
    with open_delivered_file(
        destination,
        name,
        not_before=datetime.now(UTC) - timedelta(seconds=30),
        has_unique_name=is_unique,
        path=path,
        file_wait=FileWait(**{**options, **wait}),
    ) as (_, stream):
        return b"".join(iter(lambda: stream.read(1 << 15), b""))


@contextmanager
def sftp(tmp_path: Path, set_connection: SetConnection, **options: Any) -> Iterator[Login]:
    with odd_sftp_server(tmp_path / "sftp", **options) as login:
        set_connection("sftp_odd", **login.connection("sftp", **NO_HOST_KEYS))
        yield login


@contextmanager
def ftp(tmp_path: Path, set_connection: SetConnection, **options: Any) -> Iterator[Login]:
    with ftp_server(tmp_path / "ftp", **options) as login:
        set_connection("ftp_odd", **login.connection("ftp"))
        yield login


def without(*fields: str) -> Callable[[Any], None]:
    """Return a change that leaves attributes out."""

    def change(attributes: Any) -> None:
        for field in fields:
            setattr(attributes, field, None)

    return change


def untyped(attributes: Any) -> None:
    attributes.permissions &= 0o7777


def at_the_epoch(attributes: Any) -> None:
    attributes.atime = attributes.mtime = 0


EVERYTHING = ("permissions", "size", "atime", "mtime")


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param(untyped, id="no-type"),
        pytest.param(without("permissions"), id="no-permissions"),
        pytest.param(without("size"), id="no-size"),
        pytest.param(without("atime", "mtime"), id="no-time"),
        pytest.param(at_the_epoch, id="time-zero"),
        pytest.param(without(*EVERYTHING), id="names-only"),
    ],
)
def test_what_an_sftp_listing_lacks_is_asked_for(
    tmp_path: Path, set_connection: SetConnection, listed: Callable[[Any], None]
) -> None:
    with sftp(tmp_path, set_connection, listed=listed) as login:
        (login.root / "exports" / "trends-folder.csv").mkdir()
        login.put("trends.csv.md5", b"x")
        login.put("trends.csv", CONTENT)
        assert read(SFTP) == CONTENT


@pytest.mark.parametrize("lacking", [("size",), ("atime", "mtime"), ("permissions",), EVERYTHING], ids=str)
def test_an_sftp_server_without_attributes_is_read(
    tmp_path: Path, set_connection: SetConnection, lacking: tuple[str, ...]
) -> None:
    with sftp(tmp_path, set_connection, listed=without(*lacking), asked=without(*lacking)) as login:
        login.put("trends.csv", CONTENT)
        assert read(SFTP, is_unique=True) == CONTENT
        assert read(SFTP, is_unique=True, path="exports/trends.csv") == CONTENT


def test_a_link_to_a_file_is_followed(tmp_path: Path, set_connection: SetConnection) -> None:
    with sftp(tmp_path, set_connection) as login:
        stored = login.root / "stored"
        stored.mkdir()
        (stored / "content").write_bytes(CONTENT)
        folder = login.root / "exports"
        (folder / "trends.csv").symlink_to("../stored/content")
        (folder / "trends-1.csv").symlink_to("../missing")
        (folder / "trends-2.csv").symlink_to("../stored")
        assert read(SFTP, is_unique=True) == CONTENT


@pytest.mark.parametrize("other", [b"caf\xe9.csv", b"trends-\xe9.csv", b"\xff\xfe"])
def test_an_sftp_name_in_another_encoding_is_skipped(
    tmp_path: Path, set_connection: SetConnection, other: bytes
) -> None:
    with sftp(tmp_path, set_connection) as login:
        (Path(os.fsdecode(bytes(login.root / "exports") + b"/" + other))).write_bytes(b"x")
        login.put("trends.csv", CONTENT)
        login.put("trends-ü.csv.md5", b"x")
        assert read(SFTP) == CONTENT


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("kind", ["sftp", "ftp"])
def test_a_unique_name_is_found_whatever_the_clock_of_the_server(
    tmp_path: Path, set_connection: SetConnection, kind: str, hours: int
) -> None:
    moved = time.time() + 3_600 * hours
    server, destination = (sftp, SFTP) if kind == "sftp" else (ftp, FTP)
    with server(tmp_path, set_connection) as login:
        login.put("trends.csv", CONTENT)
        os.utime(login.root / "exports" / "trends.csv", (moved, moved))
        assert read(destination, is_unique=True) == CONTENT
        assert read(destination, is_unique=True, path="exports/trends.csv") == CONTENT


def test_an_sftp_folder_that_is_forbidden_is_an_error_at_once(tmp_path: Path, set_connection: SetConnection) -> None:
    import asyncssh

    def refuse(attributes: Any) -> None:
        raise asyncssh.SFTPPermissionDenied("Not for you")

    with sftp(tmp_path, set_connection, listed=refuse) as login:
        login.put("trends.csv", CONTENT)
        started = time.monotonic()
        with pytest.raises(DestinationAccessError, match=r"(?s)sftp_odd.*denies access: PermissionError.*Not for you"):
            read(SFTP)
        assert time.monotonic() - started < 8


def drop(pattern: bytes) -> Callable[[bytes], bytes]:
    return lambda line: re.sub(pattern, b"", line)


LATIN = b"type=file;size=1;modify=20261112000000; trends-caf\xe9.csv\r\n"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(drop(rb"modify=\d+;"), id="no-modify"),
        pytest.param(drop(rb"size=\d+;"), id="no-size"),
        pytest.param(drop(rb"type=\w+;"), id="no-type"),
        pytest.param(drop(rb"^[^ ]*"), id="no-facts"),
        pytest.param(lambda line: line.replace(b"type=file", b"Type=File"), id="upper-case"),
        pytest.param(lambda line: line.replace(b"type=file", b"type=OS.unix=slink:/x"), id="link"),
        pytest.param(lambda line: line.replace(b"size=", b"sizd="), id="other-facts"),
        pytest.param(lambda line: re.sub(rb"modify=\d+", b"modify=yesterday", line), id="no-time"),
        pytest.param(lambda line: re.sub(rb"modify=(\d+)", rb"modify=\1.123", line), id="fraction"),
        pytest.param(lambda line: line + LATIN, id="another-encoding"),
    ],
)
def test_what_an_mlsd_line_lacks_is_asked_for(
    tmp_path: Path, set_connection: SetConnection, change: Callable[[bytes], bytes]
) -> None:
    with ftp(tmp_path, set_connection, handler=with_facts(change)) as login:
        (login.root / "exports" / "trends-folder.csv").mkdir()
        login.put("trends.csv", CONTENT)
        assert read(FTP) == CONTENT


@pytest.mark.parametrize(
    "lacking",
    [("MLSD",), ("MLSD", "SIZE"), ("MLSD", "MDTM"), ("MLSD", "SIZE", "MDTM"), ("MLSD", "SIZE", "MDTM", "MLST")],
    ids=str,
)
def test_an_ftp_server_without_commands_is_read(
    tmp_path: Path, set_connection: SetConnection, lacking: tuple[str, ...]
) -> None:
    with ftp(tmp_path, set_connection, handler=without_commands(*lacking)) as login:
        login.put("trends.csv", CONTENT)
        assert read(FTP, is_unique=True) == CONTENT
        assert read(FTP, is_unique=True, path="exports/trends.csv") == CONTENT
        with pytest.raises(DeliveredFileNotFoundError, match="No file 'exports/other.csv'"):
            read(FTP, is_unique=True, path="exports/other.csv", timeout=0.3)


@pytest.mark.parametrize(
    "shift",
    [
        lambda modified: f"{modified - timedelta(hours=8):%Y%m%d%H%M%S}",
        lambda modified: f"{modified + timedelta(hours=8):%Y%m%d%H%M%S}",
        lambda modified: f"{modified:%Y%m%d%H%M%S}+0800",
        lambda modified: "19700101000000",
        lambda modified: "",
        lambda modified: "unknown",
    ],
    ids=["behind", "ahead", "with-a-zone", "epoch", "empty", "words"],
)
def test_an_mdtm_in_another_time_does_not_matter_for_a_unique_name(
    tmp_path: Path, set_connection: SetConnection, shift: Callable[[datetime], str]
) -> None:
    with ftp(tmp_path, set_connection, handler=with_times(shift)) as login:
        login.put("trends.csv", CONTENT)
        assert read(FTP, is_unique=True) == CONTENT


@pytest.mark.parametrize(
    "handler",
    [
        answering("450 No files found.", "MLSD"),
        {**without_commands("MLSD"), **answering("450 No files found.", "NLST")},
        {**without_commands("MLSD"), **answering("550 No files found.", "NLST")},
    ],
    ids=["mlsd", "nlst", "nlst-550"],
)
def test_a_temporary_error_for_an_empty_folder_is_an_empty_folder(
    tmp_path: Path, set_connection: SetConnection, handler: dict[str, Any]
) -> None:
    with (
        ftp(tmp_path, set_connection, handler=handler),
        pytest.raises(DeliveredFileNotFoundError, match=r"Files there \(0\): none"),
    ):
        read(FTP, timeout=0.4)


@pytest.mark.parametrize(
    "answer",
    ["530 Please login with USER and PASS.", "550 Permission denied.", "553 Not your folder.", "550 Access is denied."],
)
def test_a_refused_ftp_listing_is_quoted_at_once(tmp_path: Path, set_connection: SetConnection, answer: str) -> None:
    with ftp(tmp_path, set_connection, handler=answering(answer, "MLSD", "NLST")) as login:
        login.put("trends.csv", CONTENT)
        started = time.monotonic()
        with pytest.raises(DestinationAccessError) as refused:
            read(FTP)
        assert time.monotonic() - started < 5
        assert answer in str(refused.value)
        assert login.password not in str(refused.value)


@pytest.mark.parametrize("command", ["RETR", "SIZE"])
def test_a_refused_ftp_file_is_quoted_at_once(tmp_path: Path, set_connection: SetConnection, command: str) -> None:
    handler = {**without_commands("MLSD"), **answering("550 Permission denied.", command)}
    with ftp(tmp_path, set_connection, handler=handler) as login:
        login.put("trends.csv", CONTENT)
        with pytest.raises(DestinationAccessError, match="550 Permission denied"):
            read(FTP)


def test_a_missing_ftp_folder_may_still_come(tmp_path: Path, set_connection: SetConnection) -> None:
    later = FtpDestination(conn_id="ftp_odd", path="later")
    with ftp(tmp_path, set_connection) as login:
        with pytest.raises(FolderNotListedError, match=r"(?s)No file named 'trends'.*550 .*[Nn]o such") as missing:
            read(later, timeout=0.5)
        assert missing.value.retry_helps
        (login.root / "later").mkdir()
        (login.root / "later" / "trends.csv").write_bytes(CONTENT)
        assert read(later) == CONTENT


def test_a_folder_that_is_not_listed_is_asked_for_the_likely_names(
    tmp_path: Path, set_connection: SetConnection
) -> None:
    with ftp(tmp_path, set_connection, handler=answering("550 Failed to open.", "MLSD", "NLST")) as login:
        login.put("trends.csv.gz", CONTENT)
        assert read(FTP) == CONTENT


def test_only_matching_names_are_asked_for_without_mlsd(tmp_path: Path, set_connection: SetConnection) -> None:
    commands: list[str] = []
    with ftp(tmp_path, set_connection, handler={**without_commands("MLSD"), **recording(commands)}) as login:
        for number in range(3_000):
            login.put(f"export-{number}.csv", b"x")
        login.put("trends.csv", CONTENT)
        assert read(FTP) == CONTENT
    assert commands.count("SIZE") == commands.count("MDTM") == commands.count("NLST") == 2
    assert len(commands) < 40


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.strict
def test_an_ftps_transfer_resumes_the_session_of_the_login(
    places: Places, set_connection: SetConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    """As vsftpd and others require by default."""
    import ssl

    pem = certificate(tmp_path / "tls.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    create = ssl.create_default_context

    def pinned(*args: Any, **options: Any) -> ssl.SSLContext:
        context = create(*args, **options)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[protocol.replace(".", "_")]
        return context

    monkeypatch.setattr(ssl, "create_default_context", pinned)
    with vsftpd_server(places.ftp, tmp_path / "vsftpd", tls=pem) as login:
        login.put("trends.csv", CONTENT)
        set_connection("ftp_odd", **{**login.connection("ftp"), "host": "localhost"})
        for _ in range(2):
            assert read(FtpDestination(conn_id="ftp_odd", path="exports", tls=True)) == CONTENT


@pytest.mark.strict
@pytest.mark.parametrize("kind", ["sftp", "ftp"])
def test_links_and_names_in_another_encoding_on_real_servers(
    places: Places, set_connection: SetConnection, kind: str
) -> None:
    login, destination = (places.sftp, SFTP) if kind == "sftp" else (places.ftp, FTP)
    set_connection(f"{kind}_odd", **login.connection(kind, **(NO_HOST_KEYS if kind == "sftp" else {})))
    folder = login.root / "exports"
    name = f"odd-{time.monotonic_ns()}"
    other = Path(os.fsdecode(bytes(folder) + b"/" + name.encode() + b"-caf\xe9.csv"))
    other.write_bytes(b"x")
    (folder / "stored").write_bytes(CONTENT)
    (folder / f"{name}.csv").symlink_to("stored")
    try:
        assert read(destination, name=name, is_unique=True) == CONTENT
    finally:
        other.unlink()


@pytest.mark.strict
@pytest.mark.parametrize("kind", ["sftp", "ftp"])
def test_a_forbidden_folder_on_a_real_server_is_quoted(
    places: Places, set_connection: SetConnection, kind: str
) -> None:
    login = places.sftp if kind == "sftp" else places.ftp
    set_connection(f"{kind}_odd", **login.connection(kind, **(NO_HOST_KEYS if kind == "sftp" else {})))
    folder = login.root / "forbidden"
    folder.mkdir(mode=0o700, exist_ok=True)
    destination: Destination = (
        SftpDestination(conn_id="sftp_odd", path="forbidden")
        if kind == "sftp"
        else FtpDestination(conn_id="ftp_odd", path="forbidden")
    )
    with pytest.raises((DestinationAccessError, FolderNotListedError), match="[Pp]ermission") as refused:
        read(destination, timeout=1)
    assert isinstance(refused.value, DestinationAccessError) == (kind == "sftp")


class Lines:
    """All lines of a file, which is complete."""

    incomplete: IncompleteFileError | None = None

    def __init__(self, content: bytes) -> None:
        self.content = content

    def close(self) -> None:
        pass


@pytest.mark.parametrize("after", [2_000, 60_000])
def test_a_connection_that_is_dropped_once_is_opened_again(
    places: Places, set_connection: SetConnection, after: int
) -> None:
    name = f"dropped-{time.monotonic_ns()}"
    places.sftp.put(f"{name}.csv", CONTENT)
    with faulty_proxy(places.sftp.port, after=after, then="reset", times=1) as port:
        fields = places.sftp.connection("sftp", **NO_HOST_KEYS, compress="false")
        set_connection("sftp_odd", **{**fields, "port": port})
        found = read_delivered_file(
            SFTP,
            name,
            lambda file, stream: Lines(b"".join(iter(lambda: stream.read(1 << 15), b""))),
            not_before=None,
            file_wait=FileWait(timeout=20, poll_interval=0.1, stable_for=0.1, read_timeout=5),
        )
    assert found.content == CONTENT


@pytest.mark.parametrize("after", [0, 300, 1_500, 2_500, 3_000])
def test_an_sftp_server_that_stalls_before_or_after_the_login_is_an_error_in_time(
    places: Places, set_connection: SetConnection, after: int
) -> None:
    with faulty_proxy(places.sftp.port, after=after, then="stall") as port:
        set_connection("sftp_odd", **{**places.sftp.connection("sftp", **NO_HOST_KEYS), "port": port})
        started = time.monotonic()
        with pytest.raises(DestinationUnreachableError, match="sftp_odd"):
            read(SFTP, timeout=1, read_timeout=1)
        assert time.monotonic() - started < 15


def test_a_key_that_does_not_exist_is_an_error_at_once(tmp_path: Path, set_connection: SetConnection) -> None:
    with sftp(tmp_path, set_connection) as login:
        fields = login.connection("sftp", **NO_HOST_KEYS, key_file="/nowhere/key")
        set_connection("sftp_odd", **{**fields, "password": ""})
        started = time.monotonic()
        with pytest.raises(DestinationAccessError, match="/nowhere/key"):
            read(SFTP)
        assert time.monotonic() - started < 8


def test_an_ftp_connection_that_is_dropped_once_is_opened_again(tmp_path: Path, set_connection: SetConnection) -> None:
    with ftp(tmp_path, set_connection) as login, faulty_proxy(login.port, after=300, then="reset", times=1) as port:
        login.put("trends.csv", CONTENT)
        set_connection("ftp_odd", **{**login.connection("ftp"), "port": port})
        assert read(FTP) == CONTENT


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), EOFError("ours"), ValueError("database")])
@pytest.mark.parametrize("kind", ["sftp", "ftp", "s3", "gcs", "azure"])
def test_an_error_of_our_own_is_not_blamed_on_the_server(
    places: Places, connections: SetConnection, kind: str, error: Exception
) -> None:
    from tests.integration.test_reading import PLACES, put

    if kind == "azure":
        places.azure_or_skip()
    put(places, "trends.csv", b"x\n")
    with (
        pytest.raises(type(error)) as raised,
        open_delivered_file(PLACES[kind], "trends", not_before=datetime.now(UTC), file_wait=WAIT),
    ):
        raise error
    assert raised.value is error
    with pytest.raises(type(error)) as raised, PLACES[kind].reader(timeout=5):
        raise error
    assert raised.value is error


def test_an_object_is_read_without_the_permission_to_list(places: Places, set_connection: SetConnection) -> None:
    destination = S3Destination(bucket="acme-cordial", path="hidden", conn_id="aws_odd")
    file = S3Destination(bucket="acme-cordial", path="hidden/fixed.csv", conn_id="aws_odd")
    access_key, secret_key = places.bucket.getter
    set_connection("aws_odd", **{**places.bucket.connection(), "login": access_key, "password": secret_key})
    places.bucket.put("hidden/trends.csv", CONTENT)
    places.bucket.put("hidden/fixed.csv", CONTENT)
    assert read(destination) == CONTENT
    assert read(destination, path="hidden/trends.csv") == CONTENT
    assert read(file) == CONTENT
    started = time.monotonic()
    with pytest.raises(FolderNotListedError, match=r"(?s)No file .*s3:ListBucket.*s3:GetObject") as hidden:
        read(destination, name="other", timeout=1)
    assert time.monotonic() - started > 0.8
    assert hidden.value.retry_helps
    assert secret_key not in str(hidden.value)


def test_wrong_keys_are_told_from_a_missing_permission(places: Places, set_connection: SetConnection) -> None:
    set_connection("aws_odd", **{**places.bucket.connection(), "password": "wrong-secret"})
    for path in ("hidden", "hidden/fixed.csv"):
        with pytest.raises(DestinationAccessError, match="SignatureDoesNotMatch"):
            read(S3Destination(bucket="acme-cordial", path=path, conn_id="aws_odd"))


def test_a_google_object_with_an_encoding_is_read_as_it_is_stored(places: Places, connections: SetConnection) -> None:
    compressed = gzip.compress(CONTENT)
    blob = places.gcs.client().bucket("acme-cordial").blob("encoded/trends.csv")
    blob.content_encoding = "gzip"
    blob.upload_from_string(compressed, content_type="text/csv")
    assert read(GcsDestination(bucket="acme-cordial", path="encoded")) == compressed


def test_a_blob_is_read_without_the_permission_to_list(places: Places, set_connection: SetConnection) -> None:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    account = places.azure_or_skip()
    token = generate_container_sas(
        account.name,
        "acme-cordial",
        account_key=account.key,
        permission=ContainerSasPermissions(read=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    endpoint = f"http://127.0.0.1:{account.port}/{account.name}"
    text = f"BlobEndpoint={endpoint};SharedAccessSignature={token};AccountName={account.name};"
    set_connection("wasb_odd", conn_type="wasb", extra={"connection_string": text})
    account.put("hidden/trends.csv", CONTENT)
    destination = AzureBlobDestination(
        account=account.name, container="acme-cordial", path="hidden", conn_id="wasb_odd"
    )
    assert read(destination) == CONTENT
    assert read(destination, path="hidden/trends.csv") == CONTENT
    with pytest.raises(
        FolderNotListedError, match="(?s)No file .*Azure does not list .*Allow the credentials"
    ) as hidden:
        read(destination, name="other", timeout=1)
    assert token not in str(hidden.value)


@pytest.mark.strict
@pytest.mark.parametrize("kind", ["sftp", "ftp"])
def test_a_forbidden_file_on_a_real_server_is_quoted(places: Places, set_connection: SetConnection, kind: str) -> None:
    login, destination = (places.sftp, SFTP) if kind == "sftp" else (places.ftp, FTP)
    set_connection(f"{kind}_odd", **login.connection(kind, **(NO_HOST_KEYS if kind == "sftp" else {})))
    name = f"forbidden-{time.monotonic_ns()}"
    login.put(f"{name}.csv", CONTENT)
    (login.root / "exports" / f"{name}.csv").chmod(0o600)
    with pytest.raises((DestinationAccessError, FileChangedError), match="Permission denied|550 Failed to open"):
        read(destination, name=name)
