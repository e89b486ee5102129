import pytest

from clockmill.errors import FetchError
from clockmill.fetch.addresses import checked, is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "fc00::1",
        "fd00::1",
        "fe80::1%eth0",
        "ff02::1",
    ],
)
def test_an_address_inside_is_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_an_address_outside_is_public(address):
    assert is_public(address)


def test_one_private_address_among_public_ones_refuses_the_host():
    with pytest.raises(FetchError, match=r"example.org: its address 10.0.0.7 is not public.*allow_private"):
        checked("example.org", ["1.1.1.1", "10.0.0.7"])
