"""The directories that are saved: real dependency trees, built from pinned versions.

Each tree exists twice, before and after an update of some dependencies, each
installed from nothing the way a fresh checkout would. The pins beside this
file (`trees/`) fix every version, transitive ones included, so that anyone
gets the same bytes apart from the times of the installation.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from measure import copy, remove

PINS = Path(__file__).resolve().parent / "trees"
# Written last, so that an interrupted installation is seen and begun anew.
COMPLETE = ".complete"


@dataclass(frozen=True)
class Tree:
    """A directory called `name` in two states, each below a parent of its own."""

    kind: str
    name: str
    before: Path
    after: Path


def npm(folder):
    """Install the lock's versions, without scripts: those would build for this machine.

    `npm ci` would be stricter, but refuses a lock that does not list optional
    packages of other platforms, which not every mirror of the registry has.
    """
    argv = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    run([*argv, "--legacy-peer-deps"], folder)


def pip(folder):
    """Install exactly the pins, as wheels, with the byte code that pip makes."""
    argv = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    argv += ["--only-binary", ":all:", "--target", "site", "-r", "requirements.txt"]
    run(argv, folder)


def cargo(folder):
    """Build with debug information; a target directory is the same kind of cache."""
    env = {k: v for k, v in os.environ.items() if k not in ("CARGO_TARGET_DIR", "RUSTFLAGS")}
    run(["cargo", "build", "-q", "--locked"], folder, env)


# kind → (name of the saved directory, how to make it from the pins).
KINDS = {
    "npm": ("node_modules", npm),
    "pip": ("site", pip),
    "cargo": ("target", cargo),
}


def run(argv, folder, env=None):
    """Run an installer, its chatter on stderr: stdout is for the tables."""
    subprocess.run(argv, cwd=folder, env=env, check=True, stdout=sys.stderr)


def locate(kind, directory):
    """Find both states of a tree, which must exist, in a directory of trees."""
    name, _ = KINDS[kind]
    tree = Tree(kind, name, directory / f"{kind}-before", directory / f"{kind}-after")
    for parent in (tree.before, tree.after):
        if not (parent / name).is_dir():
            raise SystemExit(f"error: the tree {parent / name} is missing")
    return tree


def provide(kind, directory):
    """Build what is missing of a tree, then find it."""
    for state in ("before", "after"):
        _build(kind, state, directory / f"{kind}-{state}")
    return locate(kind, directory)


def _build(kind, state, folder):
    """Install one state of a tree unless its present pins were installed already."""
    name, install = KINDS[kind]
    pins = PINS / f"{kind}-{state}"
    stamp, mark = _fingerprint(pins), folder / COMPLETE
    if mark.is_file() and mark.read_text() == stamp:
        return
    print(f"building the tree {kind}, {state} the update …", file=sys.stderr)
    remove(folder)
    shutil.copytree(pins, folder)
    previous = folder.parent / f"{kind}-before" / name
    if kind == "cargo" and state == "after":
        # A target directory is never made anew: the update is built on top.
        copy(previous, folder / name)
    install(folder)
    mark.write_text(stamp)


def _fingerprint(pins):
    """Tell two sets of pins apart."""
    digest = hashlib.sha256()
    for file in sorted(p for p in pins.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(pins)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()
