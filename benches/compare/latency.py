"""A TCP proxy behind which a server on this machine seems to be far away.

    python3 latency.py --to 127.0.0.1:8000 --round-trip 25

Each direction is a delay line: every piece is written half a round trip after
it was read, however many pieces are on the way, so bandwidth stays what it is.
A connection takes a round trip to open: what a client writes before that would
be over is taken as read at that moment.

With `--faults 5`, five in a hundred HTTP requests fail: one of every twenty, at
a place that the seed decides, in turn with 503 SlowDown, a reset before the
server sees the request, and an answer that breaks off in its middle. They happen
at the server's end, so to learn of one takes a round trip too.

With `--unsigned-type-off`, a Content-Type that the signature of a request does
not cover is taken out of it.

The first line of stdout is the port. Each line of stdin is answered with one
line of JSON, what was counted since the one before; when stdin ends, so does
the proxy.
"""

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
from collections import Counter, deque
from functools import partial

# Of one direction of one connection: more than any delay here lets pile up, and
# less than what a peer that does not read could fill memory with.
MOST_HELD_BYTES = 32 * 2**20
# Timers come up to a millisecond late; half of it early makes them right on average.
EARLY_SECONDS = 0.0005
# What goes through a line beside bytes: nothing more comes; it was closed; it broke.
END, CLOSE, RESET = "end", "close", "reset"
KINDS = ("slow_down", "reset", "truncated")
SLOW_DOWN_BODY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>"
SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(SLOW_DOWN_BODY), SLOW_DOWN_BODY)
)
HEAD_END = b"\r\n\r\n"


class Line:
    """One direction: hands on each item a fixed time after it came in."""

    def __init__(self, delay, deliver):
        self.delay, self.deliver = delay, deliver
        self.loop = asyncio.get_running_loop()
        self.items, self.held = deque(), 0
        self.source = None
        self.sink_is_full = False

    def put(self, item, earliest=0.0):
        """Take in bytes, or a word for what happened, as if not before a moment."""
        if not self.delay:
            self.deliver(item)
            return
        due = max(self.loop.time(), earliest) + self.delay
        self.items.append((due, item))
        self.held += len(item)
        if len(self.items) == 1:
            self.loop.call_at(due - EARLY_SECONDS, self._hand_on)
        self.throttle()

    def _hand_on(self):
        now = self.loop.time() + EARLY_SECONDS
        while self.items and self.items[0][0] <= now:
            _, item = self.items.popleft()
            self.held -= len(item)
            self.deliver(item)
        if self.items:
            self.loop.call_at(self.items[0][0] - EARLY_SECONDS, self._hand_on)
        self.throttle()

    def throttle(self):
        """Read no more for now if too much is held, or the other end takes no more."""
        if self.source is None or self.source.is_closing():
            return
        if self.sink_is_full or self.held > MOST_HELD_BYTES:
            self.source.pause_reading()
        else:
            self.source.resume_reading()


class Side(asyncio.Protocol):
    """One of the two sockets of a link."""

    def __init__(self, received):
        self.received = received
        # Where what is read here goes, and where what is written here comes from.
        self.to, self.source = None, None
        self.transport = None
        self.read_all = self.wrote_all = False

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.received(data)

    def eof_received(self):
        self.to.put(END)
        self.read_all = True
        # What returns here keeps the other direction open, which may have more to say.
        return not self.wrote_all

    def connection_lost(self, exc):
        self.to.put(RESET if exc else CLOSE)

    def pause_writing(self):
        self.source.sink_is_full = True
        self.source.throttle()

    def resume_writing(self):
        self.source.sink_is_full = False
        self.source.throttle()

    def write(self, item):
        """Do what came out of a line: write, say that nothing more comes, or break off."""
        if self.transport is None or self.transport.is_closing():
            return
        if item is CLOSE or item is END and self.read_all:
            self.transport.close()
        elif item is END:
            self.wrote_all = True
            self.transport.write_eof()
        elif item is RESET:
            self.reset()
        else:
            self.transport.write(item)

    def reset(self):
        """Close in a way that the peer sees as an error."""
        found = self.transport.get_extra_info("socket")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Link:
    """A client's connection and the one to the server that belongs to it."""

    def __init__(self, delay, counts, make_gate):
        self.counts = counts
        loop = asyncio.get_running_loop()
        self.client, self.server = Side(self._from_client), Side(self._from_server)
        gate = make_gate(self) if make_gate else None
        self.up = Line(delay, gate.request if gate else self.server.write)
        self.down = Line(delay, self.client.write)
        self.answer = gate.answer if gate else self.down.put
        self.client.to, self.client.source = self.up, self.down
        self.server.to, self.server.source = self.down, self.up
        self.opened = loop.time() + 2 * delay

    async def connect(self, transport, address):
        """Go on from a client's connection by opening the server's."""
        transport.pause_reading()
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self.server, *address)
        except OSError:
            self.client.reset()
            return
        self.up.source, self.down.source = transport, self.server.transport
        self.up.throttle()

    def _from_client(self, data):
        self.counts["sent"] += len(data)
        self.up.put(data, self.opened)

    def _from_server(self, data):
        self.counts["received"] += len(data)
        self.answer(data)


