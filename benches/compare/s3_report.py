"""The tables and bounds of larder on S3: bytes, requests, and who was busy."""

import os

from report import MIB, Bound, number, ratio, table, time_ratio
from rounds import SCENARIOS

MB = 1e6
FAULTY = "larder+faults"
FAULT_KINDS = {"slow_down": "503", "reset": "reset", "truncated": "truncated"}


def sent_ratio(figures):
    """Bytes that larder sends for an update over those of the yardstick."""
    mine, theirs = (figures.traffic(name, "update", "sent") for name in ("larder", "tar"))
    return ratio(mine, theirs)


def peak_of_all(figures):
    """larder's largest peak of memory in any scenario, through faults too."""
    peaks = [figures.peak(name, *SCENARIOS) for name in ("larder", FAULTY)]
    return ratio(max((peak for peak in peaks if peak is not None), default=None), MIB)


def most_requests(scenario, *kinds):
    """The most requests of some kinds in any run: a bound has to hold in each."""

    def figure(figures):
        found = figures.requests("larder", scenario)
        return max((sum(sent[kind] for kind in kinds) for sent in found), default=None)

    return figure


def slowed(scenario):
    """larder's time where requests fail over its time where none does."""

    def figure(figures):
        return ratio(figures.seconds(FAULTY, scenario), figures.seconds("larder", scenario))

    return figure


BOUNDS = (
    Bound("bytes sent by save after update / tar+zstd+aws", 0.55, "", sent_ratio),
    Bound("PUTs of first save", 12, "", most_requests("first", "put")),
    Bound("GETs of restore, empty", 25, "", most_requests("restore", "get")),
    Bound("requests of unchanged save", 5, "",
          most_requests("unchanged", "get", "put", "list", "delete")),
    Bound("peak memory, all scenarios", 300, " MiB", peak_of_all),
    Bound("first save, 5 % of requests failing / none", 1.5, "", slowed("first")),
    Bound("restore, 5 % of requests failing / none", 1.5, "", slowed("restore")),
)
# These are promised for a server that is some way off.
FAR_BOUNDS = (
    Bound("restore, empty / aws+zstd+tar", 0.30, "", time_ratio("restore", "restore")),
    Bound("restore, empty / restic", 0.15, "", time_ratio("restore", "restore", "restic")),
    Bound("save after update, not remembered / tar+zstd+aws", 0.50, "",
          time_ratio("update", "update")),
    Bound("unchanged save, remembered / tar+zstd+aws", 0.10, "",
          time_ratio("unchanged", "first")),
)


def bounds(medium):
    """The promises for one distance."""
    return (FAR_BOUNDS if medium.round_trip_ms else ()) + BOUNDS


def tables(figures):
    """What there is to say of S3 beside times and weights."""
    parts = [_bytes(figures), _shares(figures)]
    if "larder" in figures.contenders:
        parts += [_requests(figures), _faults(figures)]
    return "\n".join(parts)


def _bytes(figures):
    def cell(name, scenario):
        sent, received = (figures.traffic(name, scenario, f) for f in ("sent", "received"))
        return _pair(ratio(sent, MB), ratio(received, MB), 1)

    return _by_scenario("MB sent / received", figures, cell)


def _shares(figures):
    """Who was busy: where the server is what limits, it shows here."""
    cores = len(os.sched_getaffinity(0))

    def cell(name, scenario):
        own, seconds = figures.cpu(name, scenario), figures.seconds(name, scenario)
        if seconds is None:
            return "–"
        fields = ("server_cpu_seconds", "proxy_cpu_seconds")
        others = [figures.traffic(name, scenario, field) for field in fields]
        shares = [f"{busy / seconds / cores:.0%}" for busy in (own, *others)]
        return f"{' / '.join(shares)} ({others[0]:.2f} s)"

    title = "% of the machine's CPU: tool / server / proxy (server's seconds)"
    return _by_scenario(title, figures, cell)


def _by_scenario(title, figures, cell):
    rows = [[name, *(cell(name, s) for s in SCENARIOS)] for name in figures.contenders]
    return table([title, *SCENARIOS.values()], rows)


def _requests(figures):
    """What larder itself reports, in the run that needed most."""
    kinds = ("get", "put", "list", "delete", "retries")
    rows = []
    for name in ("larder", FAULTY):
        for scenario, title in SCENARIOS.items():
            sent = max(figures.requests(name, scenario), key=_all, default=None)
            if sent:
                cells = [str(sent[kind]) for kind in kinds]
                rows.append([f"{name}, {title}", *cells, str(_all(sent))])
    return table(["requests, most of any run", *kinds, "all"], rows)


def _all(sent):
    return sum(sent[kind] for kind in ("get", "put", "list", "delete"))


def _faults(figures):
    """How many requests were made to fail, by the proxy's count over all counted runs."""
    rows = []
    for scenario, title in SCENARIOS.items():
        cells = [figures.total(FAULTY, scenario, f) for f in ("requests", *FAULT_KINDS)]
        slower = slowed(scenario)(figures)
        rows.append([title, *(number(cell, 0) for cell in cells), number(slower, 2)])
    head = ["faults in all runs", "requests", *FAULT_KINDS.values(), "× time without"]
    return table(head, rows)


def _pair(one, other, digits):
    return "–" if one is None else f"{number(one, digits)} / {number(other, digits)}"
