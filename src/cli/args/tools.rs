//! What can be said to commands that need no store.

use std::path::PathBuf;

use clap::Args;

use crate::assets::Step;

#[derive(Debug, Args)]
pub(crate) struct KeyTemplates {
    /// Text with expressions in it, such as 'npm-{{ os }}'
    #[arg(required = true, value_name = "TEMPLATE")]
    pub(crate) templates: Vec<String>,

    /// Tell what each part gave, and which files went into hashes
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// Make a key that encrypts, instead of one that signs
    #[arg(long)]
    pub(crate) encryption: bool,

    /// Write the secret to this file, which must not exist, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Make none: print the public half of LARDER_SIGNING_KEY
    #[arg(long, conflicts_with_all = ["encryption", "output"])]
    pub(crate) public: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The repository
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,

    /// Print the file, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Replace a larder.toml that is there
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Plugin {
    /// Which step of the asset manager; none of Drone and Vela
    #[arg(value_enum)]
    pub(crate) step: Option<Step>,

    /// Tell what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where to write a page for each command; made if it is not there [default: only the
    /// page of larder itself, to stdout]
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
