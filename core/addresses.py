"""Which addresses may be probed from here. A leaf: the engine gets it as a callable.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC 6890 and its updates). The
blocks are listed here, not left to `ipaddress.is_private`, whose answer differs between Python
releases and takes NAT64 and multicast for global addresses.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

LOOPBACK = [ip_network(block) for block in ("127.0.0.0/8", "::1/128")]
PRIVATE_BLOCKS = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 198.18.0.0/15 fc00::/7"
PRIVATE = [ip_network(block) for block in PRIVATE_BLOCKS.split()]
NEVER = {
    "unspecified": ["0.0.0.0/8", "::/128"],
    "link-local": ["169.254.0.0/16", "fe80::/10"],
    "multicast": ["224.0.0.0/4", "ff00::/8"],
    "reserved": ["240.0.0.0/4", "192.0.0.0/24"],
    # Teredo, RFC 4380: whoever it leads to is hidden in it.
    "a tunnel": ["2001::/32"],
}
NEVER_NETWORKS = [(kind, ip_network(block)) for kind, blocks in NEVER.items() for block in blocks]

# What IPv6 has besides these and the above is reserved, fec0::/10 and 64:ff9b:1::/48 (RFC 8215:
# NAT64 of a network's own, with IPv4 in bits that only it knows) included. Source: IANA IPv6
# Address Space.
IPV6_IN_USE = [ip_network(block) for block in ("2000::/3", "fc00::/7", "::1/128")]

# IPv6 forms that carry an IPv4 address in some of their bits: how far it must be shifted right.
CARRIES_IPV4 = [
    (ip_network("::ffff:0:0/96"), 0),  # mapped, RFC 4291
    (ip_network("::/96"), 0),  # compatible, RFC 4291
    (ip_network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ip_network("::ffff:0:0:0/96"), 0),  # translated, RFC 2765
    (ip_network("2002::/16"), 80),  # 6to4, RFC 3056
]


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What this deployment may probe."""

    loopback: bool = True
    private: bool = True

    def refusal(self, address: str) -> str | None:
        """Return why `address` may not be probed from here, or None if it may.

        `address` is an IPv4 or IPv6 literal; anything else is refused too.
        """
        try:
            return self._refusal(ip_address(address))
        except ValueError:
            return f"{address!r} is not an IP address"

    def allows(self, address: str) -> bool:
        """Whether `address` may be probed from here."""
        return self.refusal(address) is None

    def _refusal(self, address: IPv4Address | IPv6Address) -> str | None:
        for network, shift in CARRIES_IPV4:
            if address in network and int(address) > 1:
                inner = IPv4Address(int(address) >> shift & 0xFFFF_FFFF)
                return self._refusal(inner)
        for kind, network in NEVER_NETWORKS:
            if address in network:
                return f"{address} is {kind} and can't be watched"
        if address.version == 6 and not any(address in network for network in IPV6_IN_USE):
            return f"{address} is reserved and can't be watched"
        if not self.loopback and any(address in network for network in LOOPBACK):
            return f"{address} is loopback, which isn't watched here (PINGLET_ALLOW_LOOPBACK)"
        if not self.private and any(address in network for network in PRIVATE):
            return f"{address} is private, which isn't watched here (PINGLET_ALLOW_PRIVATE)"
        return None
