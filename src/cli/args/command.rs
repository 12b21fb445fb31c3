//! The commands, and the help of each.

use clap::Subcommand;

use super::assets::Assets;
use super::caches::{Lookup, Restore, Save};
use super::serve::Serve;
use super::store::{Delete, Diff, Du, Flush, List, Report, Show, Stats, Verify};
use super::tools::{Completions, Init, KeyTemplates, Keygen, Man, Plugin};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Save paths under a key
    #[command(
        visible_alias = "rebuild",
        after_help = "\
Examples:
  larder save                          # all caches of larder.toml
  larder save --key npm-linux-5f3e node_modules ~/.npm
  larder save --key 'npm-{{ os }}-{{ hash(\"**/package-lock.json\") }}' node_modules

Paths inside the working directory are recorded relative to it, paths inside the home directory
relative to that, others from the root: restored on another machine, they go to the same places
there."
    )]
    Save(Save),
    /// Restore what was saved under a key
    #[command(after_help = "\
Examples:
  larder restore                       # all caches of larder.toml
  larder restore npm                   # one of them
  larder restore --key npm-linux-5f3e --restore-key npm-linux- --restore-key npm-

The key itself is tried first, then the newest key that begins with each --restore-key in order.
Files that are in place already are left alone.")]
    Restore(Restore),
    /// Tell whether a key would be found, without fetching anything
    #[command(after_help = "\
Examples:
  larder lookup npm
  larder lookup --explain              # why is it a miss?
  larder lookup --key npm-linux-5f3e --restore-key npm-linux-

Prints `exact KEY`, `prefix KEY` or `miss`; the exit code is 0 for a hit, 3 for a miss.")]
    Lookup(Lookup),
    /// List keys, the last used first
    #[command(after_help = "Example:\n  larder list npm-")]
    List(List),
    /// Show what a key holds
    #[command(after_help = "Example:\n  larder show npm-linux-5f3e --files")]
    Show(Show),
    /// Compare what two keys hold
    #[command(after_help = "\
Examples:
  larder diff npm-linux-5f3e npm-linux-91c0
  larder diff --stat npm-linux-5f3e npm-linux-91c0

Prints one path a line: `+` is in KEY2 alone, `-` in KEY1 alone, `M` differs. `?` may differ: a
small file of the same length, in a chunk with others that changed. Only manifests are read,
unless --read-data is given.")]
    Diff(Diff),
    /// Tell what makes a cache big: directories, files or extensions, the largest first
    #[command(after_help = "\
Examples:
  larder du npm-linux-5f3e --depth 1
  larder du npm-linux-5f3e --by extension

The stored bytes of a chunk are divided among the files in it, by how much of it each has.")]
    Du(Du),
    /// Delete keys; the next flushes free the space of what nothing else uses
    #[command(after_help = "Example:\n  larder delete --prefix npm-linux-")]
    Delete(Delete),
    /// Remove caches that were not used for long, and free what nothing uses any more
    #[command(after_help = "\
Examples:
  larder flush --all-scopes --dry-run
  larder flush --all-scopes --age 14d --key-age 'pr-*=3d' --pin 'release-*' --max-size 500GB

Run it once a night, while jobs go on as they please. Whatever a save or restore uses counts as
used; the space of removed caches is freed by the flushes after, once --grace has passed twice.
All ages are by the clock of the store.")]
    Flush(Flush),
    /// Check that caches can be restored
    #[command(after_help = "\
Examples:
  larder verify --read-data
  larder verify --read-data --repair")]
    Verify(Verify),
    /// Tell how much is stored, and what deduplication and compression save
    #[command(after_help = "Example:\n  larder stats --all-scopes")]
    Stats(Stats),
    /// Draw a store as a page: what caches hold, growth, what a flush would free, hit rates
    #[command(after_help = "\
Examples:
  larder report --all-scopes --html store.html
  larder report --all-scopes --html store.html --runs runs.jsonl --age 30d