class Plan:
    """Which requests fail, and how: as many as were asked for, not about as many."""

    def __init__(self, percent, seed):
        self.block = round(100 / percent)
        self.choice = random.Random(seed)
        self.requests = self.faults = self.victim = 0

    def next(self):
        """The fault of the next request, or None."""
        place = self.requests % self.block
        if place == 0:
            self.victim = self.choice.randrange(self.block)
        self.requests += 1
        if place != self.victim:
            return None
        self.faults += 1
        return KINDS[self.faults % len(KINDS)]


class Gate:
    """Stands before the server, and makes requests of a link fail or changes their heads.

    It follows requests and answers by their Content-Length, and relies on there
    being one request at a time, as there is without pipelining.
    """

    def __init__(self, link, plan, unsigned_type_off):
        self.link, self.plan = link, plan
        self.unsigned_type_off = unsigned_type_off
        self.unread = bytearray()
        self.fault, self.method = None, b""
        # Bytes of this request's body to come, and of this answer to let through.
        self.body = 0
        self.left = None
        self.broken = False

    def request(self, item):
        """Pass on, or swallow, what a client sent."""
        if self.broken:
            return
        if not isinstance(item, bytes):
            self.link.server.write(item)
            return
        self.unread += item
        while self.unread and not self.broken and self._step():
            pass

    def _step(self):
        """Handle one head, or what is there of a body; say whether there was one."""
        if self.body:
            piece = bytes(self.unread[: self.body])
            self.body -= len(piece)
            del self.unread[: len(piece)]
        else:
            end = self.unread.find(HEAD_END)
            if end < 0:
                return False
            piece = bytes(self.unread[: end + len(HEAD_END)])
            del self.unread[: len(piece)]
            self._begin(piece)
            if self.unsigned_type_off:
                piece = _without_unsigned_type(piece)
        if self.fault == "reset":
            self._break(RESET)
        elif self.fault != "slow_down":
            self.link.server.write(piece)
        elif not self.body:
            self.link.down.put(SLOW_DOWN)
        return True

    def _begin(self, head):
        self.method = head.split(b" ", 1)[0]
        self.body = _length(head)
        self.left = None
        self.fault = self.plan.next() if self.plan else None
        self.link.counts["requests"] += 1
        if self.fault:
            self.link.counts[self.fault] += 1
        if self.fault == "slow_down" and _field(head, b"expect"):
            # The body is not sent before an answer; afterwards nobody could tell
            # whether it comes.
            self.link.down.put(SLOW_DOWN)
            self._break(CLOSE)

    def answer(self, data):
        """Pass on what the server said, or the first half of it."""
        if self.broken:
            return
        if self.fault != "truncated" or data.startswith(b"HTTP/1.1 100 "):
            self.link.down.put(data)
            return
        if self.left is None:
            self.left = self._half(data)
        piece = data[: self.left]
        self.left -= len(piece)
        self.link.down.put(piece)
        if not self.left:
            self._break(CLOSE)

    def _half(self, data):
        """Half of the body, or of the head where there is no body."""
        end = data.find(HEAD_END) + len(HEAD_END)
        length = 0 if self.method == b"HEAD" else _length(data[:end])
        return end + length // 2 if length > 1 else len(data) // 2

    def _break(self, how):
        """End both connections, the client's after what is on its way."""
        self.broken = True
        self.link.down.put(how)
        self.link.server.transport.abort()


def _without_unsigned_type(head):
    signed = (_field(head, b"authorization") or b"").partition(b"SignedHeaders=")[2]
    if b"content-type" in signed.partition(b",")[0].split(b";"):
        return head
    lines = head.split(b"\r\n")
    return b"\r\n".join(x for x in lines if not x.lower().startswith(b"content-type:"))


def _field(head, name):
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _length(head):
    if _field(head, b"transfer-encoding") and not head.startswith(b"HTTP/"):
        raise ValueError("a request without Content-Length can't be followed")
    return int(_field(head, b"content-length") or 0)


async def serve(options):
    """Accept connections until stdin ends."""
    loop = asyncio.get_running_loop()
    host, _, port = options.to.rpartition(":")
    counts = Counter()
    plan = Plan(options.faults, options.seed) if options.faults else None
    links = set()
    make_gate = None
    if plan or options.unsigned_type_off:
        make_gate = partial(Gate, plan=plan, unsigned_type_off=options.unsigned_type_off)

    def accept():
        counts["connections"] += 1
        link = Link(options.round_trip / 2000, counts, make_gate)
        made = link.client.connection_made

        def connection_made(transport):
            made(transport)
            task = loop.create_task(link.connect(transport, (host, int(port))))
            links.add(task)
            task.add_done_callback(links.discard)

        link.client.connection_made = connection_made
        return link.client

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    while await stdin.readline():
        print(json.dumps(counts), flush=True)
        counts.clear()


def main():
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--round-trip", type=float, default=0, metavar="MS",
                        help="how much longer a round trip takes, in milliseconds")
    parser.add_argument("--faults", type=float, default=0, metavar="PERCENT",
                        help="how many HTTP requests fail")
    parser.add_argument("--unsigned-type-off", action="store_true",
                        help="drop a Content-Type that is not signed")
    parser.add_argument("--seed", type=int, default=0, help="decides which requests fail")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
