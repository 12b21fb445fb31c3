//! What can be said on the command line. The texts here are the help.

mod assets;
mod caches;
mod command;
mod serve;
mod store;
mod tools;
mod values;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use larder::ids::Scope;
use larder::secrets::PublicKey;
use larder::store::nearest;
use larder::trust::ScopePattern;

use super::ci::CiLog;
use super::log::LogFormat;
use super::settings::Origin;
use super::version;
use crate::values::duration;
pub(crate) use assets::AssetsCommand;
pub(crate) use caches::{
    Find, LocalCache, Lookup, Outputs, Record, Restore, SKIP_UNREADABLE, Save,
};
pub(crate) use command::Command;
pub(crate) use serve::Serve;
pub(crate) use store::{
    AllScopes, By, Delete, Diff, Du, Flush, List, Policy, Report, Show, Stats, Verify,
};
pub(crate) use tools::{Completions, Init, KeyTemplates, Keygen, Man, Plugin};
pub(crate) use values::KeyText;
use values::truth;

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

Results go to stdout, progress and messages to stderr.

Example:
  larder save --key npm-linux-5f3e node_modules
  larder restore --key npm-linux-5f3e";

/// Save and restore directories between CI jobs, uploading only what changed.
#[derive(Debug, Parser)]
#[command(name = "larder", version, long_version = version::LONG.as_str(), after_help = AFTER_HELP,
          max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct Global {
    /// The store: a directory, s3://bucket/prefix?region=…, or buildx's type=s3,bucket=…
    /// [default: larder/store in the user's cache directory]
    #[arg(long, global = true, env = "LARDER_STORE", value_name = "LOCATION")]
    pub(crate) store: Option<String>,

    /// The namespace of keys, usually org/repo [default: default]
    #[arg(long, global = true, env = "LARDER_SCOPE")]
    pub(crate) scope: Option<Scope>,

    /// Another scope to restore from if --scope has nothing; may be given several times
    #[arg(
        long = "fallback-scope",
        global = true,
        env = "LARDER_FALLBACK_SCOPES",
        value_name = "SCOPE",
        value_delimiter = ','
    )]
    pub(crate) fallback_scopes: Vec<Scope>,

    /// Scopes whose saves reuse only what saves of these scopes have uploaded; may be given several
    /// times
    #[arg(
        long = "trusted-scope",
        global = true,
        env = "LARDER_TRUSTED_SCOPES",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub(crate) trusted_scopes: Vec<ScopePattern>,

    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Tell more: the requests made; twice: how the store is spoken to, too
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Tell only what went wrong
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    #[command(flatten)]
    pub(crate) color: colorchoice_clap::Color,

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
    pub(crate) log_format: LogFormat,

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
    pub(crate) ci_log: CiLog,

    /// Give up after this long, such as 90s or 10m
    #[arg(long, global = true, env = "LARDER_TIMEOUT", value_name = "DURATION",
          value_parser = duration)]
    pub(crate) timeout: Option<Duration>,

    /// A save or restore that fails because of its store is a warning, and the exit code 0
    #[arg(long, global = true, env = "LARDER_IGNORE_ERROR", value_parser = truth(),
          value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub(crate) ignore_error: Option<bool>,

    /// Threads for reading, compressing and writing [default: one per core]
    #[arg(long, global = true, env = "LARDER_THREADS", value_name = "N")]
    pub(crate) threads: Option<NonZeroUsize>,

    /// Rely only on caches that are signed with one of these public keys; the own key counts, too
    #[arg(
        long,
        global = true,
        env = "LARDER_REQUIRE_SIGNATURE",
        value_name = "PUBKEY",
        value_delimiter = ','
    )]
    pub(crate) require_signature: Vec<PublicKey>,

    /// The file with the key that signs what is saved [default: the key in LARDER_SIGNING_KEY]
    #[arg(long, global = true, env = "LARDER_SIGNING_KEY_FILE", value_name = "FILE")]
    pub(crate) signing_key_file: Option<PathBuf>,

    /// The file with the keys that encrypt (the first) and decrypt (all) [default: those in
    /// LARDER_ENCRYPTION_KEY]
    #[arg(long, global = true, env = "LARDER_ENCRYPTION_KEY_FILE", value_name = "FILE")]
    pub(crate) encryption_key_file: Option<PathBuf>,

    /// The configuration file [default: larder.toml here or above, within the git repository]
    #[arg(long, global = true, env = "LARDER_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Read no configuration file
    #[arg(long, global = true, conflicts_with = "config")]
    pub(crate) no_config: bool,

    /// Which of these came from variables.
    #[arg(skip)]
    pub(crate) from_variables: Vec<&'static str>,
}

/// The settings that can stand in a configuration file, too: each with its flag and
/// its variable.
const LAYERED: [(&str, &str, &str); 8] = [
    ("store", "--store", "LARDER_STORE"),
    ("scope", "--scope", "LARDER_SCOPE"),
    ("fallback_scopes", "--fallback-scope", "LARDER_FALLBACK_SCOPES"),
    ("trusted_scopes", "--trusted-scope", "LARDER_TRUSTED_SCOPES"),
    ("threads", "--threads", "LARDER_THREADS"),
    ("timeout", "--timeout", "LARDER_TIMEOUT"),
    ("ignore_error", "--ignore-error", "LARDER_IGNORE_ERROR"),
    ("require_signature", "--require-signature", "LARDER_REQUIRE_SIGNATURE"),
];

impl Global {
    /// Where a value came from that was given, and is no default.
    pub(crate) fn origin(&self, id: &str) -> Origin {
        let row = LAYERED.iter().find(|(known, ..)| *known == id);
        let (id, flag, variable) = row.expect("only layered settings are asked for");
        if self.from_variables.contains(id) {
            Origin::Variable(variable)
        } else {
            Origin::Flag(flag)
        }
    }
}

/// The whole command line, for what is made of its description.
pub(crate) fn command() -> clap::Command {
    Arguments::command()
}

/// Reads the arguments. Variables that are set to nothing count as unset: that is
/// how CI systems say "none".
pub(crate) fn parse(arguments: &[OsString]) -> Result<Arguments, clap::Error> {
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
