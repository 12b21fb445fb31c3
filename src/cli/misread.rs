//! Command lines that cannot be read: clap's words for it, with larder's codes.

use std::error::Error as _;

use clap::error::ErrorKind;
use larder::code::Code;
use larder::ids::InvalidName;

use super::exit::{Exit, exit_of};
use super::log;

/// Prints what came of reading the arguments instead of a command: help and the
/// version to stdout, mistakes to stderr.
pub(super) fn report(error: &clap::Error) -> Exit {
    let code = code(error);
    if log::usage(error, code) {
        return Exit::Usage;
    }
    let Some(code) = code else {
        // Nobody is left to tell that nobody reads.
        let _ = error.print();
        return if error.use_stderr() { Exit::Usage } else { Exit::Success };
    };
    anstream::eprint!("{}", with_code(&error.render().ansi().to_string(), code));
    exit_of(code)
}

/// The same text with the code where errors have it.
pub(super) fn with_code(text: &str, code: Code) -> String {
    text.replacen("error:", &format!("error[{code}]:"), 1)
}

/// The code that it is looked up by; `None` for what is no mistake, but help.
pub(super) fn code(error: &clap::Error) -> Option<Code> {
    // What else clap may come to know is also about the command line.
    Some(match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::DisplayVersion => return None,
        ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand => Code::UnknownArgument,
        ErrorKind::ValueValidation
            if error.source().is_some_and(<dyn std::error::Error>::is::<InvalidName>) =>
        {
            Code::InvalidName
        }
        ErrorKind::InvalidValue
        | ErrorKind::ValueValidation
        | ErrorKind::NoEquals
        | ErrorKind::TooManyValues => Code::InvalidArgument,
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::TooFewValues
        | ErrorKind::WrongNumberOfValues => Code::MissingArgument,
        ErrorKind::ArgumentConflict => Code::ArgumentConflict,
        _ => Code::CommandLine,
    })
}
