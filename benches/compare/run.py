#!/usr/bin/env python3
"""Compares larder with what people use instead, on real trees, in one command.

    python3 benches/compare/run.py

installs the contenders, builds the trees from the pins, runs everything and
prints Markdown tables with the medians and with larder's bounds. See --help
for doing less, and README.md beside this file for what is measured.
"""

import argparse
import datetime
import json
import os
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import million
import provision
import report
import s3
import s3_contenders
import s3_report
import trees
from contenders import ALL
from measure import CommandFailed, remove
from rounds import Bench, Files

TMPFS = "/dev/shm"
NAMES = [contender.name for contender in ALL]


def main():
    """Set up, measure, report; the exit code says whether restores were right."""
    options = parse()
    # Whoever ends this ends what it started, too: a server, and gigabytes in memory.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = provision.install(options.only, options.cache, options.program)
    if options.s3:
        programs["aws"] = provision.install_aws(options.cache)
        contenders = s3_contenders.make(programs)
    else:
        contenders = [c(programs[c.name]) for c in ALL if c.name in options.only]
    about = describe(contenders, options)
    if options.s3:
        about["tools"]["aws"] = provision.version([programs["aws"], "--version"])
        benches = run_s3(contenders, options, about)
    else:
        benches = run_million(contenders) if options.million else run_trees(contenders, options)
    faults = [fault for bench in benches for fault in bench.faults]
    print_tables(about, benches, options)
    print_faults(faults)
    if options.json:
        write_json(options.json, about, benches)
    return 1 if any(fault.startswith("larder") for fault in faults) else 0


