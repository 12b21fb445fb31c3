//! What can be said on the command line. The texts here are the help.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::TypedValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use globset::GlobMatcher;
use larder::ids::{Key, Scope};
use larder::size;
use larder::store::nearest;

use super::ci::CiLog;
use super::log::LogFormat;
use super::outputs::CiOutputs;
use super::settings::Origin;
use crate::assets::Step;
use crate::keys::is_template;
use crate::values::{duration, seconds};

const AFTER_HELP: &str = "\
Exit codes:
  0    done (a restore or delete that found nothing is done, too)
  1    failed (or: diff --exit-code found a difference)
  2    the command line is wrong
  3    nothing was found (lookup, show, diff, du, verify KEY; restore with --fail-on-miss)
  4    the store holds damaged or missing data
  5    the store cannot be used: it does not answer, or refuses
  6    there is no such bucket
  7    permission denied by the store
  8    no credentials, or bad or expired ones
  9    the bucket is in another region
  10   the endpoint is no S3 service
  11   the place holds something else, or a store of another version
  100 to 103  a step of the assets command cannot begin: see `larder help assets`
  130  interrupted

Results go to stdout, progress and messages to stderr.";

/// Save and restore directories between CI jobs, uploading only what changed.
#[derive(Debug, Parser)]
#[command(name = "larder", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(super) struct Global {
    /// The store: a directory, s3://bucket/prefix?region=…, or buildx's type=s3,bucket=…
    /// [default: larder/store in the user's cache directory]
    #[arg(long, global = true, env = "LARDER_STORE", value_name = "LOCATION")]
    pub(super) store: Option<String>,

    /// The namespace of keys, usually org/repo [default: default]
    #[arg(long, global = true, env = "LARDER_SCOPE")]
    pub(super) scope: Option<Scope>,

    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub(super) json: bool,

    /// Tell more: the requests made; twice: how the store is spoken to, too
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(super) verbose: u8,

    /// Tell only what went wrong
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,

    #[command(flatten)]
    pub(super) color: colorchoice_clap::Color,

    /// How messages and progress are told: as text, or one JSON object a line
    #[arg(
        long,
        global = true,
        env = "LARDER_LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(super) log_format: LogFormat,

    /// Whose logs fold progress: auto, never, github, gitlab, buildkite, azure, travis or teamcity
    #[arg(
        long,
        global = true,
        env = "LARDER_CI_LOG",
        value_name = "SYSTEM",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(super) ci_log: CiLog,

    /// Give up after this long, such as 90s or 10m
    #[arg(long, global = true, env = "LARDER_TIMEOUT", value_name = "DURATION",
          value_parser = duration)]
    pub(super) timeout: Option<Duration>,

    /// A save or restore that fails because of its store is a warning, and the exit code 0
    #[arg(long, global = true, env = "LARDER_IGNORE_ERROR", value_parser = truth(),
          value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub(super) ignore_error: Option<bool>,

    /// Threads for reading, compressing and writing [default: one per core]
    #[arg(long, global = true, env = "LARDER_THREADS", value_name = "N")]
    pub(super) threads: Option<NonZeroUsize>,

    /// The configuration file [default: larder.toml here or above, within the git repository]
    #[arg(long, global = true, env = "LARDER_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Read no configuration file
    #[arg(long, global = true, conflicts_with = "config")]
    pub(super) no_config: bool,

    /// Which of these came from variables.
    #[arg(skip)]
    pub(super) from_variables: Vec<&'static str>,
}

/// The settings that can stand in a configuration file, too: each with its flag and
/// its variable.
const LAYERED: [(&str, &str, &str); 5] = [
    ("store", "--store", "LARDER_STORE"),
    ("scope", "--scope", "LARDER_SCOPE"),
    ("threads", "--threads", "LARDER_THREADS"),
    ("timeout", "--timeout", "LARDER_TIMEOUT"),
    ("ignore_error", "--ignore-error", "LARDER_IGNORE_ERROR"),
];

