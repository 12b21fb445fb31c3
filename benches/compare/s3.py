"""The S3 server that contenders share, near or far, and what each costs it.

The server is the one of larder's own tests, in a place of its own that is thrown
away with everything stored there. All contenders reach it through a proxy
(latency.py), also without added latency: the proxy counts their bytes.
"""

import datetime
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path

from provision import REPOSITORY

SCRIPT = REPOSITORY / "tests" / "s3" / "server.sh"
PROXY = Path(__file__).resolve().parent / "latency.py"
BUCKET = "bench"
# What larder must bear, and where the proxy's choice of requests begins.
FAULTS = ("--faults", "5", "--seed", "1")
TICKS = os.sysconf("SC_CLK_TCK")
# The server tidies up after a request; the next contender shall not pay for it.
QUIET_SECONDS, QUIET_TICKS, PATIENCE_SECONDS = 0.2, 1, 5


@dataclass(frozen=True)
class Prefix:
    """A store: everything below a prefix, and the way that leads there."""

    endpoint: str
    bucket: str
    name: str
    region: str
    keys: dict

    @property
    def env(self):
        """What aws, restic and larder read."""
        return {**self.keys, "AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}


class Server:
    """A server that runs while this is in use as a context."""

    def __init__(self, place):
        self.place = place

    def __enter__(self):
        words = self._script("start").split()
        found = dict(word.split("=", 1) for word in words if "=" in word)
        self.kind = found["LARDER_TEST_S3_SERVER"]
        self.address = found["AWS_ENDPOINT_URL"].removeprefix("http://")
        self.region = found["AWS_REGION"]
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        self.keys = {name: found[name] for name in names}
        try:
            self.pids = _family(int((self.place / "s3-server" / "pid").read_text()))
            self.request("PUT", f"/{BUCKET}")
        except BaseException:
            self._script("stop")
            raise
        return self

    def __exit__(self, *_):
        self._script("stop")

    def _script(self, word):
        env = {**os.environ, "CARGO_TARGET_DIR": str(self.place)}
        argv = ["sh", SCRIPT, word]
        return subprocess.run(argv, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout

    def cpu_ticks(self):
        """The processor time that all its processes have taken so far."""
        return sum(_ticks(pid) for pid in self.pids)

    def weigh(self, prefix):
        """Count the objects below a prefix that hold anything, and their bytes."""
        files = size = 0
        query = {"list-type": "2", "prefix": f"{prefix}/"}
        while True:
            answer = xml.etree.ElementTree.fromstring(self.request("GET", f"/{BUCKET}", query))
            kind = answer.tag.partition("}")[0] + "}"
            for entry in answer.iter(f"{kind}Size"):
                files += entry.text != "0"
                size += int(entry.text)
            token = answer.findtext(f"{kind}NextContinuationToken")
            if not token:
                return files, size
            query["continuation-token"] = token

    def request(self, method, path, query=None):
        """Send a request without a body, signed as S3 wants it; return the answer's body."""
        words = sorted((query or {}).items())
        text = urllib.parse.urlencode(words, safe="", quote_via=urllib.parse.quote)
        connection = http.client.HTTPConnection(self.address, timeout=60)
        headers = self._sign(method, path, text)
        connection.request(method, f"{path}?{text}" if text else path, headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"error: {method} {path}: {answer.status} {body.decode()[:500]}")
        return body

    def _sign(self, method, path, query):
        moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        nothing = hashlib.sha256(b"").hexdigest()
        headers = {"host": self.address, "x-amz-content-sha256": nothing, "x-amz-date": moment}
        names = ";".join(headers)
        lines = [method, path, query, *(f"{k}:{v}" for k, v in headers.items()), "", names, nothing]
        scope = [moment[:8], self.region, "s3", "aws4_request"]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        key = b"AWS4" + self.keys["AWS_SECRET_ACCESS_KEY"].encode()
        for word in (*scope, "\n".join(["AWS4-HMAC-SHA256", moment, "/".join(scope), digest])):
            key = hmac.digest(key, word.encode(), "sha256")
        who = "/".join([self.keys["AWS_ACCESS_KEY_ID"], *scope])
        proof = f"Credential={who}, SignedHeaders={names}, Signature={key.hex()}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {proof}"}


class Proxy:
    """One latency.py; it ends by itself if this process is killed."""

    def __init__(self, address, round_trip_ms, *options):
        self.argv = [sys.executable, PROXY, "--to", address, "--round-trip", str(round_trip_ms)]
        self.argv += options

    def start(self):
        """Start it; whoever starts it stops it."""
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(self.argv, stdin=pipe, stdout=pipe, text=True)
        self.endpoint = f"http://127.0.0.1:{int(self.child.stdout.readline())}"

    def stop(self):
        """End it and wait for that."""
        self.child.stdin.close()
        self.child.wait()

    def take(self):
        """What it counted since this was asked before."""
        print(file=self.child.stdin, flush=True)
        return json.loads(self.child.stdout.readline())

    def cpu_ticks(self):
        """The processor time that it has taken so far."""
        return _ticks(self.child.pid)


class S3:
    """A medium: the server, as far away as was asked for; a context."""

    def __init__(self, server, round_trip_ms):
        self.server = server
        self.round_trip_ms = round_trip_ms
        self.name = f"s3+{round_trip_ms:g}ms"
        self.plain = Proxy(server.address, round_trip_ms)
        self.faulty = Proxy(server.address, round_trip_ms, *FAULTS)
        self.mending = Proxy(server.address, round_trip_ms, "--unsigned-type-off")

    def __enter__(self):
        for proxy in self._proxies():
            proxy.start()
        return self

    def __exit__(self, *_):
        for proxy in self._proxies():
            proxy.stop()

    def create(self, contender, place, number):
        """A store for one contender and round, at a prefix that nobody used."""
        # restic 0.14 signs a plus in a prefix wrongly.
        name = f"round-{number}/{contender.name.replace('+', '-')}"
        endpoint = self._proxy(contender).endpoint
        return Prefix(endpoint, BUCKET, name, self.server.region, self.server.keys)

    def weigh(self, store):
        """Count what is in a store."""
        return self.server.weigh(store.name)

    def settle(self):
        """Wait until the server has nothing left to do for those before."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            before = self.server.cpu_ticks()
            time.sleep(QUIET_SECONDS)
            if self.server.cpu_ticks() - before <= QUIET_TICKS:
                return

    def watch(self, contender):
        """Begin to count; what is returned, called, says what was counted until then."""
        proxy = self._proxy(contender)
        proxy.take()
        server_then, proxy_then = self.server.cpu_ticks(), proxy.cpu_ticks()

        def traffic():
            return {
                **proxy.take(),
                "server_cpu_seconds": (self.server.cpu_ticks() - server_then) / TICKS,
                "proxy_cpu_seconds": (proxy.cpu_ticks() - proxy_then) / TICKS,
            }

        return traffic

    def _proxy(self, contender):
        if contender.suffers:
            return self.faulty
        return self.mending if contender.leaves_type_unsigned else self.plain

    def _proxies(self):
        return self.plain, self.faulty, self.mending


def _ticks(pid):
    """User and system time of a process; its name may hold spaces, so count after it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _family(root):
    """A process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    family = [root]
    for pid in family:
        family += [child for child, parent in parents.items() if parent == pid]
    return family
