//! What must hold of any environment that a plugin finds.

use super::{Environment, Given, System, read, read_assets};

/// Whether a variable's value is a secret, whatever it is.
fn is_secret(name: &str) -> bool {
    let given = ["PLUGIN_AWS_", "PARAMETER_", "S3_CACHE_", "CACHE_S3_", "AWS_"];
    let secrets =
        ["ACCESS_KEY", "ACCESS_KEY_ID", "SECRET_KEY", "SECRET_ACCESS_KEY", "SESSION_TOKEN"];
    given.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| secrets.contains(&rest)))
}

/// `NAME=VALUE`, with NULs between, as a process is given it.
///
/// An order comes of it or a message, the same whatever the secrets are.
pub(crate) fn plugin_env(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let variables = text.split('\0').filter_map(|line| line.split_once('='));
    let nowhere = ("LARDER_PLUGIN_FILES", "/nonexistent");
    let variables: Vec<_> = variables.filter(|(name, _)| *name != nowhere.0).collect();
    let hidden = |(name, value): (&'static str, &'static str)| (name.to_owned(), value.to_owned());
    let plain = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let told = tell(variables.iter().map(plain).chain([hidden(nowhere)]));
    assert!(!told.message.contains(|c: char| c.is_control() && c != '\n'), "{:?}", told.message);

    // What no header takes is no key, and said so.
    let is_key = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let other = |(name, value): &(&str, &str)| {
        let is_hidden = is_secret(name) && is_key(value.trim());
        plain(&(*name, if is_hidden { "another-secret" } else { *value }))
    };
    let others: Vec<_> = variables.iter().map(other).collect();
    assert_eq!(tell(others.into_iter().chain([hidden(nowhere)])), told);
}

/// All that a person can see of what comes of an environment.
#[derive(Debug, PartialEq)]
struct Told {
    order: String,
    message: String,
}

fn tell(variables: impl Iterator<Item = (String, String)>) -> Told {
    let environment = Environment::new(variables);
    let order = System::detect(&environment).and_then(|system| match system {
        System::Assets => read_assets(&environment).map(|settings| format!("{settings:?}")),
        system => read(system, &environment, Given::default()).map(|order| {
            let tasks: Vec<_> = order.tasks.iter().map(ToString::to_string).collect();
            let store = order.store.as_ref().map(ToString::to_string);
            format!("{order:?} {tasks:?} {store:?}")
        }),
    });
    match order {
        Ok(order) => Told { order, message: String::new() },
        Err(error) => {
            let message = format!("{error}\n{}", error.hint().unwrap_or_default());
            Told { order: String::new(), message }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_environment_harms_the_plugin() {
        crate::replay::replay("plugin_env", plugin_env);
    }
}
