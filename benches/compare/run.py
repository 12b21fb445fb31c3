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
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import million
import provision
import report
import trees
from contenders import ALL
from measure import CommandFailed, remove
from rounds import Bench

TMPFS = "/dev/shm"
NAMES = [contender.name for contender in ALL]


def main():
    """Set up, measure, report; the exit code says whether restores were right."""
    options = parse()
    programs = provision.install(options.only, options.cache, options.program)
    contenders = [c(programs[c.name]) for c in ALL if c.name in options.only]
    about = describe(contenders, options)
    benches = run_million(contenders) if options.million else run_trees(contenders, options)
    faults = [fault for bench in benches for fault in bench.faults]
    print_tables(about, benches, report.MILLION_BOUNDS if options.million else report.BOUNDS)
    print_faults(faults)
    if options.json:
        write_json(options.json, about, benches)
    return 1 if any(fault.startswith("larder:") for fault in faults) else 0


def parse():
    """Read the command line; lists are checked here, so that nothing fails an hour later."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=words(trees.KINDS), default=["npm", "pip"],
                        help="which trees, separated by commas: npm, pip, cargo")
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
    parser.add_argument("--json", type=Path, help="write the raw results to this file")
    options = parser.parse_args()
    options.program = dict(options.program)
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
                bench = Bench(tree, medium, Path(place), contenders)
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
        bench = Bench(million.make(place / "before"), "tmpfs", place, contenders)
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


def print_tables(about, benches, bounds):
    """Everything for a person, as Markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in about["machine"].items())
    print(f"{about['date']}, larder at {about['revision']}; {machine}\n")
    for name, version in about["tools"].items():
        print(f"- {name}: {version}")
    for bench in benches:
        names = [contender.name for contender in bench.contenders]
        figures = report.Figures(bench.records, bench.weights, names)
        print(f"\n## {bench.tree.kind} on {bench.medium}\n")
        print(report.times_table(figures))
        print(report.weights_table(figures))
        if "larder" in figures.contenders:
            print(report.bounds_table(report.judge(bounds, figures)))


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
