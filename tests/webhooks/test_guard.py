"""Nothing that is not public is ever called: each trick is refused before a packet leaves.

That none leaves is seen in two ways: the interpreter reports every ``connect`` of a socket to an audit hook,
and a real server listens where many of the tricks would arrive.
"""

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opentill.webhooks.guard import LOOKUPS, Forbidden, Guard, is_public
from opentill.webhooks.poster import PostAnswer, Poster
from webhooks.receiver import Receiver

_connected: list[object] = []


def _notice(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        _connected.append(arguments[-1])


sys.addaudithook(_notice)

TLS = ssl.create_default_context()  # reading the authorities' certificates takes its time
NAMES = {
    "localhost": ["127.0.0.1"],
    "private.example": ["10.0.0.1"],
    "loopback.example": ["127.0.0.1"],
    "mixed.example": ["93.184.215.14", "192.168.1.1"],
    "mixed-family.example": ["93.184.215.14", "::1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "scoped.example": ["fe80::1%1"],
    "nat64.example": ["64:ff9b::7f00:1"],
}


async def names(host: str) -> list[str]:
    """Name servers of somebody who means ill; any other name is the system's to resolve."""
    known = NAMES.get(host.lower().rstrip("."))
    if known is not None:
        return known
    found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return [str(address[0]) for *_, address in found]


ADDRESSES = {
    "loopback": "http://127.0.0.1:{port}/",
    "loopback, another": "http://127.255.3.4:{port}/",
    "loopback, short": "http://127.1:{port}/",
    "loopback, decimal": "http://2130706433:{port}/",
    "loopback, octal": "http://0177.0.0.1:{port}/",
    "loopback, octal number": "http://017700000001:{port}/",
    "loopback, hexadecimal": "http://0x7f000001:{port}/",
    "loopback, hexadecimal part": "http://0x7f.1:{port}/",
    "loopback, trailing dot": "http://127.0.0.1.:{port}/",
    "loopback of IPv6": "http://[::1]:{port}/",
    "loopback of IPv6, in full": "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/",
    "loopback, mapped": "http://[::ffff:127.0.0.1]:{port}/",
    "loopback, mapped in hexadecimal": "http://[::ffff:7f00:1]:{port}/",
    "loopback, compatible": "http://[::127.0.0.1]:{port}/",
    "loopback, NAT64": "http://[64:ff9b::127.0.0.1]:{port}/",
    "loopback, local NAT64": "http://[64:ff9b:1::7f00:1]:{port}/",
    "loopback, 6to4": "http://[2002:7f00:1::]:{port}/",
    "localhost": "http://localhost:{port}/",
    "localhost, shouted": "http://LOCALHOST:{port}/",
    "localhost, trailing dot": "http://localhost.:{port}/",
    "unspecified": "http://0.0.0.0:{port}/",
    "unspecified, short": "http://0:{port}/",
    "unspecified of IPv6": "http://[::]:{port}/",
    "private, ten": "http://10.1.2.3/",
    "private, 172": "http://172.16.0.1/",
    "private, 172, last": "http://172.31.255.255/",
    "private, 192": "http://192.168.0.1/",
    "between provider and customer": "http://100.64.0.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata, decimal": "http://2852039166/",
    "metadata, mapped": "http://[::ffff:a9fe:a9fe]/",
    "metadata of IPv6": "http://[fd00:ec2::254]/",
    "metadata of Alibaba": "http://100.100.100.200/",
    "metadata of Oracle": "http://192.0.0.192/",
    "wire server of Azure": "http://168.63.129.16/",
    "link-local": "http://[fe80::1]/",
    "site-local": "http://[fec0::1]/",
    "unique local": "http://[fc00::1]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "relay of 6to4": "http://192.88.99.1/",
    "multicast": "http://224.0.0.1/",
    "multicast of IPv6": "http://[ff02::1]/",
    "broadcast": "http://255.255.255.255/",
    "reserved": "http://240.0.0.1/",
    "documentation": "http://192.0.2.1/",
    "documentation of IPv6": "http://[2001:db8::1]/",
    "newer documentation of IPv6": "http://[3fff::1]/",
    "benchmarking": "http://198.18.0.1/",
    "benchmarking of IPv6": "http://[2001:2::1]/",
    **{f"name: {name}": f"http://{name}:{{port}}/" for name in NAMES},
}
SPELLINGS = {
    "user": "http://user@93.184.215.14/",
    "password": "http://:secret@93.184.215.14/",
    "empty user": "http://@127.0.0.1:{port}/",
    "address behind a user": "http://93.184.215.14:80@127.0.0.1:{port}/",
    "backslash before a user": "http://93.184.215.14\\@127.0.0.1:{port}/",
    "backslash": "http:\\\\127.0.0.1:{port}/",
    "backslash in the path": "http://93.184.215.14/\\..",
    "zone": "http://[fe80::1%25lo]:{port}/",
    "zone of loopback": "http://[::1%1]:{port}/",
    "percent-encoded address": "http://%31%32%37.0.0.1:{port}/",
    "percent-encoded dot": "http://127%2e0.0.1:{port}/",
    "circled digits": "http://①②⑦.⓪.⓪.①:{port}/",
    "full-width digits": "http://\uff11\uff12\uff17.0.0.1:{port}/",
    "ideographic dots": "http://127。0。0。1:{port}/",
    "circled name": "http://ⓛocalhost:{port}/",
    "soft hyphen": "http://local\u00adhost:{port}/",
    "tab in the scheme": "ht\ttp://127.0.0.1:{port}/",
    "tab in the host": "http://127.0.0.1\t:{port}/",
    "newline in the host": "http://93.184.215.14\n.127.0.0.1:{port}/",
    "newline in the path": "http://93.184.215.14/\r\nX-Injected: 1",
    "space before": " http://127.0.0.1:{port}/",
    "NUL": "http://93.184.215.14\0.127.0.0.1/",
    "port 0": "http://93.184.215.14:0/",
    "port too large": "http://93.184.215.14:65536/",
    "port in other digits": "http://93.184.215.14:\uff18\uff10/",
    "port with a sign": "http://93.184.215.14:+80/",
    "no host": "http:///etc/passwd",
    "no scheme": "//127.0.0.1:{port}/",
    "only a path": "/v1/checkout/order",
    "file": "file:///etc/passwd",
    "ftp": "ftp://93.184.215.14/",
    "gopher": "gopher://127.0.0.1:{port}/",
    "websocket": "ws://127.0.0.1:{port}/",
    "unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "too many parts": "http://1.2.3.4.5/",
    "part too large": "http://256.1.1.1/",
    "future address": "http://[v1.127]:{port}/",
    "unclosed bracket": "http://[::1:{port}/",
    "empty label": "http://a..b/",
    "label too long": f"http://{'a' * 64}.example/",
    "name too long": f"http://{'a.' * 127}example/",
    "too long": f"http://93.184.215.14/{'a' * 2048}",
    "empty": "",
}


@pytest.fixture(scope="module")
def trap() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def _post(guard: Guard, url: str) -> PostAnswer:
    poster = Poster(guard, timeout_seconds=5, tls=TLS)
    try:
        return await poster.post(url, b"{}", {})
    finally:
        await poster.close()


async def _post_unchecked(guard: Guard, url: str) -> None:
    """As a client that only connects through the guard and looks at no URL before."""
    async with aiohttp.ClientSession(connector=guard.connector(TLS)) as session, session.post(url):
        pass


@pytest.mark.parametrize("url", [pytest.param(u, id=i) for i, u in (ADDRESSES | SPELLINGS).items()])
def test_each_trick_is_refused_before_a_packet_leaves(url: str, trap: Receiver) -> None:
    """Posting to it ends without answer or connection, and in a sentence that names no address."""
    _connected.clear()
    guard = Guard(allow_loopback=False, resolver=names)
    answer = asyncio.run(_post(guard, url.format(port=trap.port)))
    assert answer.status is None
    assert answer.text.startswith("The URL")
    assert "127." not in answer.text
    assert (_connected, trap.connections) == ([], 0)


@pytest.mark.parametrize("url", [pytest.param(u, id=i) for i, u in ADDRESSES.items()])
def test_the_connector_alone_refuses_each_address(url: str, trap: Receiver) -> None:
    """Even a client that never checked the URL reaches no address that is not public."""
    _connected.clear()
    guard = Guard(allow_loopback=False, resolver=names)
    with pytest.raises((aiohttp.ClientConnectorError, aiohttp.InvalidURL)) as refused:
        asyncio.run(_post_unchecked(guard, url.format(port=trap.port)))
    if isinstance(refused.value, aiohttp.ClientConnectorError):  # the client refuses odd numbers by itself
        assert isinstance(refused.value.os_error, Forbidden)
    assert (_connected, trap.connections) == ([], 0)


@pytest.mark.parametrize("name", sorted(SPELLINGS))
def test_a_misspelt_url_is_refused_when_it_is_registered(name: str) -> None:
    """What is wrong with the URL itself is said without looking anything up."""
    with pytest.raises(Forbidden, match=r"^The URL.*\.$"):
        Guard(allow_loopback=True).check_url(SPELLINGS[name].format(port=8000))


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/",
        "HTTPS://Shop.Example/Hooks",
        "http://shop.example:8080/hooks?to=a@b&c=%20d#e",
        "https://shop.example?to=a:b@c",
        "https://xn--mnchen-3ya.example/",
        "https://a_b.shop-1.example./x",
        "https://8.8.4.4/",
        "https://[2606:4700:4700::1111]:8443/",
        "https://0x.example/",
        "https://127.0.0.1.nip.example/",
    ],
)
def test_an_ordinary_url_can_be_registered(url: str) -> None:
    """Public addresses and names, with port, path, query and fragment, are let through."""
    Guard(allow_loopback=False).check_url(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST.", "loopback.example"])
def test_loopback_is_reached_where_it_is_allowed(host: str) -> None:
    """The setting lets loopback through, by address and by name, and the hook sees the connection."""
    _connected.clear()
    with Receiver() as receiver:
        guard = Guard(allow_loopback=True, resolver=names)
        answer = asyncio.run(_post(guard, f"http://{host}:{receiver.port}/"))
    assert (answer.status, receiver.connections) == (200, 1)
    assert ("127.0.0.1", receiver.port) in _connected


@pytest.mark.parametrize("address", ["127.0.0.1", "127.200.0.1", "127.255.255.255", "::1"])
def test_allowed_loopback_is_all_of_it(address: str) -> None:
    """127.0.0.0/8 and ::1 are what the setting lets through."""
    Guard(allow_loopback=True).check_address(address)
    with pytest.raises(Forbidden):
        Guard(allow_loopback=False).check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "::",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "fd00:ec2::254",
    ],
)
def test_allowed_loopback_is_nothing_else(address: str) -> None:
    """The setting opens neither private networks, nor metadata, nor loopback in the clothes of IPv6."""
    with pytest.raises(Forbidden):
        Guard(allow_loopback=True).check_address(address)


