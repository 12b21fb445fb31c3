//! What can be said to `assets`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Assets {
    #[command(subcommand)]
    pub(crate) step: AssetsCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AssetsCommand {
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
pub(crate) struct AssetsCheck {
    /// The git repository [env: GIT_REPO_PATH] [default: ./repo]
    #[arg(long, value_name = "DIR")]
    pub(crate) repository: Option<PathBuf>,

    /// The sources of the packages: globs relative to the repository, separated by spaces
    /// [env: CODE_HASH_FIND_FILTER]
    #[arg(long, value_name = "GLOBS")]
    pub(crate) filter: Option<String>,

    #[command(flatten)]
    pub(crate) packages: AssetsPackages,
}

#[derive(Debug, Args)]
pub(crate) struct AssetsUpload {
    #[command(flatten)]
    pub(crate) packages: AssetsPackages,
}

#[derive(Debug, Args)]
pub(crate) struct AssetsPackages {
    /// The directory of the packages [env: PACKAGE_DIRECTORY] [default: ./packages]
    #[arg(long, value_name = "DIR")]
    pub(crate) packages: Option<PathBuf>,

    /// Also keep every file as an object of its own in the bucket, as other programs read them
    /// [env: LARDER_ASSETS_PLAIN]
    #[arg(long)]
    pub(crate) plain: bool,
}
