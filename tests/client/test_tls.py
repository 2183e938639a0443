"""Encrypted connections."""

import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from hydrazoo.client import Client
from hydrazoo.client.errors import Unavailable

from tests.support.fake_server import fake_server

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl to make a certificate with")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Make a key and a certificate for localhost that is its own authority."""
    folder: Path = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    places = ["-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(["openssl", *words.split(), *places], cwd=folder, check=True, capture_output=True)
    return (folder / "key.pem").read_bytes(), (folder / "certificate.pem").read_bytes()


def test_a_client_with_credentials_speaks_to_a_server_with_tls(certificate: tuple[bytes, bytes]) -> None:
    key, public = certificate
    credentials = grpc.ssl_channel_credentials(root_certificates=public)
    with (
        fake_server(credentials=grpc.ssl_server_credentials([(key, public)])) as server,
        Client(server.target, credentials=credentials) as client,
    ):
        assert client.predict(text="x", heads="intent")["intent"].label == "b"


def test_a_client_without_credentials_does_not_speak_to_it(certificate: tuple[bytes, bytes]) -> None:
    with (
        fake_server(credentials=grpc.ssl_server_credentials([certificate])) as server,
        Client(server.target, timeout_s=5, retries=False) as client,
        pytest.raises(Unavailable),
    ):
        client.predict(text="x", heads="intent")
    assert not server.requests
