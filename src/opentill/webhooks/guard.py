"""Who may be called out to: the one place that keeps requests on the public internet.

A merchant chooses where webhooks go, so a URL may try to reach what only this machine can: its own
services, its neighbours, a cloud's metadata. Two checks stop that. ``Guard.check_url`` lets only URLs
through that all parsers read alike and that name no forbidden address. ``Guard.connector`` is what an HTTP
client connects by: it checks each address that a name resolves to, and once more the very address that the
socket is about to be connected to.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""From a host name to all its addresses, as text; raises OSError when it has none."""
_Address: TypeAlias = IPv4Address | IPv6Address
_Network: TypeAlias = IPv4Network | IPv6Network
_SocketAddress: TypeAlias = tuple[int, int, int, str, tuple[object, ...]]

LONGEST_URL: Final = 2048
LONGEST_NAME: Final = 253
LOOKUPS: Final = 256
"""Names that are looked up at the same time, each by one thread however many wait for it.

A lookup can take half a minute when its servers are silent, and its thread outlives whoever waited.
"""
NAMES_KEPT_SECONDS: Final = 10
IDLE_SECONDS: Final = 2.0
"""How long an unused connection is kept: less than receivers do, who would close it under a new request."""


class Forbidden(PermissionError):
    """Nobody may be called at this address; the message is one sentence that says why."""


# --- addresses --------------------------------------------------------------------------------------


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ip_network(text) for text in texts)


LOOPBACK: Final = _networks("127.0.0.0/8", "::1/128")
PUBLIC: Final = _networks("0.0.0.0/0", "2000::/3")
"""Of IPv6 only what is given out: mapped, compatible, NAT64, local and multicast addresses lie outside."""
NOT_PUBLIC: Final = _networks(
    "0.0.0.0/8",  # this host
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # between a provider and its customers (CGN)
    "127.0.0.0/8",  # loopback
    "168.63.129.16/32",  # a public number, behind which Azure serves each machine its own secrets
    "169.254.0.0/16",  # link-local, with the metadata of most clouds
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation
    "192.88.99.0/24",  # relays of 6to4
    "192.168.0.0/16",  # private
    "198.18.0.0/15",  # benchmarking
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, with broadcast
    "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4, which wraps any IPv4 address
    "3fff::/20",  # documentation
)


def is_public(address: _Address) -> bool:
    """Tell whether the address is one of the public internet."""
    return _within(address, PUBLIC) and not _within(address, NOT_PUBLIC)


def _within(address: _Address, networks: Sequence[_Network]) -> bool:
    return any(address in network for network in networks)


# --- URLs -------------------------------------------------------------------------------------------

