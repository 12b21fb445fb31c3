"""The tools that are compared: how each one saves and restores a directory.

Each contender gets the settings its own documentation calls the default,
except where the comparison would otherwise be about something else: borg is
set to zstd level 3 (its default is the faster lz4), encryption is off where
that is possible, and restic and rustic, which always encrypt, keep it on.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from measure import Command

# A repository that lives for seconds needs no secret.
PASSWORD = "benchmark"


@dataclass(frozen=True)
class Runner:
    """One imagined CI machine: the directories a tool may keep things in.

    A new runner has empty ones, so nothing is known there about files that
    were saved or restored before.
    """

    home: Path

    def env(self):
        """Point every place where tools keep caches and settings into this runner."""
        return {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "TMPDIR": str(self.home / "tmp"),
        }

    def create(self):
        """Make the directories: some tools refuse to run without them."""
        (self.home / "tmp").mkdir(parents=True)
        return self


class Contender:
    """A tool under comparison; `binary` is where its program was found."""

    name = ""
    version_args = ("--version",)
    # False where saving an unchanged tree is the same work as saving it first.
    remembers = True
    # False where restoring over what is there already fails.
    refreshes = True
    # False where a key that exists already can't be saved again.
    overwrites = True
    # True where some of its requests are made to fail.
    suffers = False
    # True where a server may refuse its requests for a header that it does not sign.
    leaves_type_unsigned = False

    def __init__(self, binary):
        self.binary = binary

    def init(self, store, runner):
        """The command that creates the store, or None where saving does."""
        return None

    def save(self, store, runner, parent, name, key):
        """The command that saves the directory `parent/name` under a key."""
        raise NotImplementedError

    def restore(self, store, runner, target, name, key):
        """The command that restores a key so that `target/name` appears."""
        raise NotImplementedError

    def report(self, stdout):
        """What the tool itself says about what it did, where that is worth keeping."""
        return None


class Larder(Contender):
    name = "larder"

    def save(self, store, runner, parent, name, key):
        argv = [self.binary, "--json", "--store", store, "save", "--key", key, name]
        return Command([argv], parent, runner.env())

    def restore(self, store, runner, target, name, key):
        argv = [self.binary, "--json", "--store", store]
        argv += ["restore", "--key", key, "--to", target]
        return Command([argv], target, runner.env())

    def report(self, stdout):
        return json.loads(stdout)


class Tar(Contender):
    """What CI systems do today, and the yardstick for every time."""

    name = "tar"
    remembers = False
    refreshes = False

    def save(self, store, runner, parent, name, key):
        pack = ["tar", "-cf", "-", name]
        squeeze = [self.binary, "-q", "-T0", "-3", "-f", "-o", store / f"{key}.tar.zst"]
        return Command([pack, squeeze], parent, runner.env())

    def restore(self, store, runner, target, name, key):
        expand = [self.binary, "-q", "-dc", store / f"{key}.tar.zst"]
        return Command([expand, ["tar", "-xf", "-"]], target, runner.env())


class Restic(Contender):
    name = "restic"
    version_args = ("version",)
    # restic 0.14, Debian 12's, stops at symbolic links that exist already.
    refreshes = False

    def _env(self, store, runner):
        repo = {"RESTIC_REPOSITORY": str(store), "RESTIC_PASSWORD": PASSWORD}
        return {**runner.env(), **repo}

    def init(self, store, runner):
        return Command([[self.binary, "init", "-q"]], store, self._env(store, runner))

    def save(self, store, runner, parent, name, key):
        argv = [self.binary, "-q", "backup", "--tag", key, name]
        return Command([argv], parent, self._env(store, runner))

    def restore(self, store, runner, target, name, key):
        argv = [self.binary, "-q", "restore", "latest", "--tag", key, "--target", target]
        return Command([argv], target, self._env(store, runner))


class Rustic(Contender):
    name = "rustic"

    def _env(self, store, runner):
        repo = {
            "RUSTIC_REPOSITORY": str(store),
            "RUSTIC_PASSWORD": PASSWORD,
            "RUSTIC_NO_PROGRESS": "true",
            "RUSTIC_LOG_LEVEL": "warn",
        }
        return {**runner.env(), **repo}

    def init(self, store, runner):
        return Command([[self.binary, "init"]], store, self._env(store, runner))

    def save(self, store, runner, parent, name, key):
        argv = [self.binary, "backup", "--tag", key, name]
        return Command([argv], parent, self._env(store, runner))

    def restore(self, store, runner, target, name, key):
        argv = [self.binary, "restore", "--filter-tags", key, "latest", target]
        return Command([argv], target, self._env(store, runner))


class Borg(Contender):
    name = "borg"
    overwrites = False

    def _env(self, runner):
        answers = {
            "BORG_BASE_DIR": str(runner.home),
            # A fresh runner has never seen the repository, and borg would ask.
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
        }
        return {**runner.env(), **answers}

    def init(self, store, runner):
        argv = [self.binary, "init", "--encryption", "none", store]
        return Command([argv], store, self._env(runner))

    def save(self, store, runner, parent, name, key):
        archive = f"{store}::{key}"
        argv = [self.binary, "create", "--compression", "zstd,3", archive, name]
        return Command([argv], parent, self._env(runner))

    def restore(self, store, runner, target, name, key):
        argv = [self.binary, "extract", f"{store}::{key}"]
        return Command([argv], target, self._env(runner))


class Casync(Contender):
    name = "casync"

    def _chunks(self, store):
        return f"--store={store / 'default.castr'}"

    def save(self, store, runner, parent, name, key):
        argv = [self.binary, "make", self._chunks(store), store / f"{key}.caidx", name]
        return Command([argv], parent, runner.env())

    def restore(self, store, runner, target, name, key):
        argv = [self.binary, "extract", self._chunks(store), store / f"{key}.caidx", name]
        return Command([argv], target, runner.env())


ALL = (Larder, Tar, Restic, Rustic, Borg, Casync)