impl Global {
    /// Where a value came from that was given, and is no default.
    pub(super) fn origin(&self, id: &str) -> Origin {
        let row = LAYERED.iter().find(|(known, ..)| *known == id);
        let (id, flag, variable) = row.expect("only layered settings are asked for");
        if self.from_variables.contains(id) {
            Origin::Variable(variable)
        } else {
            Origin::Flag(flag)
        }
    }
}

/// The variable of `save --skip-unreadable`.
pub(super) const SKIP_UNREADABLE: &str = "LARDER_SKIP_UNREADABLE";

/// What a flag's variable takes: `true`, `1`, `yes`, `on` and their contraries.
fn truth() -> impl TypedValueParser<Value = bool> {
    clap::builder::BoolishValueParser::new()
}

/// Reads the arguments. Variables that are set to nothing count as unset: that is
/// how CI systems say "none".
pub(super) fn parse(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
    fn without_empty(command: clap::Command) -> clap::Command {
        let command = command.mut_args(|argument| {
            let is_empty = argument
                .get_env()
                .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
            if is_empty { argument.env(None::<&'static str>) } else { argument }
        });
        command.mut_subcommands(without_empty)
    }
    let matches = without_empty(Arguments::command())
        .try_get_matches_from(arguments)
        .map_err(|error| with_flag_meant(error, arguments))?;
    let mut parsed = Arguments::from_arg_matches(&matches)?;
    // Where a command has commands, the last knows all that was given before it.
    let mut last = &matches;
    while let Some((_, next)) = last.subcommand() {
        last = next;
    }
    let is_variable = |id: &&str| last.value_source(id) == Some(ValueSource::EnvVariable);
    parsed.global.from_variables = LAYERED.iter().map(|(id, ..)| *id).filter(is_variable).collect();
    Ok(parsed)
}

/// An error about an unknown flag, with the one that was most likely meant: letters in
/// the wrong order are too far away for clap.
fn with_flag_meant(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    if error.kind() != ErrorKind::UnknownArgument || error.get(ContextKind::SuggestedArg).is_some()
    {
        return error;
    }
    let mut command = Arguments::command();
    command.build();
    let mut last = &command;
    for word in arguments.iter().filter_map(|word| word.to_str()) {
        last = last.find_subcommand(word).unwrap_or(last);
    }
    let flags: Vec<String> =
        last.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    if let Some(meant) = nearest(given, &flags) {
        let meant = ContextValue::String(meant.to_owned());
        error.remove(ContextKind::Suggested);
        error.insert(ContextKind::SuggestedArg, meant);
    }
    error
}

/// A key, or a template of one.
#[derive(Clone, Debug)]
pub(super) struct KeyText(pub(super) String);

fn key_text(text: &str) -> Result<KeyText, String> {
    if !is_template(text) {
        text.parse::<Key>().map_err(|error| error.to_string())?;
    }
    Ok(KeyText(text.to_owned()))
}

fn size(text: &str) -> Result<u64, String> {
    match size::parse(text) {
        None => Err("write it as 500GB, 20GiB or 900MB".into()),
        Some(0) => {
            Err("it must be more than nothing; to delete all caches use `larder delete`".into())
        }
        Some(size) => Ok(size),
    }
}

fn glob(text: &str) -> Result<GlobMatcher, String> {
    let glob = globset::GlobBuilder::new(text).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
}

/// An age for the keys that a pattern matches.
#[derive(Clone, Debug)]
pub(super) struct KeyAge {
    pub(super) pattern: GlobMatcher,
    pub(super) age: Duration,
}

fn key_age(text: &str) -> Result<KeyAge, String> {
    let (pattern, age) =
        text.rsplit_once('=').ok_or("write it as PATTERN=AGE, such as 'pr-*=3d'")?;
    Ok(KeyAge { pattern: glob(pattern)?, age: seconds(age)? })
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
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
small file of the same length, in a chunk with others that changed. Only manifests are read.")]
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
    /// Print the keys that templates give
    #[command(after_help = "\
Examples:
  larder key 'npm-{{ os }}-{{ hash(\"**/package-lock.json\") }}'
  larder key --explain '{{ branch | slug }}-{{ week }}-{{ env(\"NODE_VERSION\", default=\"22\") }}'

Values: os, arch, branch, commit, week, date. Functions: env(\"NAME\", default=\"…\") and
hash(\"GLOB\", …, length=16), which leaves out what git ignores. Filters: slug, lower, upper, trim,
replace, default. A name that is not known and a value that is not there are errors.")]
    Key(KeyTemplates),
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
    /// Try out what the store can do, and tell what it costs where it cannot
    #[command(after_help = "\
Example:
  larder doctor --store 's3://bucket/prefix?region=eu-west-1'

Puts, reads and deletes a few objects below doctor/; nothing stays.")]
    Doctor,
}

#[derive(Debug, Args)]
pub(super) struct Save {
    /// The key to save under, or a template of it; an older cache of that key is replaced
    /// [default: the name=… of --store]
    #[arg(long, value_parser = key_text)]
    pub(super) key: Option<KeyText>,

    /// What to save: directories or files; without a key, caches of larder.toml [default: all]
    #[arg(value_name = "PATH|CACHE")]
    pub(super) paths: Vec<PathBuf>,

    /// Leave out what matches, in gitignore syntax; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(super) exclude: Vec<String>,

    /// zstd level for new chunks, 1 (fast) to 19 (small)
    /// [default: 2]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(super) compression_level: Option<i32>,

    /// Do nothing if the key exists
    #[arg(long)]
    pub(super) if_absent: bool,

    /// Read and compress, but change nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Save the other paths when some do not exist
    #[arg(long)]
    pub(super) allow_missing: bool,

    /// Leave out files that cannot be read, with a warning
    #[arg(long, env = SKIP_UNREADABLE, value_parser = truth())]
    pub(super) skip_unreadable: bool,

    /// Upload everything anew, which mends a cache whose packs were damaged
    #[arg(long)]
    pub(super) no_reuse: bool,

    /// Ask whether the packs are still there that the nearest caches rely on, and upload anew
    /// what is gone
    #[arg(long)]
    pub(super) check_packs: bool,

    /// Record owners and groups
    #[arg(long)]
    pub(super) owner: bool,

    /// Record extended attributes
    #[arg(long)]
    pub(super) xattrs: bool,

    /// Let a flush remove the cache once it was not used for this long, such as 3d, whatever
    /// age the flush itself goes by
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(super) ttl: Option<Duration>,

    /// Let no flush remove the cache
    #[arg(long, conflicts_with = "ttl")]
    pub(super) pin: bool,

    #[command(flatten)]
    pub(super) local_cache: LocalCache,

    #[command(flatten)]
    pub(super) record: Record,

    #[command(flatten)]
    pub(super) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct Outputs {
    /// Where the CI system is told what came of it: auto, summary (that of the step alone) or never
    #[arg(
        long,
        env = "LARDER_CI_OUTPUTS",
        value_name = "WHERE",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(super) ci_outputs: CiOutputs,

    /// Add what came of it to this file, NAME=value a line, for GitLab's dotenv reports
    #[arg(long, env = "LARDER_DOTENV", value_name = "FILE")]
    pub(super) dotenv: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct LocalCache {
    /// Keep chunks in this directory for later restores on this machine, up to SIZE (such as
    /// 20GB or 512MiB) [default SIZE: 10GB]
    #[arg(long, env = "LARDER_LOCAL_CACHE", value_name = "DIR[:SIZE]")]
    pub(super) local_cache: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Record {
    /// Neither use nor leave a record of file times, which tells the next run what changed
    #[arg(long)]
    pub(super) no_stat_record: bool,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    pub(super) find: Find,

    /// What to restore: saved paths or paths in them; without a key, caches of larder.toml
    /// [default: all]
    #[arg(value_name = "PATH|CACHE")]
    pub(super) paths: Vec<PathBuf>,

    /// Restore below this directory instead of to the original places
    #[arg(long, value_name = "DIR")]
    pub(super) to: Option<PathBuf>,

    /// Exit with 3 if nothing is found
    #[arg(long)]
    pub(super) fail_on_miss: bool,

    /// Remove what the cache does not hold, inside what is restored
    #[arg(long)]
    pub(super) delete_extra: bool,

    /// Restore owners and groups, where they were recorded
    #[arg(long)]
    pub(super) owner: bool,

    /// Restore extended attributes, where they were recorded
    #[arg(long)]
    pub(super) xattrs: bool,

    #[command(flatten)]
    pub(super) local_cache: LocalCache,

    #[command(flatten)]
    pub(super) record: Record,

    #[command(flatten)]
    pub(super) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct Find {
    /// The key to look for first, or a template of it [default: the name=… of --store]
    #[arg(long, value_parser = key_text)]
    pub(super) key: Option<KeyText>,

    /// Then the newest key that begins with this, or what it gives; may be given several times
    #[arg(long = "restore-key", value_name = "PREFIX")]
    pub(super) restore_keys: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Lookup {
    #[command(flatten)]
    pub(super) find: Find,

    /// Without a key: caches of larder.toml [default: all]
    #[arg(value_name = "CACHE")]
    pub(super) caches: Vec<String>,

    #[command(flatten)]
    pub(super) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(super) struct AllScopes {
    /// In all scopes, not only in --scope
    #[arg(long)]
    pub(super) all_scopes: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    pub(super) prefix: String,

    #[command(flatten)]
    pub(super) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// The key
    pub(super) key: Key,

    /// List every entry
    #[arg(long)]
    pub(super) files: bool,
}

#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The key to begin from
    #[arg(value_name = "KEY1")]
    pub(super) first: Key,

    /// The key to compare with it
    #[arg(value_name = "KEY2")]
    pub(super) second: Key,

    /// Print only totals: files, bytes, and the chunks that KEY2 needs beyond those of KEY1
    #[arg(long)]
    pub(super) stat: bool,

    /// Modification times count, too
    #[arg(long)]
    pub(super) times: bool,

    /// Exit with 1 if the keys differ, or may differ
    #[arg(long)]
    pub(super) exit_code: bool,
}

#[derive(Debug, Args)]
pub(super) struct Du {
    /// The key
    pub(super) key: Key,

    /// What is counted together
    #[arg(long, value_enum, value_name = "WHAT", default_value = "directory")]
    pub(super) by: By,

    /// Directories so far below the saved paths, and no further
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(super) depth: usize,

    /// Print the N largest; 0 means all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(super) top: usize,
}

/// What `du` counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum By {
    /// Directories, each with all below it
    Directory,
    /// Each file for itself
    File,
    /// Files with equal extensions
    Extension,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Delete {
    /// The key
    pub(super) key: Option<Key>,

    /// All keys that begin with this
    #[arg(long)]
    pub(super) prefix: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Flush {
    /// Remove caches that were not used for this long
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = seconds,
          allow_hyphen_values = true)]
    pub(super) age: Duration,

    /// Another age for keys that match, such as 'pr-*=3d'; the first pattern that matches counts
    #[arg(long, value_name = "PATTERN=AGE", value_parser = key_age)]
    pub(super) key_age: Vec<KeyAge>,

    /// Never remove caches whose keys match
    #[arg(long, value_name = "PATTERN", value_parser = glob)]
    pub(super) pin: Vec<GlobMatcher>,

    /// Keep the N caches of each scope that were used last, whatever their age
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) keep_last: usize,

    /// Then remove the caches that were used longest ago until what is in use has no more than
    /// this, such as 500GB
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    pub(super) max_size: Option<u64>,

    /// How long what nothing uses is kept, and kept again before it is deleted: longer than any
    /// save or restore takes
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = seconds,
          allow_hyphen_values = true)]
    pub(super) grace: Duration,

    /// The longest that a save or restore of this store takes; --grace may not be shorter
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = seconds,
          allow_hyphen_values = true)]
    pub(super) longest_save: Duration,

    /// Move what is in use out of packs that are mostly not, so that their space can be freed
    #[arg(long)]
    pub(super) repack: bool,

    /// Tell what would be done, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Begin although another flush began lately and has not finished: it was killed
    #[arg(long)]
    pub(super) take_over: bool,

    /// Go on although the store has no conditional writes: no other flush runs meanwhile
    #[arg(long)]
    pub(super) unfenced: bool,

    #[command(flatten)]
    pub(super) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The keys to check [default: all]
    pub(super) keys: Vec<Key>,

    /// Read every byte and check it against its hash
    #[arg(long)]
    pub(super) read_data: bool,

    /// Remove caches that cannot be restored, so that the next saves bring them back, and make
    /// the index anew from the packs; in all scopes
    #[arg(long, conflicts_with = "keys")]
    pub(super) repair: bool,

    /// With --repair: begin although a flush began lately and has not finished
    #[arg(long, requires = "repair")]
    pub(super) take_over: bool,

    /// With --repair: go on although the store has no conditional writes; no flush runs meanwhile
    #[arg(long, requires = "repair")]
    pub(super) unfenced: bool,

    #[command(flatten)]
    pub(super) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(super) struct KeyTemplates {
    /// Text with expressions in it, such as 'npm-{{ os }}'
    #[arg(required = true, value_name = "TEMPLATE")]
    pub(super) templates: Vec<String>,

    /// Tell what each part gave, and which files went into hashes
    #[arg(long)]
    pub(super) explain: bool,
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The repository
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) directory: PathBuf,

    /// Print the file, and write nothing
    #[arg(long)]
    pub(super) dry_run: bool,

    /// Replace a larder.toml that is there
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Plugin {
    /// Which step of the asset manager; none of Drone and Vela
    #[arg(value_enum)]
    pub(super) step: Option<Step>,

    /// Tell what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Assets {
    #[command(subcommand)]
    pub(super) step: AssetsCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum AssetsCommand {
    /// Look whether the packages of the commit are stored, or those of the same sources
    #[command(after_help = "\
Example:
  larder assets check --repository ./repo --filter 'lambdas/** shared/**'

Writes .commit-hash into the package directory, .code-hash if there is a filter, and .found if
nothing has to be built.")]
    Check(AssetsCheck),
    /// Store the packages of the commit, unless the check found them
    #[command(after_help = "Example:\n  larder assets upload --packages ./packages --plain")]
    Upload(AssetsUpload),
}

#[derive(Debug, Args)]
pub(super) struct AssetsCheck {
    /// The git repository [env: GIT_REPO_PATH] [default: ./repo]
    #[arg(long, value_name = "DIR")]
    pub(super) repository: Option<PathBuf>,

    /// The sources of the packages: globs relative to the repository, separated by spaces
    /// [env: CODE_HASH_FIND_FILTER]
    #[arg(long, value_name = "GLOBS")]
    pub(super) filter: Option<String>,

    #[command(flatten)]
    pub(super) packages: AssetsPackages,
}

#[derive(Debug, Args)]
pub(super) struct AssetsUpload {
    #[command(flatten)]
    pub(super) packages: AssetsPackages,
}

#[derive(Debug, Args)]
pub(super) struct AssetsPackages {
    /// The directory of the packages [env: PACKAGE_DIRECTORY] [default: ./packages]
    #[arg(long, value_name = "DIR")]
    pub(super) packages: Option<PathBuf>,

    /// Also keep every file as an object of its own in the bucket, as other programs read them
    /// [env: LARDER_ASSETS_PLAIN]
    #[arg(long)]
    pub(super) plain: bool,
}

#[derive(Debug, Args)]
pub(super) struct Stats {
    #[command(flatten)]
    pub(super) scopes: AllScopes,
}
