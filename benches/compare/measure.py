"""Running commands and weighing directories: everything here is plain measurement.

Nothing in this module knows any backup tool. A command is a pipeline of one or
more processes; it is timed from the start of the first to the end of the last.
"""

import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

LOG_TAIL_CHARS = 2000


class CommandFailed(Exception):
    """A measured command exited with an error; its last output is in the message."""


@dataclass(frozen=True)
class Command:
    """A pipeline of processes that share a working directory."""

    stages: list
    cwd: Path
    env: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """What one run of a command cost."""

    seconds: float
    peak_rss_bytes: int
    cpu_seconds: float
    stdout: str


def run(command, base_env, logs):
    """Run a command and say how long it took and how much memory it held.

    The peak is the largest member of a pipeline, as the kernel reports it for
    a process that has ended. It counts the moment between fork and exec too,
    so no figure can be lower than this interpreter's own size (about 20 MiB).
    """
    out, err = logs / "stdout", logs / "stderr"
    env = {**base_env, **command.env}
    with out.open("wb") as out_file, err.open("wb") as err_file:
        started = time.perf_counter()
        children = _start(command, env, out_file, err_file)
        ends = _wait(children)
        seconds = time.perf_counter() - started
    if any(status != 0 for status, _ in ends):
        raise CommandFailed(_describe_failure(command, ends, err))
    peak = max(usage.ru_maxrss for _, usage in ends) * 1024
    cpu = sum(usage.ru_utime + usage.ru_stime for _, usage in ends)
    return Sample(seconds, peak, cpu, out.read_text(errors="replace"))


def _start(command, env, out_file, err_file):
    """Start every stage, each reading what the one before it writes."""
    children, upstream = [], subprocess.DEVNULL
    last = len(command.stages) - 1
    for position, argv in enumerate(command.stages):
        child = subprocess.Popen(
            [str(word) for word in argv],
            cwd=command.cwd,
            env=env,
            stdin=upstream,
            stdout=out_file if position == last else subprocess.PIPE,
            stderr=err_file,
        )
        if upstream is not subprocess.DEVNULL:
            # Only the reader may keep the pipe's end: otherwise the writer
            # would never learn that its reader has died.
            upstream.close()
        upstream = child.stdout
        children.append(child)
    return children


def _wait(children):
    """Collect (exit code, what the kernel counted) of each child; end all if interrupted."""
    ends = []
    try:
        for child in children:
            # wait4, since subprocess itself throws the child's usage away.
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            ends.append((child.returncode, usage))
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()
                child.wait()
    return ends


def _describe_failure(command, ends, err):
    words = " | ".join(" ".join(str(w) for w in argv) for argv in command.stages)
    codes = ", ".join(str(code) for code, _ in ends)
    tail = err.read_text(errors="replace")[-LOG_TAIL_CHARS:]
    return f"{words}\nexit codes {codes}\n{tail}"


def weigh(directory):
    """Count the files below a directory and the bytes they hold.

    A file with several names counts once, and sizes are lengths, not disk
    blocks: what an object store would bill.
    """
    files = size = 0
    seen = set()
    for folder, _, names in os.walk(directory):
        for name in names:
            stat = os.lstat(os.path.join(folder, name))
            if stat.st_nlink > 1:
                if (stat.st_dev, stat.st_ino) in seen:
                    continue
                seen.add((stat.st_dev, stat.st_ino))
            # An empty file holds nothing: it is a lock.
            files += stat.st_size > 0
            size += stat.st_size
    return files, size


def remove(path):
    """Delete a directory tree; rm is several times faster at it than Python."""
    subprocess.run(["rm", "-rf", "--", str(path)], check=True)


def copy(source, target):
    """Copy a tree with its times and hard links, as a fresh checkout of it."""
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)
