"""The contenders on S3: what differs from how they use a directory.

All find the credentials in the environment, and keep their defaults for S3:
parts, connections, retries.
"""

from dataclasses import replace

from contenders import Larder, Restic, Rustic, Tar
from measure import Command


class LarderOnS3(Larder):
    def save(self, store, runner, parent, name, key):
        return _with_keys(super().save(_url(store), runner, parent, name, key), store)

    def restore(self, store, runner, target, name, key):
        return _with_keys(super().restore(_url(store), runner, target, name, key), store)


class LarderThroughFaults(LarderOnS3):
    """larder again, where some requests fail: it is compared with itself."""

    name = "larder+faults"
    suffers = True


class TarOnS3(Tar):
    """What a CI job does without a tool: a stream into the AWS command line."""

    def __init__(self, binary, aws):
        super().__init__(binary)
        self.aws = aws

    def save(self, store, runner, parent, name, key):
        pack = ["tar", "-cf", "-", name]
        squeeze = [self.binary, "-q", "-T0", "-3", "-c"]
        put = [self.aws, "s3", "cp", "--only-show-errors", "-", self._url(store, key)]
        return _with_keys(Command([pack, squeeze, put], parent, runner.env()), store)

    def restore(self, store, runner, target, name, key):
        get = [self.aws, "s3", "cp", "--only-show-errors", self._url(store, key), "-"]
        expand = [self.binary, "-q", "-dc"]
        unpack = ["tar", "-xf", "-"]
        return _with_keys(Command([get, expand, unpack], target, runner.env()), store)

    def _url(self, store, key):
        return f"s3://{store.bucket}/{store.name}/{key}.tar.zst"


def _with_keys(command, store):
    """The same command, told where S3 is and who asks."""
    env = {**command.env, **store.env, "AWS_ENDPOINT_URL": store.endpoint}
    return replace(command, env=env)


def _url(store):
    """larder's word for a store."""
    where = f"?endpoint_url={store.endpoint}&region={store.region}&use_path_style=true"
    return f"s3://{store.bucket}/{store.name}{where}"


class ResticOnS3(Restic):
    # Version 0.14 over http; Ceph's gateway insists since version 20.
    leaves_type_unsigned = True

    def _env(self, store, runner):
        repo = f"s3:{store.endpoint}/{store.bucket}/{store.name}"
        return {**super()._env(repo, runner), **store.env}

    def init(self, store, runner):
        argv = [self.binary, "init", "-q"]
        return Command([argv], runner.home, self._env(store, runner))


class RusticOnS3(Rustic):
    """opendal, by which rustic speaks S3, uses path style unless told otherwise."""

    def _env(self, store, runner):
        options = {
            "BUCKET": store.bucket,
            "ROOT": f"/{store.name}",
            "ENDPOINT": store.endpoint,
            "REGION": store.region,
            "ACCESS_KEY_ID": store.keys["AWS_ACCESS_KEY_ID"],
            "SECRET_ACCESS_KEY": store.keys["AWS_SECRET_ACCESS_KEY"],
        }
        opendal = {f"OPENDAL_{name}": value for name, value in options.items()}
        return {**super()._env("opendal:s3", runner), **opendal}

    def init(self, store, runner):
        return Command([[self.binary, "init"]], runner.home, self._env(store, runner))


def make(programs):
    """Every contender that can use S3 and was asked for."""
    found = []
    for name, program in programs.items():
        if name == LarderOnS3.name:
            found += [LarderOnS3(program), LarderThroughFaults(program)]
        elif name == TarOnS3.name:
            found.append(TarOnS3(program, programs["aws"]))
        elif name == ResticOnS3.name:
            found.append(ResticOnS3(program))
        elif name == RusticOnS3.name:
            found.append(RusticOnS3(program))
    return found


NAMES = [LarderOnS3.name, TarOnS3.name, ResticOnS3.name, RusticOnS3.name]
