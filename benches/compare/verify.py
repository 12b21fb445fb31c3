"""Checking a restored tree with tools that have no part in making it.

rsync compares contents, modes, owners, times and the kinds of entries; a
listing by find then compares what rsync is lenient about: times to the
nanosecond and the number of hard links. Lists stay in files: memory that this
process once held would show in the peaks of the commands it starts later.
"""

import os
import subprocess
import tempfile
from pathlib import Path

# Link counts and sizes of directories belong to the file system, not the tree.
DIRECTORY_FORMAT = r"%P %y %m %U:%G %T@\0"
OTHERS_FORMAT = r"%P %y %m %U:%G %T@ %s %n %l\0"
SHOWN = 5


def differences(original, restored):
    """Say how two trees differ; an empty list means not at all."""
    with tempfile.TemporaryDirectory() as scratch:
        found = _rsync(original, restored, Path(scratch))
        return found + _listings(original, restored, Path(scratch))


def _rsync(original, restored, scratch):
    argv = ["rsync", "-aHn", "--checksum", "--delete", "--itemize-changes"]
    changes = scratch / "changes"
    with changes.open("wb") as out:
        subprocess.run([*argv, f"{original}/", f"{restored}/"], stdout=out, check=True)
    return _head("rsync", changes, b"\n")


def _listings(original, restored, scratch):
    lists = [_list(original, scratch / "original"), _list(restored, scratch / "restored")]
    changes = scratch / "changes"
    with changes.open("wb") as out:
        argv = ["comm", "-z", "-3", "--output-delimiter=restored: ", *lists]
        subprocess.run(argv, stdout=out, check=True, env=_plain_order())
    return _head("find", changes, b"\0")


def _list(directory, file):
    """Write down every entry with its metadata, in one defined order."""
    argv = ["find", directory, "-type", "d", "-printf", DIRECTORY_FORMAT]
    argv += ["-o", "-printf", OTHERS_FORMAT]
    with file.open("wb") as out:
        subprocess.run(argv, stdout=out, check=True)
    subprocess.run(["sort", "-z", "-o", file, file], check=True, env=_plain_order())
    return file


def _plain_order():
    """Bytes sort as bytes, for sort and comm alike."""
    return {**os.environ, "LC_ALL": "C"}


def _head(tool, file, end):
    """The first few entries of a list of differences."""
    with file.open("rb") as content:
        entries = [entry for entry in content.read(1 << 16).split(end) if entry]
    return [f"{tool}: {entry.decode(errors='replace')}" for entry in entries[:SHOWN]]
