"""Servers that prove their name, and those that cannot."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitaru.access import ServerAccess
from kitaru.errors import KitaruBackendError, KitaruUsageError
from kitaru.server import create_app
from kitaru.settings import Settings
from kitaru.store.http import HttpStore
from kitaru.store.sqlite import SQLiteStore
from tests.server.serving import RunningServer, serving, wait_until

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="certificates are made with openssl"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the certificate of a server on this machine; its key lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
            "-keyout", "key.pem", "-out", "certificate.pem",
        ],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "certificate.pem"


@pytest.fixture
def secure(
    behind: SQLiteStore, server_settings: Settings, certificate: Path
) -> Iterator[RunningServer]:
    """Return a server whose name is `localhost`, and not the number of its address."""
    key = str(certificate.with_name("key.pem"))
    with serving(
        lambda: create_app(server_settings, store=behind),
        ssl_certfile=str(certificate),
        ssl_keyfile=key,
    ) as running:
        yield running


def test_server_that_proves_its_name_is_believed(secure: RunningServer, certificate: Path) -> None:
    store = HttpStore(
        f"https://localhost:{secure.port}", access=ServerAccess(ssl_ca_cert=certificate)
    )
    woken = threading.Event()

    for _ in range(3):
        assert store.list_workers() == []
    watch = store.watch(woken.set)
    store.forget_workers(["x" * 500_000])
    watch.stop()

    assert len(store._server._idle) == 1  # all of them on one connection
    store.close()


def test_server_that_nobody_vouches_for_is_refused(secure: RunningServer) -> None:
    store = HttpStore(f"https://localhost:{secure.port}")

    with pytest.raises(KitaruBackendError, match=r"could not prove its name.*`ssl_ca_cert`"):
        store.list_workers()


def test_server_of_another_name_is_refused(secure: RunningServer, certificate: Path) -> None:
    store = HttpStore(
        f"https://127.0.0.1:{secure.port}", access=ServerAccess(ssl_ca_cert=certificate)
    )

    with pytest.raises(KitaruBackendError, match="could not prove its name"):
        store.list_workers()


def test_proof_may_be_done_without(secure: RunningServer) -> None:
    store = HttpStore(f"https://127.0.0.1:{secure.port}", access=ServerAccess(verify_ssl=False))

    assert store.list_workers() == []
    store.close()


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    store = HttpStore("https://localhost:1", access=ServerAccess(ssl_ca_cert=missing))

    with pytest.raises(KitaruUsageError, match=r"missing\.pem"):
        store.list_workers()


def test_server_that_speaks_no_tls_is_told_apart(server: RunningServer) -> None:
    store = HttpStore(
        f"https://127.0.0.1:{server.port}",
        access=ServerAccess(verify_ssl=False),
        others_seconds=0.0,
    )

    with pytest.raises(KitaruBackendError, match="'list_workers'"):
        store.list_workers()

    wait_until(lambda: not store._server._idle)
