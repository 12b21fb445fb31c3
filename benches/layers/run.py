#!/usr/bin/env python3
"""What a store saves of image layers, as they arrive compressed and uncompressed.

    python3 benches/layers/run.py [--trees DIR] [--larder PROGRAM] WORK

builds versions of an image with buildah, from Debian packages and from the pinned
trees of benches/compare: one, the same with its dependencies installed once more,
and one after updates. Each layer of each version is compressed as builders do it;
larder saves the older and then the newer one, and what the second save added is
what counts. Prints Markdown. Everything is in WORK, which may be deleted; Debian
and root are needed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compare"))

import provision  # noqa: E402
import trees  # noqa: E402
from measure import copy, remove, weigh  # noqa: E402

LAYERS = ("base", "apt", "npm", "pip", "cargo")
# program → Debian package.
PACKAGES = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "go": "golang-go",
    "pigz": "pigz",
    "gzip": "gzip",
    "zstd": "zstd",
}
KLAUSPOST = Path("/usr/share/gocode/src/github.com/klauspost/compress")
MIRROR = "http://deb.debian.org/debian"
# Debian before and after what was published since the last point release.
SOURCES = {
    "before": [f"deb {MIRROR} bookworm main"],
    "after": [
        f"deb {MIRROR} bookworm main",
        f"deb {MIRROR} bookworm-updates main",
        f"deb {MIRROR}-security bookworm-security main",
    ],
}
# What changes a layer → the layers in which that is looked at.
CHANGES = {
    "update": LAYERS,
    # The base was updated, so all that comes after it is made again from the same pins.
    "again": ("npm", "pip"),
}
OLDEST = "before"
# The layers that are compressed by all compressors, which takes long.
SAMPLES = ("base", "npm")


def main():
    """Build, compress, save, print."""
    options = parse()
    options.work.mkdir(parents=True, exist_ok=True)
    install()
    larder = options.larder or provision._build_larder()
    compressors = make_compressors(options.work)
    rows = []
    for clamped in (False, True):
        images = {v: build(v, clamped, options) for v in (OLDEST, "again", "after")}
        # buildah's own copies: none must be found again that has other times.
        remove(options.work / "storage")
        rows += measure(images, clamped, compressors, larder, options.work)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    report(rows)


def make_compressors(work):
    """How layers are compressed, from stdin to stdout; nothing is how they are in the image."""
    go = build_go(work)
    return {
        "tar": ["cat"],
        "gzip, buildah": None,
        "gzip, Go": [go, "gzip"],
        "gzip, GNU": ["gzip", "-n"],
        "gzip, pigz": ["pigz", "-n", "-p2"],
        "gzip, pigz --rsyncable": ["pigz", "-n", "-p2", "--rsyncable"],
        "zstd, Go": [go, "zstd"],
        "zstd, CLI": ["zstd", "-q", "-3", "-T1"],
        "zstd, CLI --rsyncable": ["zstd", "-q", "-3", "-T2", "--rsyncable"],
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path, metavar="WORK", help="a directory with 25 GB free")
    parser.add_argument("--trees", type=Path, help="trees built elsewhere")
    parser.add_argument("--larder", help="the program, if it should not be built")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    options = parser.parse_args()
    options.work = options.work.resolve()
    return options


def install():
    """Install what is missing, and klauspost/compress, which has no program."""
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if not KLAUSPOST.exists():
        missing.append("golang-github-klauspost-compress-dev")
    if missing:
        provision._run(["apt-get", "update", "-qq"])
        provision._run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing])


def build_go(work):
    """Build compress.go from Debian's sources alone."""
    program = work / "compress"
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
    provision._run(["go", "build", "-o", program, HERE / "compress.go"], env=env)
    return str(program)


def build(version, clamped, options):
    """Build an image; give its layers, as buildah compresses them, in the order of LAYERS.

    `clamped`: every file has the same time, as BuildKit's rewrite-timestamp=true makes it.
    """
    name = f"{version}{'-clamped' if clamped else ''}"
    out = options.work / f"image-{name}"
    if not (out / "index.json").exists():
        context = make_context(version, options)
        tool = ["buildah", "--root", options.work / "storage", "--runroot", options.work / "run"]
        argv = [*tool, "build", "--quiet", "--layers", "--isolation", "chroot", "-t", name]
        argv += ["--timestamp", "0"] if clamped else []
        provision._run([*argv, "-f", HERE / "Containerfile", context])
        remove(out)
        provision._run([*tool, "push", "--quiet", name, f"oci:{out}"])
    manifest = blob(out, json.loads((out / "index.json").read_text())["manifests"][0])
    layers = json.loads(manifest.read_text())["layers"]
    return dict(zip(LAYERS, (blob(out, layer) for layer in layers), strict=True))