def parse():
    """Read the command line; lists are checked here, so that nothing fails an hour later."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=words(trees.KINDS),
                        help="which trees, separated by commas: npm, pip, cargo"
                        " (default: npm,pip; with --s3 npm)")
    parser.add_argument("--medium", type=words(("tmpfs", "disk")), default=["tmpfs", "disk"],
                        help="where everything lies: tmpfs, disk")
    parser.add_argument("--only", type=words(NAMES), default=NAMES,
                        help="which contenders: " + ", ".join(NAMES))
    parser.add_argument("--runs", type=int, default=5, help="counted runs, after one warm-up")
    parser.add_argument("--trees", type=Path, help="use the trees built in this directory")
    parser.add_argument("--disk", type=Path, help="a directory on the disk to measure")
    parser.add_argument("--cache", type=Path, default=Path(cache_home) / "larder-bench",
                        help="where trees and tools are kept between runs")
    parser.add_argument("--program", type=program, action="append", default=[],
                        metavar="NAME=PATH", help="use this program for a contender")
    parser.add_argument("--million", action="store_true",
                        help="a million small files instead, with larder and tar")
    parser.add_argument("--s3", action="store_true",
                        help="stores on an S3 server instead, which is started for it")
    parser.add_argument("--latency", type=milliseconds, default=[0, 25], metavar="MS,MS",
                        help="what is added to each round trip to S3, in milliseconds")
    parser.add_argument("--json", type=Path, help="write the raw results to this file")
    options = parser.parse_args()
    options.program = dict(options.program)
    options.tree = options.tree or (["npm"] if options.s3 else ["npm", "pip"])
    if options.s3 and options.million:
        parser.error("--s3 and --million exclude each other")
    if options.s3:
        options.only = [name for name in options.only if name in s3_contenders.NAMES]
    if options.million:
        options.only = [name for name in options.only if name in ("larder", "tar")]
    return options


def words(allowed):
    """A parser of lists in which only some words may stand."""

    def split(text):
        found = text.split(",")
        if unknown := set(found) - set(allowed):
            raise argparse.ArgumentTypeError(f"not known: {', '.join(sorted(unknown))}")
        return found

    return split


def milliseconds(text):
    """Parse a list of latencies."""
    found = [float(word) for word in text.split(",")]
    if not all(0 <= value <= 10_000 for value in found):
        raise argparse.ArgumentTypeError("write milliseconds, separated by commas")
    return found


def program(text):
    """Parse NAME=PATH."""
    name, equals, path = text.partition("=")
    if name not in NAMES or not equals:
        raise argparse.ArgumentTypeError("write it as NAME=PATH")
    return name, str(Path(path).absolute())


def run_trees(contenders, options):
    """Measure every tree on every medium."""
    benches = []
    directory = options.trees or options.cache / "trees"
    options.cache.mkdir(parents=True, exist_ok=True)
    for kind in options.tree:
        tree = trees.locate(kind, directory) if options.trees else trees.provide(kind, directory)
        for medium in options.medium:
            with scratch(medium, options) as place:
                bench = Bench(tree, Files(medium), Path(place), contenders)
                bench.measure(options.runs)
                benches.append(bench)
    return benches


def run_s3(contenders, options, about):
    """Measure every tree on an S3 server in memory, a new one for each distance."""
    benches = []
    directory = options.trees or options.cache / "trees"
    for kind in options.tree:
        tree = trees.locate(kind, directory) if options.trees else trees.provide(kind, directory)
        for round_trip in options.latency:
            with Scratch(Path(TMPFS)) as place, s3.Server(place / "server") as server:
                about["tools"]["S3 server"] = server.kind
                with s3.S3(server, round_trip) as medium:
                    bench = Bench(tree, medium, place / "work", contenders)
                    bench.measure(options.runs)
                    benches.append(bench)
    return benches


def run_million(contenders):
    """Measure the tree of a million files, once, in memory."""
    stat = os.statvfs(TMPFS)
    if stat.f_bavail * stat.f_frsize < million.NEEDED_BYTES:
        raise SystemExit("error: a million files need 14 GiB of free memory")
    with Scratch(Path(TMPFS)) as place:
        print("making a million files …", file=sys.stderr)
        bench = Bench(million.make(place / "before"), Files("tmpfs"), place, contenders)
        bench.measure_once()
    return [bench]


def scratch(medium, options):
    """A directory on the medium, gone afterwards whatever happens."""
    parent = Path(TMPFS) if medium == "tmpfs" else options.disk or options.cache
    return Scratch(parent)


class Scratch:
    """A temporary directory that is deleted quickly, even with a million files in it."""

    def __init__(self, parent):
        self.parent = parent

    def __enter__(self):
        self.place = Path(tempfile.mkdtemp(prefix="larder-bench-", dir=self.parent))
        return self.place

    def __exit__(self, *_):
        remove(self.place)


def describe(contenders, options):
    """What a reader needs to judge the figures later, or on another machine."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "revision": provision.revision(),
        "machine": provision.machine(),
        "tools": provision.versions(contenders),
        "runs": 1 if options.million else options.runs,
    }


def print_tables(about, benches, options):
    """Everything for a person, as Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in about["machine"].items())
    print(f"{about['date']}, larder at {about['revision']}; {machine}\n")
    for name, version in about["tools"].items():
        print(f"- {name}: {version}")
    for bench in benches:
        names = [contender.name for contender in bench.contenders]
        figures = report.Figures(bench.records, bench.weights, names)
        print(f"\n## {bench.tree.kind} on {bench.medium.name}\n")
        print(report.times_table(figures))
        print(report.weights_table(figures))
        if options.s3:
            print(s3_report.tables(figures))
        if "larder" in figures.contenders:
            bounds = bounds_of(bench, options)
            print(report.bounds_table(report.judge(bounds, figures)))


def bounds_of(bench, options):
    """What larder has to keep where it was measured."""
    if options.s3:
        return s3_report.bounds(bench.medium)
    return report.MILLION_BOUNDS if options.million else report.BOUNDS


def print_faults(faults):
    """What restores got wrong; that of others is no error of this benchmark."""
    for fault in faults:
        print(f"restored differently: {fault}", file=sys.stderr)


def write_json(file, about, benches):
    """Everything for a program: every single run."""
    results = dict(about)
    results["records"] = [asdict(record) for bench in benches for record in bench.records]
    results["weights"] = [asdict(weight) for bench in benches for weight in bench.weights]
    results["faults"] = [fault for bench in benches for fault in bench.faults]
    file.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as failure:
        sys.exit(f"error: a contender failed: {failure}")