def test_a_name_is_refused_for_one_of_its_addresses() -> None:
    """A name with a public and a private address is refused as a whole; with public ones it is not."""

    async def resolve(name: str) -> list[str]:
        return {"good": ["8.8.8.8", "2606:4700:4700::1111"], "half": ["8.8.8.8", "10.0.0.1"]}[name]

    guard = Guard(allow_loopback=False, resolver=resolve)
    assert asyncio.run(guard.addresses("good")) == ["8.8.8.8", "2606:4700:4700::1111"]
    with pytest.raises(Forbidden):
        asyncio.run(guard.addresses("half"))


def test_a_name_that_moves_is_refused_when_it_has_moved(trap: Receiver) -> None:
    """Each new connection is judged by the answer it is made with, not by the one at registration."""
    _connected.clear()
    moving = iter([["8.8.8.8"], ["127.0.0.1"]])

    async def resolve(_name: str) -> list[str]:
        return next(moving)

    async def scenario() -> PostAnswer:
        guard = Guard(allow_loopback=False, resolver=resolve)
        url = f"http://moving.example:{trap.port}/"
        guard.check_url(url)
        assert await guard.addresses("moving.example") == ["8.8.8.8"]
        return await _post(guard, url)

    assert asyncio.run(scenario()).status is None
    assert (_connected, trap.connections) == ([], 0)


