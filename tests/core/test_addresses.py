"""What may be probed from here."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.addresses import NEVER, PRIVATE, AddressRules

AT_HOME = AddressRules()
DEPLOYED = AddressRules(loopback=False, private=False)

PUBLIC = ["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0"]
PUBLIC += ["172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "100.63.255.255"]
PUBLIC += ["100.128.0.0", "169.253.255.255", "169.255.0.0", "223.255.255.255", "192.0.1.0"]
PUBLIC += ["2001:4860:4860::8888", "2606:4700::1111", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8"]
OUR_OWN = ["127.0.0.0", "127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::127.0.0.1"]
OUR_OWN += ["64:ff9b::127.0.0.1", "::ffff:0:127.0.0.1", "2002:7f00:1::"]
NEAR = ["10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.1"]
NEAR += ["192.168.255.255", "100.64.0.0", "100.127.255.255", "fc00::1", "fdff::", "fd00:ec2::254"]
NEAR += ["::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "2002:c0a8:1::"]
NOBODY = ["0.0.0.0", "0.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255"]
NOBODY += ["224.0.0.0", "239.255.255.255", "240.0.0.0", "255.255.255.255", "192.0.0.8"]
NOBODY += ["::", "fe80::1", "fe80::1%eth0", "febf::", "ff02::1", "fec0::1"]
NOBODY += ["::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::169.254.169.254"]
NOBODY += ["64:ff9b:1::8.8.8.8", "2001:0:1::1", "100::1", "4000::1", "5f00::1"]
NOBODY += ["2002:a9fe:a9fe::", "::ffff:224.0.0.1", "::255.255.255.255"]
NO_ADDRESS = ["", "localhost", "127.1", "0x7f.0.0.1", "08.8.8.8", "1.2.3.4 ", "1.2.3.4\n"]
NO_ADDRESS += ["1.2.3.4/32", "[::1]", "::1%", "1::2::3", "\uff11.2.3.4", "a\ud800", "1" * 10_000]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_probed_from_everywhere(address: str) -> None:
    assert AT_HOME.refusal(address) is None
    assert DEPLOYED.refusal(address) is None
    assert DEPLOYED.allows(address)


@pytest.mark.parametrize("address", OUR_OWN)
def test_loopback_may_be_probed_only_where_it_is_allowed(address: str) -> None:
    assert AT_HOME.allows(address)
    assert AddressRules(private=False).allows(address)
    assert "loopback" in str(DEPLOYED.refusal(address))


@pytest.mark.parametrize("address", NEAR)
def test_a_private_address_may_be_probed_only_where_it_is_allowed(address: str) -> None:
    assert AT_HOME.allows(address)
    assert AddressRules(loopback=False).allows(address)
    assert "private" in str(DEPLOYED.refusal(address))


@pytest.mark.parametrize("address", NOBODY)
def test_some_addresses_may_never_be_probed(address: str) -> None:
    for rules in (AT_HOME, DEPLOYED):
        assert "can't be watched" in str(rules.refusal(address))
        assert not rules.allows(address)


@pytest.mark.parametrize("text", NO_ADDRESS, ids=lambda text: ascii(text)[:30])
def test_what_is_no_address_may_not_be_probed(text: str) -> None:
    assert "is not an IP address" in str(AT_HOME.refusal(text))


@given(address=st.ip_addresses().map(str) | st.text())
def test_every_text_has_an_answer_and_a_stricter_rule_allows_no_more(address: str) -> None:
    assert isinstance(AT_HOME.allows(address), bool)
    assert AT_HOME.allows(address) or not DEPLOYED.allows(address)


@given(address=st.ip_addresses(v=4))
def test_an_address_in_disguise_is_the_address(address: object) -> None:
    for disguise in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert DEPLOYED.allows(disguise) == DEPLOYED.allows(str(address))
        assert AT_HOME.allows(disguise) == AT_HOME.allows(str(address))


def test_no_network_is_listed_twice() -> None:
    networks = [*PRIVATE, *(ip_network(block) for blocks in NEVER.values() for block in blocks)]
    for network in networks:
        others = [other for other in networks if other is not network]
        same = [other for other in others if other.version == network.version]
        assert not any(network.overlaps(other) for other in same)