def blob(image, descriptor):
    return image / "blobs" / "sha256" / descriptor["digest"].split(":")[1]


def make_context(version, options):
    """Put together what the Containerfile copies."""
    context = options.work / f"context-{version}"
    if (context / "complete").exists():
        return context
    remove(context)
    context.mkdir()
    make_base(version, context / "base.tar", options.work)
    for kind in ("npm", "pip", "cargo"):
        tree = make_tree(kind, version, options)
        copy(tree, context / tree.name)
    (context / "complete").touch()
    return context


def make_base(version, tar, work):
    """Bootstrap Debian; the image whose packages did not change has the same base."""
    if version == "again":
        os.link(work / f"context-{OLDEST}" / tar.name, tar)
        return
    argv = ["mmdebstrap", "--quiet", "--variant=apt", "--aptopt=APT::Install-Recommends false"]
    clean = 'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*'
    provision._run([*argv, f"--customize-hook={clean}", "bookworm", tar, *SOURCES[version]])


def make_tree(kind, version, options):
    """Find or build a tree; "again" is a second installation, with times of its own."""
    if version == "again" and kind in CHANGES["again"]:
        folder = options.work / "again" / f"{kind}-before"
        trees._build(kind, "before", folder)
        return folder / trees.KINDS[kind][0]
    found = (
        trees.locate(kind, options.trees)
        if options.trees
        else trees.provide(kind, options.work / "trees")
    )
    return (found.after if version == "after" else found.before) / found.name


def measure(images, clamped, compressors, larder, work):
    """Save each layer's older and newer state, in each form; give what was added."""
    rows = []
    for change, layers in CHANGES.items():
        newest = "after" if change == "update" else change
        for layer in layers:
            arrived = [images[version][layer] for version in (OLDEST, newest)]
            tars = [work / "older.tar", work / "newer.tar"]
            for gzipped, tar in zip(arrived, tars, strict=True):
                pipe(["gzip", "-dc"], gzipped, tar)
            # What compressors differ in is told from two layers as well as from all.
            is_sample = layer in SAMPLES and change == "update" and not clamped
            for form in compressors if is_sample else ("tar", "gzip, buildah"):
                row = {"change": change, "clamped": clamped, "layer": layer, "form": form}
                sources = tars if compressors[form] else arrived
                row |= save_both(sources, compressors[form] or ["cat"], larder, work)
                print(json.dumps(row), file=sys.stderr)
                rows.append(row)
    return rows


def save_both(sources, compressor, larder, work):
    """Save the older state, then the newer one, into a fresh store, as one file each."""
    store = work / "store"
    remove(store)
    row, weight = {}, 0
    for state, source in zip(("older", "newer"), sources, strict=True):
        folder = work / "blob"
        remove(folder)
        folder.mkdir()
        pipe(compressor, source, folder / "layer")
        argv = [larder, "--quiet", "--no-config", "--store", store]
        provision._run([*argv, "save", "--no-stat-record", "--key", state, folder])
        before, (_, weight) = weight, weigh(store)
        row |= {state: (folder / "layer").stat().st_size, f"{state}_added": weight - before}
    return row


def pipe(argv, source, target):
    """Send one file through a program into another."""
    with source.open("rb") as stdin, target.open("wb") as stdout:
        subprocess.run(argv, stdin=stdin, stdout=stdout, check=True)


def report(rows):
    """Print what was added, in MB of 10⁶ bytes, a line for each layer."""
    for change, clamped in sorted({(row["change"], row["clamped"]) for row in rows}):
        these = [r for r in rows if (r["change"], r["clamped"]) == (change, clamped)]
        forms = list(dict.fromkeys(r["form"] for r in these))
        print(f"\n**{change}{', all files of one time' if clamped else ''}**: added (of)\n")
        print("| layer | " + " | ".join(forms) + " |")
        print("| --- |" + " --- |" * len(forms))
        for layer in dict.fromkeys(r["layer"] for r in these):
            cells = [f"{mb(r['newer_added'])} ({mb(r['newer'])})" for r in these if r["layer"] == layer]
            print(f"| {layer} | " + " | ".join(cells) + " |")


def mb(size):
    return f"{size / 1e6:.1f}"


if __name__ == "__main__":
    main()