The page is one file that loads nothing from anywhere. RUNS are lines that `larder --json restore`
and `larder --json save` printed: the store itself keeps no record of restores.")]
    Report(Report),
    /// Print the keys that templates give
    #[command(after_help = "\
Examples:
  larder key 'npm-{{ os }}-{{ hash(\"**/package-lock.json\") }}'
  larder key --explain '{{ branch | slug }}-{{ week }}-{{ env(\"NODE_VERSION\", default=\"22\") }}'

Values: os, arch, branch, commit, week, date. Functions: env(\"NAME\", default=\"…\") and
hash(\"GLOB\", …, length=16), which leaves out what git ignores. Filters: slug, lower, upper, trim,
replace, default. A name that is not known and a value that is not there are errors.")]
    Key(KeyTemplates),
    /// Make a key that signs what is saved, or one that encrypts it
    #[command(after_help = "\
Examples:
  larder keygen >> .env
  larder keygen --encryption --output ci.key

Prints LARDER_SIGNING_KEY, a secret of those who save, and LARDER_REQUIRE_SIGNATURE, the public key
that goes to all who restore; or LARDER_ENCRYPTION_KEY, a secret of both.")]
    Keygen(Keygen),
    /// Write a larder.toml for what the repository holds
    #[command(after_help = "\
Examples:
  larder init
  larder init --dry-run

Looks for lock files and manifests of package managers, and writes a cache for each that it knows,
with comments. What is there already is not overwritten without --force.")]
    Init(Init),
    /// Show every setting, and where it came from
    #[command(after_help = "\
Examples:
  larder config
  larder config --json

Flags win over variables, and these over larder.toml. For each cache, the key is shown as it is
now, and its paths.")]
    Config,
    /// Do what a CI system's settings in the environment ask for
    #[command(after_help = "\
Examples:
  PLUGIN_BUCKET=ci-cache PLUGIN_CACHE=deps PLUGIN_RESTORE=true DRONE_REPO=o/r larder plugin --dry-run
  PARAMETER_ACTION=flush PARAMETER_BUCKET=ci-cache PARAMETER_PATH=org/repo larder plugin
  PACKAGE_ASSETS_BUCKET=assets larder plugin check

What the container image runs: PLUGIN_* are settings of Drone and Woodpecker, PARAMETER_* of Vela,
and PACKAGE_ASSETS_BUCKET is one of the asset manager; LARDER_PLUGIN=drone, vela or assets says
which if that is not clear.")]
    Plugin(Plugin),
    /// Keep the packages of each commit, and build them only if their sources changed
    #[command(after_help = "\
Examples:
  larder assets check --repository ./repo --filter 'lambdas/**'
  larder assets upload --packages ./packages

Exit codes of check: 100 no bucket, 101 no repository, 102 no package directory, 103 no commit.
Of upload: 100 no package directory, 101 no bucket, 102 no packages, 103 no .commit-hash.")]
    Assets(Assets),
    /// Serve the store to S3 clients: BuildKit, sccache, aws-cli
    #[command(after_help = "\
Examples:
  larder serve --store s3://bucket/prefix
  larder serve --listen unix:/run/larder.sock --bucket buildkit
  larder serve --listen 0.0.0.0:9440 --keys keys.toml

What is put is deduplicated against all that the store holds, and removed by flush like any cache.
Without keys, only this machine may connect, and signatures are not checked. docs/serve.md shows
how clients are set up. SIGTERM or Ctrl-C finishes the requests under way; a second one does not.")]
    Serve(Serve),
    /// Try out what the store can do, and tell what it costs where it cannot
    #[command(after_help = "\
Example:
  larder doctor --store 's3://bucket/prefix?region=eu-west-1'

Puts, reads and deletes a few objects below doctor/; nothing stays.")]
    Doctor,
    /// Print what a shell needs to complete larder's commands and flags
    #[command(after_help = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > ~/.zfunc/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
    Completions(Completions),
    /// Print the manual page, or write one for each command
    #[command(after_help = "\
Examples:
  larder man | man -l -
  larder man ~/.local/share/man/man1")]
    Man(Man),
}