def test_the_system_resolves_names_by_itself() -> None:
    """Without a resolver of its own the guard asks the system, and a name unknown there is an OSError."""

    async def scenario() -> None:
        guard = Guard(allow_loopback=True)
        assert {"127.0.0.1", "::1"} & set(await guard.addresses("localhost"))
        with pytest.raises(socket.gaierror):
            await guard.addresses("nobody.invalid")
        guard.close()

    asyncio.run(scenario())


def test_a_silent_name_server_keeps_no_other_name_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a name is asked for that nobody answers for, others are resolved meanwhile."""
    ask, end = socket.getaddrinfo, threading.Event()

    def silent(host: str, *arguments: Any, **more: Any) -> Any:
        return end.wait(30) if host == "silent.example" else ask(host, *arguments, **more)

    async def scenario() -> None:
        guard = Guard(allow_loopback=True)
        tries = [asyncio.create_task(guard.addresses("silent.example")) for _ in range(2 * LOOKUPS)]
        await asyncio.sleep(0)
        for each in tries[::2]:
            each.cancel()
        assert await asyncio.wait_for(guard.addresses("localhost"), 10)
        assert not any(each.done() for each in tries[1::2])
        guard.close()
        for each in tries:
            each.cancel()
        end.set()

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    asyncio.run(scenario())


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2003::1",
        "2606:4700:4700::1111",
    ],
)
def test_neighbours_of_what_is_refused_are_public(address: str) -> None:
    """Addresses just beside the special ranges can be called."""
    assert is_public(ip_address(address))


@settings(deadline=None)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_counts_as_public_that_the_standard_library_knows_better(
    address: IPv4Address | IPv6Address,
) -> None:
    """Whatever is public here is global, and neither multicast nor reserved, in Python's own tables."""
    if is_public(address):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy named in the environment sees nothing of a post."""
    with Receiver() as proxy, Receiver() as receiver:
        for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        answer = asyncio.run(_post(Guard(allow_loopback=True), receiver.url))
        assert answer.status == 200
        assert (len(receiver.posts), proxy.connections) == (1, 0)
