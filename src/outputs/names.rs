//! Names of values: what each system's rules leave of the names of caches.

/// Rules for names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// As in `npm-cache-hit`: letters, digits, `-` and `_`.
    Hyphened,
    /// As in `NPM_CACHE_HIT`: what names of variables may be.
    Environment,
}

impl Names {
    /// The name of a value of all caches.
    pub(super) fn plain(self, name: &str) -> String {
        match self {
            Self::Hyphened => name.to_owned(),
            Self::Environment => name.replace('-', "_").to_ascii_uppercase(),
        }
    }

    /// The name of a value of one cache.
    pub(super) fn prefixed(self, prefix: &str, name: &str) -> String {
        match self {
            Self::Hyphened => format!("{prefix}-{name}"),
            Self::Environment => format!("{prefix}_{}", self.plain(name)),
        }
    }

    /// What stands for each of these caches: different where the rules make the same of
    /// two of them.
    pub(super) fn prefixes<'a>(self, caches: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut prefixes: Vec<String> = vec![];
        for cache in caches {
            let first = self.safe(cache);
            let mut prefix = first.clone();
            let mut number = 1;
            while prefixes.contains(&prefix) {
                number += 1;
                prefix = format!("{first}_{number}");
            }
            prefixes.push(prefix);
        }
        prefixes
    }

    fn safe(self, cache: &str) -> String {
        let (others, other) = match self {
            Self::Hyphened => ("-_", '-'),
            Self::Environment => ("_", '_'),
        };
        let is_safe = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
        let safe: String = cache.chars().map(|c| if is_safe(c) { c } else { other }).collect();
        match self {
            Self::Hyphened => safe,
            Self::Environment => {
                let digit = safe.starts_with(|c: char| c.is_ascii_digit());
                format!("{}{}", if digit { "_" } else { "" }, safe.to_ascii_uppercase())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_caches_are_made_safe_and_stay_different() {
        let check = |names: Names, caches: &[&str], expected: &[&str]| {
            assert_eq!(names.prefixes(caches.iter().copied()), expected);
        };
        check(Names::Hyphened, &["npm", "a.b", "a-b", "A_b"], &["npm", "a-b", "a-b_2", "A_b"]);
        let caches = ["npm", "a.b", "a-b", "A_B", "7zip", "a b=c\nd"];
        let expected = ["NPM", "A_B", "A_B_2", "A_B_3", "_7ZIP", "A_B_C_D"];
        check(Names::Environment, &caches, &expected);
        assert_eq!(Names::Environment.prefixed("NPM", "cache-hit-kind"), "NPM_CACHE_HIT_KIND");
        assert_eq!(Names::Hyphened.prefixed("npm", "cache-hit"), "npm-cache-hit");
    }
}