_URL = re.compile(
    r"""
    (?P<scheme>[a-z]+)://
    (?: \[(?P<v6>[0-9a-f:.]+)\] | (?P<name>[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?) )
    (?: :(?P<port>[0-9]{1,5}) )?
    (?: [/?][!-\[\]-~]* )?              # printable ASCII without the backslash
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_WITH_CREDENTIALS = re.compile(r"[^/?#\\]*//[^/?#]*@")
_ENDS_LIKE_IPV4 = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.IGNORECASE)
"""What some programs read as an IPv4 address: its last part is a number, perhaps octal or hexadecimal."""


def _numeric_host(url: re.Match[str]) -> _Address | None:
    """Read the address that the URL spells out; None for a name. Raises Forbidden unless spelt plainly."""
    try:
        if url["v6"]:
            return IPv6Address(url["v6"])
        return IPv4Address(url["name"]) if _ENDS_LIKE_IPV4.fullmatch(url["name"]) else None
    except ValueError:
        raise Forbidden("The URL's address must be written in its usual form, such as 8.8.4.4.") from None


def _parsed(url: str) -> re.Match[str]:
    if _WITH_CREDENTIALS.match(url):
        raise Forbidden("The URL may not carry a user name or password.")
    found = _URL.fullmatch(url) if len(url) <= LONGEST_URL else None
    if found is None or len(found["name"] or "") > LONGEST_NAME:
        raise Forbidden(
            "The URL must be http:// or https:// with a plain host name, in printable ASCII, "
            f"of at most {LONGEST_URL} characters."
        )
    return found


class Guard:
    """Decides where a request may go. Public addresses only; loopback too, where that is allowed."""

    def __init__(self, *, allow_loopback: bool, resolver: Resolve | None = None):
        self._allow_loopback = allow_loopback
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="opentill-names")
        self._looked_up: dict[str, Future[list[str]]] = {}
        """By name, what is being looked up now."""
        self._resolve = resolver or self._ask_the_system

    def check_url(self, url: str) -> None:
        """Raise Forbidden for a URL that can never be called, whatever its name resolves to."""
        found = _parsed(url)
        if found["scheme"].lower() not in {"http", "https"}:
            raise Forbidden("The URL must begin with http:// or https://.")
        if found["port"] and not 0 < int(found["port"]) < 65_536:
            raise Forbidden("The URL's port must be a number from 1 to 65535.")
        address = _numeric_host(found)
        if address is not None:
            self.check_address(str(address))
        elif _is_localhost(found["name"]) and not self._allow_loopback:
            raise Forbidden("The URL's host must be public, not this machine.")

    def check_address(self, text: str) -> None:
        """Raise Forbidden unless a connection to this address is allowed.

        The sentence does not name the address, so that nobody learns what a name stands for in here.
        """
        address = ip_address(text)
        if self._allow_loopback and _within(address, LOOPBACK):
            return
        if not is_public(address):
            raise Forbidden("The URL's host must be public; it is a private or special address.")

    def connector(self, tls: ssl.SSLContext | None = None) -> TCPConnector:
        """Make what a client session must connect by; to be called inside the running event loop.

        Certificates and host names are checked, against the system's authorities unless ``tls`` brings
        others. The session must not trust the environment: a proxy would stand between check and address.
        """
        return TCPConnector(
            ssl=tls or ssl.create_default_context(),
            limit=0,
            resolver=_CheckedResolver(self.addresses),
            ttl_dns_cache=NAMES_KEPT_SECONDS,
            keepalive_timeout=IDLE_SECONDS,
            socket_factory=self._socket,
        )

    async def addresses(self, name: str) -> list[str]:
        """Look up all addresses of a name. Raises Forbidden if one of them is, OSError when it has none."""
        found = [str(address) for address in await self._resolve(name)]
        for address in found:
            self.check_address(address)
        return found

    def close(self) -> None:
        """Look up nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _socket(self, target: _SocketAddress) -> socket.socket:
        """Make the socket that is connected next, to exactly this address."""
        family, kind, protocol, _, address = target
        self.check_address(str(address[0]))
        return socket.socket(family, kind, protocol)

    async def _ask_the_system(self, name: str) -> list[str]:
        """Look up in threads of our own: the event loop has few, and silent name servers would hold them all.

        Whoever asks for a name that is being looked up waits for the same answer: a name that nobody answers
        for takes one thread, not one for every try.
        """
        looking = self._looked_up.get(name)
        if looking is None:
            looking = self._looked_up[name] = self._threads.submit(_system_addresses, name)
            looking.add_done_callback(lambda _: self._looked_up.pop(name, None))
        answer = asyncio.wrap_future(looking)
        answer.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # nobody may be left to ask
        return list(dict.fromkeys(await asyncio.shield(answer)))


def _system_addresses(name: str) -> list[str]:
    return [str(address[0]) for *_, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]


def _is_localhost(name: str) -> bool:
    return f".{name.lower().rstrip('.')}".endswith(".localhost")


class _CheckedResolver(AbstractResolver):
    """Gives the HTTP client the addresses of a name once all of them are known to be allowed."""

    def __init__(self, addresses: Callable[[str], Awaitable[list[str]]]):
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - all are checked, wanted or not
    ) -> list[ResolveResult]:
        """Look up all addresses of a host, of either family."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._addresses(host)
        ]

    async def close(self) -> None:
        """Do nothing: nothing is held."""
