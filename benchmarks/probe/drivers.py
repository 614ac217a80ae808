"""One sweep by a library or a service, as a program of its own that can be metered.

    python -m benchmarks.probe.drivers PEER FILE COUNT [options]

prints one line a target, "address rtt_ms|- ...", then "# " and what else is to be said, as JSON:
`wall_s` of the sweep alone (no start-up, no printing) and whatever the peer counts.
Only the standard library is imported before the peer is known: start-up is part of the measurement.
"""

import asyncio
import json
import re
import sys
from collections.abc import Iterable, Sequence
from time import perf_counter

TIMEOUT_S = 1.0
GAP_S = 0.1
AT_ONCE = 500
Rows = Iterable[tuple[str, Sequence[float | None]]]
DEFAULT_BUFFER = 212_992  # net.core.rmem_default where nobody changed it


def show(rows: Rows, **facts: object) -> None:
    """Prints what this module promises."""
    write = sys.stdout.write
    for name, rtts_ms in rows:
        write(f"{name} {' '.join(['-' if ms is None else f'{ms:.4f}' for ms in rtts_ms])}\n")
    print("#", json.dumps(facts))


def ours(addresses: list[str], count: int, kind: str, port: int) -> None:
    """The engine of core.probe; `kind` may say icmp-default for the default receive buffer."""
    from core.probe import Destination, Kind, Pace, Verdict, channel, probe, tcp
    from core.probe.packets import V4

    kind, _, default = kind.partition("-")
    if default:
        channel.BUFFER = DEFAULT_BUFFER // 2  # the kernel doubles what it is asked for
    targets = [Destination(one, (port,)) for one in addresses]
    begun = perf_counter()
    results = probe(Kind(kind), targets, Pace(echoes=count, timeout_s=TIMEOUT_S, gap_s=GAP_S))
    wall_s = perf_counter() - begun
    if kind == "icmp":
        here = channel.Channel(V4, True)
        window = here.window
        here.close()
    else:
        window = min(tcp.WINDOW, int(tcp.SHARE * tcp.free_descriptors()))
    rows, faults = [], 0
    for address, result in zip(addresses, results, strict=True):
        rtts_ms = []
        for echo in result.echoes:
            rtts_ms.append(echo.rtt_ms)
            faults += echo.verdict is Verdict.LOCAL_FAULT
        rows.append((address, rtts_ms))
    show(rows, wall_s=wall_s, faults=faults, window=window)


def icmplib(addresses: list[str], count: int, kind: str, port: int) -> None:
    """icmplib's async_multiping, 500 tasks at once; `kind` is raw or dgram."""
    del port
    from icmplib import async_multiping

    begun = perf_counter()
    hosts = asyncio.run(
        async_multiping(
            addresses, count, GAP_S, TIMEOUT_S, concurrent_tasks=AT_ONCE, privileged=kind == "raw"
        )
    )
    wall_s = perf_counter() - begun
    # It doesn't say which echo was lost: the lost ones are shown last.
    rows = [(h.address, h.rtts + [None] * (count - len(h.rtts))) for h in hosts]
    show(rows, wall_s=wall_s)


def streams(addresses: list[str], count: int, kind: str, port: int) -> None:
    """asyncio.open_connection, timed by perf_counter, 500 at once: how most monitors do it."""
    del kind

    async def one(address: str, room: asyncio.Semaphore) -> list[float | None]:
        rtts_ms: list[float | None] = []
        for echo in range(count):
            if echo:
                await asyncio.sleep(GAP_S)
            async with room:
                begun = perf_counter()
                try:
                    opening = asyncio.open_connection(address, port)
                    _, writer = await asyncio.wait_for(opening, TIMEOUT_S)
                except (OSError, TimeoutError):
                    rtts_ms.append(None)
                    continue
                rtts_ms.append((perf_counter() - begun) * 1000)
                writer.close()
        return rtts_ms

    async def every() -> list[list[float | None]]:
        room = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(one(address, room) for address in addresses))

    begun = perf_counter()
    found = asyncio.run(every())
    show(list(zip(addresses, found, strict=True)), wall_s=perf_counter() - begun)


def blackbox(addresses: list[str], count: int, kind: str, port: int) -> None:
    """Asks a running blackbox_exporter over 500 kept connections, as a scraper would.

    `port` is the service's; the probes' own port for TCP is 443.
    """
    metric = (
        'probe_icmp_duration_seconds{phase="rtt"}' if kind == "icmp" else "probe_duration_seconds"
    )
    wanted = re.compile(rf"^{re.escape(metric)} (\S+)$.*^probe_success 1$", re.M | re.S)
    rtts_ms: dict[str, list[float | None]] = {address: [] for address in addresses}

    async def ask(queue: list[str]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while queue:
            address = queue.pop()
            target = address if kind == "icmp" else f"{address}:443"
            path = f"/probe?module={kind}&target={target}"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length:
                body = await reader.readexactly(int(length[1]))
            else:
                body = await chunks(reader)
            found = wanted.search(body.decode())
            rtts_ms[address].append(float(found[1]) * 1000 if found else None)
        writer.close()

    async def every() -> None:
        queue = [address for address in reversed(addresses) for _ in range(count)]
        await asyncio.gather(*(ask(queue) for _ in range(min(AT_ONCE, len(queue)))))

    begun = perf_counter()
    asyncio.run(every())
    show(list(rtts_ms.items()), wall_s=perf_counter() - begun)


async def chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body (RFC 9112)."""
    body = b""
    while True:
        size = int(await reader.readline(), 16)
        body += (await reader.readexactly(size + 2))[:size]
        if not size:
            return body


PEERS = {"ours": ours, "icmplib": icmplib, "streams": streams, "blackbox": blackbox}


def main(peer: str, file: str, count: str, kind: str = "icmp", port: str = "443") -> None:
    """Reads the targets, runs the peer."""
    with open(file, encoding="ascii") as lines:
        addresses = lines.read().split()
    PEERS[peer](addresses, int(count), kind, int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
