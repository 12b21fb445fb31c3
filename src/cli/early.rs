//! What has to be known before the command line is read: how to tell of mistakes
//! in it.

use std::ffi::OsString;

use clap::ValueEnum;

use super::log::LogFormat;

/// What a command line says of its messages, as far as it can be told without
/// reading it all.
#[derive(Debug, PartialEq)]
pub(super) struct Early {
    pub(super) color: colorchoice_clap::ColorChoice,
    pub(super) log_format: LogFormat,
}

impl Early {
    pub(super) fn of(arguments: &[OsString], variable: impl Fn(&str) -> Option<String>) -> Self {
        let log_format =
            value_of(arguments, "--log-format").or_else(|| parsed(&variable("LARDER_LOG_FORMAT")?));
        Self {
            color: value_of(arguments, "--color").unwrap_or_default(),
            log_format: log_format.unwrap_or_default(),
        }
    }
}

/// A flag's last value that is one.
fn value_of<T: ValueEnum>(arguments: &[OsString], flag: &str) -> Option<T> {
    let texts = arguments.iter().map(|argument| argument.to_str().unwrap_or_default());
    let texts: Vec<&str> = texts.take_while(|&text| text != "--").collect();
    let value = |(at, text): (usize, &&str)| match text.strip_prefix(flag)?.strip_prefix('=') {
        Some(value) => parsed(value),
        None if *text == flag => parsed(texts.get(at + 1)?),
        None => None,
    };
    texts.iter().enumerate().rev().find_map(value)
}

fn parsed<T: ValueEnum>(text: &str) -> Option<T> {
    T::from_str(text, false).ok()
}

#[cfg(test)]
mod tests {
    use colorchoice_clap::ColorChoice;

    use super::*;

    #[test]
    fn flags_are_found_wherever_they_stand() {
        let check = |line: &str, variable: &str, color, log_format| {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let early = Early::of(&arguments, |_| Some(variable.to_owned()));
            assert_eq!(early, Early { color, log_format }, "{line} {variable}");
        };
        let (text, json) = (LogFormat::Text, LogFormat::Json);
        check("larder save", "", ColorChoice::Auto, text);
        check("larder save", "json", ColorChoice::Auto, json);
        check("larder --log-format text save", "json", ColorChoice::Auto, text);
        check("larder save --log-format=json --kee", "", ColorChoice::Auto, json);
        check("larder save --log-format yaml", "", ColorChoice::Auto, text);
        check("larder --color always --color=never", "", ColorChoice::Never, text);
        check("larder --colors=always save --color", "", ColorChoice::Auto, text);
        check("larder save -- --log-format json", "", ColorChoice::Auto, text);
    }
}
