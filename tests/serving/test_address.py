import socket

import pytest

from serving.address import Address, check_free, parse_address
from serving.errors import AddressUnavailable


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:8701", Address("localhost", 8701)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:65535", Address("::1", 65535)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "localhost", ":8701", "localhost:", "localhost:http", "::1:8701", "a:-1", "a:²"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(AddressUnavailable, match=r"expected host:port, for example localhost:8701"):
        parse_address(text)


def test_a_port_beyond_the_last_is_refused() -> None:
    with pytest.raises(AddressUnavailable, match="ports end at 65535"):
        parse_address("localhost:65536")


def test_a_taken_port_is_refused_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressUnavailable, match=rf"127.0.0.1:{port}: another process listens there"):
            check_free(Address("127.0.0.1", port))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(AddressUnavailable, match="Choose an address of this machine"):
        check_free(Address("192.0.2.1", 0))


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(AddressUnavailable, match=r"There is no host 'nowhere\.invalid'"):
        check_free(Address("nowhere.invalid", 0))


def test_a_free_port_is_free() -> None:
    check_free(Address("localhost", 0))
