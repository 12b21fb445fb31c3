"""Getting the contenders' programs onto this machine, and saying which they are."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Pinned: a contender that changes by itself makes results incomparable.
RUSTIC_VERSION = "0.11.4"
# program → Debian package, for the contenders and for what checks them.
PACKAGES = {
    "restic": "restic",
    "borg": "borgbackup",
    "casync": "casync",
    "zstd": "zstd",
    "rsync": "rsync",
    "tar": "tar",
    "find": "findutils",
}
# The last of the series that is on PyPI; version 2 is not.
AWSCLI_VERSION = "1.45.11"
# What each contender runs, where that is not its own name.
PROGRAMS = {"tar": "zstd"}


def install(names, cache, given):
    """Find the program of each contender, installing what is missing.

    `given` holds programs named by the caller; they are taken as they are.
    """
    wanted = {PROGRAMS.get(name, name) for name in names} | {"tar", "rsync", "find"}
    _install_packages([p for p in sorted(wanted & PACKAGES.keys()) if not shutil.which(p)])
    return {name: given.get(name) or _program(name, cache) for name in names}


def _program(name, cache):
    if name == "larder":
        return _build_larder()
    if name == "rustic":
        return _install_rustic(cache)
    return shutil.which(PROGRAMS.get(name, name))


def install_aws(cache):
    """Find the AWS command line, installing it in an environment of its own if missing.

    Beside this Python comes first: on PATH there may be a script that has to
    look for it each time.
    """
    found = shutil.which("aws", path=sysconfig.get_path("scripts")) or shutil.which("aws")
    if found:
        return found
    venv = cache / "tools" / f"awscli-{AWSCLI_VERSION}"
    if not (venv / "bin" / "aws").exists():
        _run([sys.executable, "-m", "venv", venv])
        _run([venv / "bin" / "pip", "install", "--quiet", f"awscli=={AWSCLI_VERSION}"])
    return str(venv / "bin" / "aws")


def _install_packages(programs):
    if not programs:
        return
    packages = [PACKAGES[program] for program in programs]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"error: please install {', '.join(packages)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-qq"], env=env)
    _run(["apt-get", "install", "-y", "-qq", *packages], env=env)


def _install_rustic(cache):
    """Build rustic without the features that a local repository has no use for."""
    found = cache / "tools" / "bin" / "rustic"
    if not found.exists():
        argv = ["cargo", "install", "rustic-rs", "--version", RUSTIC_VERSION, "--locked"]
        argv += ["--no-default-features", "--root", cache / "tools"]
        env = {**os.environ, "CARGO_TARGET_DIR": str(cache / "tools" / "target")}
        _run(argv, env=env)
    return str(found)


def _build_larder():
    _run(["cargo", "build", "--release", "--bin", "larder"], cwd=REPOSITORY)
    target = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return str(REPOSITORY / target / "release" / "larder")


def _run(argv, **options):
    """Run an installer, its chatter on stderr: stdout is for the tables."""
    subprocess.run([str(word) for word in argv], check=True, stdout=sys.stderr, **options)


def versions(contenders):
    """The first line with which each tool names its version."""
    found = {}
    for contender in contenders:
        found[contender.name] = version([contender.binary, *contender.version_args])
    return found


def version(argv):
    """The first line that a command prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[0]


def machine():
    """What the figures depend on, without anything that names this machine."""
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _first_value("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        # Work of others on the machine shows here.
        "load_average": os.getloadavg()[0],
    }


def revision():
    """The commit of larder that is measured, marked if the files differ from it."""
    argv = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _first_value(path, label):
    for line in Path(path).read_text().splitlines():
        if line.startswith(label):
            return line.split(":", 1)[1].strip()
    return "unknown"
