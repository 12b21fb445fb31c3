//! The engine: each expression of a template is read and evaluated by `minijinja`.
//!
//! What the engine says of a mistake is kept where it says more than this module can:
//! names are checked before, so that they count in a branch that is not taken, too.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use larder::ids::Key;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context, filters};

use super::failure::{KeyError, Mistake};
use super::functions::{self, Refusal};
use super::names;
use super::slug::slug;
use super::split::{Piece, Role, Word, is_too_long, multiplication, split, words};
use super::{FilesHash, Part, Rendered, Surroundings, calendar};

/// Renders templates.
pub(crate) struct Engine {
    environment: Environment<'static>,
    surroundings: Arc<Surroundings>,
    notes: Arc<Mutex<Notes>>,
}

/// What functions have to tell beside their values.
#[derive(Default)]
struct Notes {
    hashes: Vec<FilesHash>,
    failure: Option<Refusal>,
}

impl Engine {
    pub(crate) fn new(surroundings: Surroundings) -> Self {
        let surroundings = Arc::new(surroundings);
        let notes = Arc::new(Mutex::new(Notes::default()));
        let mut environment = Environment::empty();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_debug(true);
        environment.add_filter("default", filters::default);
        environment.add_filter("lower", filters::lower);
        let heard = Arc::clone(&notes);
        environment.add_filter("replace", move |text: String, from: String, to: String| {
            functions::replace(&text, &from, &to).map_err(|refusal| refuse(&heard, refusal))
        });
        environment.add_filter("slug", |text: String| slug(&text));
        environment.add_filter("trim", filters::trim);
        environment.add_filter("upper", filters::upper);
        let (around, heard) = (Arc::clone(&surroundings), Arc::clone(&notes));
        environment.add_function("env", move |name: String, options: Kwargs| {
            let default = options.get::<Option<String>>("default")?;
            options.assert_all_used()?;
            functions::variable(&around, &name, default).map_err(|refusal| refuse(&heard, refusal))
        });
        let (around, heard) = (Arc::clone(&surroundings), Arc::clone(&notes));
        environment.add_function("hash", move |arguments: Rest<ValueOrKwargs>| {
            let arguments = arguments.into_values();
            let (globs, options) = from_args::<(&[Value], Kwargs)>(&arguments)?;
            let len = options.get::<Option<usize>>("length")?;
            options.assert_all_used()?;
            let hashed = functions::hash(&around, globs, len);
            let hashed = hashed.map_err(|refusal| refuse(&heard, refusal))?;
            let hash = hashed.hash.clone();
            lock(&heard).hashes.push(hashed);
            Ok(hash)
        });
        Self { environment, surroundings, notes }
    }

    /// The key that a template gives, and its parts.
    ///
    /// # Errors
    /// What the template has that means nothing here; that the result is no key; files
    /// that cannot be read.
    pub(crate) fn render(&self, template: &str) -> Result<Rendered, KeyError> {
        let (text, parts, unfit) = self.render_parts(template)?;
        let key = text.parse::<Key>().map_err(|error| {
            let why = format!("what it gives is an {error}");
            Mistake::new(unfit.unwrap_or(0..template.len()), why).of(template)
        })?;
        Ok(Rendered { template: template.to_owned(), key, parts })
    }

    /// The text that a template gives where it makes no key.
    ///
    /// # Errors
    /// What the template has that means nothing here; files that cannot be read.
    pub(crate) fn render_text(&self, template: &str) -> Result<String, KeyError> {
        let (text, ..) = self.render_parts(template)?;
        Ok(text)
    }

    /// What a template gives, its parts, and the first expression in it that gives
    /// characters which no key has.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn render_parts(
        &self,
        template: &str,
    ) -> Result<(String, Vec<Part>, Option<Range<usize>>), KeyError> {
        let mut parts = vec![];
        let mut text = String::new();
        let mut unfit = None;
        for piece in split(template).map_err(|mistake| mistake.of(template))? {
            let part = match piece {
                Piece::Text(text) => Part::Text { value: text.to_owned() },
                Piece::Expression { source, start } => self.evaluate(template, source, start)?,
            };
            let (Part::Text { value } | Part::Expression { value, .. }) = &part;
            if value.contains(char::is_control)
                && let Piece::Expression { source, start } = piece
            {
                unfit.get_or_insert(start..start + source.len());
            }
            text.push_str(value);
            parts.push(part);
        }
        Ok((text, parts, unfit))
    }

    fn evaluate(&self, template: &str, source: &str, start: usize) -> Result<Part, KeyError> {
        let at = |range: &Range<usize>| range.start + start..range.end + start;
        let whole = start..start + source.len();
        let words = words(source);
        for word in &words {
            if let Some(misnomer) = names::check(word) {
                let mistake = Mistake::new(at(&word.range), misnomer.why).hint(misnomer.hint);
                return Err(mistake.of(template));
            }
        }
        if is_too_long(source) {
            let mistake = Mistake::new(whole, "this expression is too long");
            return Err(mistake.hint("a key has at most 512 bytes").of(template));
        }
        if let Some(at) = multiplication(source) {
            let why = "a key template multiplies nothing";
            let mistake = Mistake::new(start + at..start + at + 1, why);
            return Err(mistake.hint("a glob stands in quotes; `~` joins texts").of(template));
        }
        let from_engine = |error: &minijinja::Error| {
            let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
            let place = error.range().filter(|range| source.get(range.clone()).is_some());
            Mistake::new(place.map_or(whole.clone(), |range| at(&range)), why).of(template)
        };
        let read = self.environment.compile_expression_owned(source.to_owned());
        let read = read.map_err(|error| from_engine(&error))?;
        let (values, absent) = self.values(&words)?;
        *lock(&self.notes) = Notes::default();
        let value = read.eval(values);
        let notes = std::mem::take(&mut *lock(&self.notes));
        if let Some(refusal) = notes.failure.filter(|_| value.is_err()) {
            return Err(refusal.at(whole, template));
        }
        let is_missing = match &value {
            Ok(value) => value.is_undefined(),
            Err(error) => error.kind() == ErrorKind::UndefinedError,
        };
        if let Some((range, refusal)) = absent.filter(|_| is_missing) {
            return Err(refusal.at(at(&range), template));
        }
        let value = value.map_err(|error| from_engine(&error))?;
        let value = text(&value, source).map_err(|refusal| refusal.at(whole, template))?;
        Ok(Part::Expression { source: source.to_owned(), value, hashes: notes.hashes })
    }

    /// What the names of an expression stand for. A repository is asked only for what
    /// is named; what it does not have is undefined, so that `default` can stand in
    /// for it, and comes with the place of its name and the reason.
    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn values(
        &self,
        words: &[Word<'_>],
    ) -> Result<(Value, Option<(Range<usize>, Refusal)>), KeyError> {
        let mut absent = None;
        let mut named = |name: &str, value: fn(&Surroundings) -> Result<String, Refusal>| {
            let is_it = |word: &&Word<'_>| word.role == Role::Name && word.text == name;
            let Some(word) = words.iter().find(is_it) else { return Ok(Value::UNDEFINED) };
            match value(&self.surroundings) {
                Ok(value) => Ok(Value::from(value)),
                Err(Refusal::Larder(error)) => Err(KeyError::from(error)),
                Err(refusal) => {
                    absent.get_or_insert((word.range.clone(), refusal));
                    Ok(Value::UNDEFINED)
                }
            }
        };
        let values = context! {
            arch => self.surroundings.arch,
            branch => named("branch", functions::branch_of)?,
            commit => named("commit", functions::commit_of)?,
            date => calendar::date(self.surroundings.now),
            os => self.surroundings.os,
            week => calendar::week(self.surroundings.now),
        };
        Ok((values, absent))
    }
}

fn lock(notes: &Mutex<Notes>) -> std::sync::MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error by which the engine stops; what it is about is among the notes.
fn refuse(notes: &Mutex<Notes>, refusal: Refusal) -> minijinja::Error {
    lock(notes).failure = Some(refusal);
    ErrorKind::InvalidOperation.into()
}

/// What an expression puts into a key.
fn text(value: &Value, source: &str) -> Result<String, Refusal> {
    match value.kind() {
        ValueKind::String | ValueKind::Number | ValueKind::Bool => Ok(value.to_string()),
        ValueKind::Undefined | ValueKind::None => Err(Refusal::Says {
            why: "this has no value".to_owned(),
            hint: source.contains(" if ").then(|| "an `if` needs an `else`".to_owned()),
        }),
        kind => Err(Refusal::Says { why: format!("this is no text, but a {kind}"), hint: None }),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, UNIX_EPOCH};

    use larder::error::Error;
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A repository with two lock files, whose HEAD says this.
    fn repository(head: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let files = [
            (".git/HEAD", head),
            (".git/refs/heads/feature/x", HASH),
            (".gitignore", "ignored\n"),
            ("a/go.sum", "a"),
            ("b/go.sum", "b"),
            ("ignored", ""),
        ];
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn engine(directory: &Path, variables: &[(&str, &str)]) -> Engine {
        let owned = |(name, value): &(&str, &str)| (name.into(), value.into());
        let mut variables: std::collections::BTreeMap<OsString, OsString> =
            variables.iter().map(owned).collect();
        variables.insert("NO_TEXT".into(), OsString::from_vec(vec![0xff]));
        Engine::new(Surroundings {
            directory: directory.to_owned(),
            variables,
            now: UNIX_EPOCH + Duration::from_secs(1_795_219_200),
            os: "linux",
            arch: "x86_64",
            stop: Arc::new(AtomicBool::new(false)),
        })
    }

    const VARIABLES: [(&str, &str); 3] = [("NODE", "22"), ("EMPTY", ""), ("LINES", "a\nb")];

    fn rendered(engine: &Engine, template: &str) -> Result<String, String> {
        let rendered = engine.render(template);
        rendered.map(|rendered| rendered.key.to_string()).map_err(|error| {
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("{error}{hint}")
        })
    }

    fn check(template: &str, expected: &str) {
        let root = repository("ref: refs/heads/feature/x\n");
        let engine = engine(root.path(), &VARIABLES);
        assert_eq!(rendered(&engine, template).as_deref(), Ok(expected), "{template}");
    }

    /// Keys are what caches are found by: a change here makes them unknown.
    #[test]
    fn templates_give_keys() {
        check("npm", "npm");
        check("npm-{{ os }}-{{ arch }}", "npm-linux-x86_64");
        check("{{ date }}/{{ week }}", "2026-11-21/2026-W47");
        check("{{ branch }}", "feature/x");
        check("{{ branch | slug }}", "feature-x");
        check("{{ commit }}", HASH);
        check("{{ commit[:8] | upper }}", "01234567");
        check("{{ env('NODE') }}", "22");
        check("{{ env(\"EMPTY\", default=\"none\") }}", "none");
        check("{{ env('NODE', default='x') ~ '!' }}", "22!");
        check("{{ hash('**/go.sum') }}", "91714961026842d7");
        check(
            "{{ hash('b/go.sum', './a/*.sum', length=64) }}",
            "91714961026842d7b17dc47b6df4a612e205ecc98f3ca5c187538599d72d7b6f",
        );
        check("{{ hash('ignored', length=8) }}", "06064a60");
        check("{{ ' A b' | trim | lower | replace(' ', '_') }}", "a_b");
        check("{{ 'main' if branch == 'main' else 'other' }}", "other");
        check("{{ 'f' if 'feature' in branch else 'o' }}-{{ 1 + 1 }}", "f-2");
        check("{{ branch | default('none') }}", "feature/x");
        check("{{ '{{' }} { } \u{20ac}", "{{ { } \u{20ac}");
    }

    #[test]
    fn a_branch_is_told_by_head_or_by_the_system() {
        let of = |head: &str, variables: &[(&str, &str)], template: &str| {
            rendered(&engine(repository(head).path(), variables), template).unwrap()
        };
        let github = [("GITHUB_REF_NAME", "1/merge"), ("GITHUB_HEAD_REF", "fix")];
        assert_eq!(of("ref: refs/heads/main", &github, "{{ branch }}"), "main");
        assert_eq!(of(HASH, &github, "{{ branch }}"), "fix");
        assert_eq!(of(HASH, &[], "{{ branch | default('none') | slug }}"), "none");
        assert_eq!(of(HASH, &[], "{{ commit[:4] }}"), "0123");
        let nowhere = tempfile::tempdir().unwrap();
        assert_eq!(rendered(&engine(nowhere.path(), &github), "{{ branch }}").unwrap(), "fix");
        let within = repository("ref: refs/heads/main");
        let engine = engine(&within.path().join("a"), &[]);
        assert_eq!(
            rendered(&engine, "{{ branch }}-{{ hash('go.sum', length=8) }}").unwrap(),
            "main-f6e7fce9"
        );
    }

    #[test]
    fn parts_tell_what_a_key_is_made_of() {
        let root = repository(HASH);
        let engine = engine(root.path(), &VARIABLES);
        let rendered = engine.render("go-{{ hash('*/go.sum') | upper }}").unwrap();
        let Part::Expression { source, value, hashes } = &rendered.parts[1] else {
            panic!("{rendered:?}")
        };
        assert_eq!(rendered.parts[0], Part::Text { value: "go-".to_owned() });
        assert_eq!(source, "hash('*/go.sum') | upper");
        assert_eq!(rendered.key.as_str(), format!("go-{value}"));
        let [hash] = hashes.as_slice() else { panic!("{hashes:?}") };
        assert_eq!(hash.globs, ["*/go.sum"]);
        assert_eq!(hash.hash.to_uppercase(), *value);
        let files: Vec<(&str, String)> =
            hash.files.iter().map(|file| (file.path.as_str(), file.hash.clone())).collect();
        let of = |text: &str| blake3::hash(text.as_bytes()).to_string();
        assert_eq!(files, [("a/go.sum", of("a")), ("b/go.sum", of("b"))]);
        // The next template begins anew.
        let next = engine.render("{{ os }}").unwrap();
        assert!(matches!(&next.parts[0], Part::Expression { hashes, .. } if hashes.is_empty()));
    }

    fn check_error(template: &str, expected: &[&str]) {
        let root = repository("ref: refs/heads/feature/x\n");
        let found = rendered(&engine(root.path(), &VARIABLES), template).unwrap_err();
        let expected = format!("invalid key template: {}", expected.join("\n"));
        assert_eq!(found, expected, "{template}");
    }

    #[test]
    fn names_that_are_not_known_come_with_the_nearest() {
        check_error(
            "npm-{{ brnch }}",
            &[
                "unknown name \"brnch\"",
                "  npm-{{ brnch }}",
                "         ^^^^^",
                "hint: did you mean branch?",
            ],
        );
        check_error(
            "{{ hahs('x') }}",
            &[
                "unknown name \"hahs\"",
                "  {{ hahs('x') }}",
                "     ^^^^",
                "hint: did you mean hash(\"**/package-lock.json\")?",
            ],
        );
        check_error(
            "{{ os | slugg }}",
            &[
                "unknown filter \"slugg\"",
                "  {{ os | slugg }}",
                "          ^^^^^",
                "hint: did you mean slug?",
            ],
        );
        check_error(
            "{{ hash('x', lenght=9) }}",
            &[
                "unknown argument \"lenght\"",
                "  {{ hash('x', lenght=9) }}",
                "               ^^^^^^",
                "hint: did you mean length?",
            ],
        );
        check_error(
            "{{ os is linux }}",
            &[
                "unknown test \"linux\"",
                "  {{ os is linux }}",
                "           ^^^^^",
                "hint: compare by == or in",
            ],
        );
        check_error(
            "{{ 'x' if true else hsh }}",
            &[
                "unknown name \"hsh\"",
                "  {{ 'x' if true else hsh }}",
                "                      ^^^",
                "hint: did you mean hash(\"**/package-lock.json\")?",
            ],
        );
        check_error(
            "{{ env(NODE) }}",
            &[
                "unknown name \"NODE\"",
                "  {{ env(NODE) }}",
                "         ^^^^",
                "hint: an environment variable is written env(\"NODE\")",
            ],
        );
        check_error(
            "{{ somewhere }}",
            &[
                "unknown name \"somewhere\"",
                "  {{ somewhere }}",
                "     ^^^^^^^^^",
                "hint: known are arch, branch, commit, date, os, week, env, hash",
            ],
        );
    }

    #[test]
    fn words_of_other_languages_are_understood_but_not_taken() {
        check_error(
            "{{ checksum \"go.sum\" }}",
            &[
                "unknown name \"checksum\"",
                "  {{ checksum \"go.sum\" }}",
                "     ^^^^^^^^",
                "hint: did you mean hash(\"**/package-lock.json\")?",
            ],
        );
        check_error(
            "{{ .Branch }}",
            &[
                "unknown name \"Branch\"",
                "  {{ .Branch }}",
                "      ^^^^^^",
                "hint: did you mean branch?",
            ],
        );
        check_error(
            "{{ env.NODE }}",
            &["env is a function", "  {{ env.NODE }}", "     ^^^", "hint: write env(\"NAME\")"],
        );
        check_error(
            "${{ runner.os }}",
            &[
                "unknown name \"runner\"",
                "  ${{ runner.os }}",
                "      ^^^^^^",
                "hint: did you mean os?",
            ],
        );
    }

    /// Found by fuzzing: both filled memory.
    #[test]
    fn no_template_makes_texts_that_no_key_has() {
        check_error(
            "{{ 'a' * 99999999 }}",
            &[
                "a key template multiplies nothing",
                "  {{ 'a' * 99999999 }}",
                "         ^",
                "hint: a glob stands in quotes; `~` joins texts",
            ],
        );
        check("{{ 'a*' | replace('*', 'b**') }}", "ab**");
        let template = format!("{{{{ 'a'{} }}}}", " | replace('a', 'aaaaaaaaaa')".repeat(30));
        let root = repository(HASH);
        let refused = rendered(&engine(root.path(), &[]), &template).unwrap_err();
        assert!(refused.contains("what replace() gives is too long"), "{refused}");
        assert!(refused.ends_with("hint: a key has at most 512 bytes"), "{refused}");
    }

    /// Found by fuzzing: the stack ended.
    #[test]
    fn no_template_is_nested_too_deep() {
        let root = repository(HASH);
        let engine = engine(root.path(), &[]);
        for deep in ["-".repeat(100_000), "not ".repeat(100_000), "1+".repeat(100_000)] {
            let refused = rendered(&engine, &format!("{{{{ {deep}1 }}}}")).unwrap_err();
            assert!(refused.contains("this expression is too long"), "{}", refused.len());
            // What is just short enough.
            let _ = rendered(&engine, &format!("{{{{ {}1 }}}}", &deep[..508]));
        }
        let globs = (0..200).map(|number| format!("'{number}/**/go.sum', ")).collect::<String>();
        check(
            &format!("{{{{ hash({globs}'a/go.sum', 'b/go.sum')[:8] }}}}").replace(", ", ","),
            "91714961",
        );
    }

    #[test]
    fn what_is_no_expression_is_marked() {
        check_error("é-{{ os", &["there is no `}}` after this `{{`", "  é-{{ os", "    ^^"]);
        check_error(
            "{ os }}",
            &[
                "there is no `{{` before this `}}`",
                "  { os }}",
                "       ^^",
                "hint: an expression is written {{ os }}",
            ],
        );
        check_error(
            "{{ hash('x' }}",
            &["unexpected end of input, expected `,`", "  {{ hash('x' }}", "          ^^^"],
        );
        check_error(
            "{{ hash('x) }}",
            &[
                "the text that begins with this quote has no end",
                "  {{ hash('x) }}",
                "          ^^^^^^",
            ],
        );
        check_error(
            "{{ os arch }}",
            &["unexpected input after expression", "  {{ os arch }}", "        ^^^^"],
        );
        check_error(
            "{{ hash }}",
            &[
                "hash is a function",
                "  {{ hash }}",
                "     ^^^^",
                "hint: write hash(\"**/package-lock.json\")",
            ],
        );
        check_error(
            "{{ 'x' ~ env }}",
            &[
                "env is a function",
                "  {{ 'x' ~ env }}",
                "           ^^^",
                "hint: write env(\"NAME\")",
            ],
        );
        check_error(
            "{{ os() }}",
            &["value of type string is not callable", "  {{ os() }}", "     ^^^^"],
        );
        check_error(
            "{% if x %}",
            &[
                "a key template has neither statements nor comments",
                "  {% if x %}",
                "  ^^",
                "hint: choose by {{ \"a\" if branch == \"main\" else \"b\" }}",
            ],
        );
        check_error(
            "{{ 'a' if false }}",
            &[
                "this has no value",
                "  {{ 'a' if false }}",
                "     ^^^^^^^^^^^^",
                "hint: an `if` needs an `else`",
            ],
        );
        check_error(
            "{{ [os] }}",
            &["this is no text, but a sequence", "  {{ [os] }}", "     ^^^^"],
        );
        check_error(
            "a\nb-{{ oss }}\nc",
            &["unknown name \"oss\"", "  b-{{ oss }}", "       ^^^", "hint: did you mean os?"],
        );
    }

    #[test]
    fn what_is_not_there_is_told() {
        check_error(
            "{{ env('EMPTY') }}",
            &[
                "the environment variable EMPTY is not set",
                "  {{ env('EMPTY') }}",
                "     ^^^^^^^^^^^^",
                "hint: set it, or write env(\"EMPTY\", default=\"…\")",
            ],
        );
        check_error(
            "{{ env('NO_TEXT') }}",
            &[
                "the environment variable NO_TEXT is no text",
                "  {{ env('NO_TEXT') }}",
                "     ^^^^^^^^^^^^^^",
            ],
        );
        check_error(
            "{{ hash('*.lock') }}",
            &[
                "no file matches",
                "  {{ hash('*.lock') }}",
                "     ^^^^^^^^^^^^^^",
                "hint: globs are relative to the working directory, in larder.toml to its own, and do not match what is ignored by git",
            ],
        );
        check_error(
            "{{ hash('a') }}",
            &[
                "a is a directory",
                "  {{ hash('a') }}",
                "     ^^^^^^^^^",
                "hint: write \"a/**\" for all files in it",
            ],
        );
        check_error(
            "{{ hash('../*') }}",
            &[
                "invalid glob \"../*\": it must be relative to the working directory, and stay in it",
                "  {{ hash('../*') }}",
                "     ^^^^^^^^^^^^",
            ],
        );
        check_error(
            "{{ hash() }}",
            &[
                "hash() is of no files",
                "  {{ hash() }}",
                "     ^^^^^^",
                "hint: write hash(\"**/package-lock.json\")",
            ],
        );
        check_error(
            "{{ hash('a/*', length=4) }}",
            &[
                "a hash has 8 to 64 digits",
                "  {{ hash('a/*', length=4) }}",
                "     ^^^^^^^^^^^^^^^^^^^^^",
                "hint: leave length out for 16",
            ],
        );
    }

    #[test]
    fn what_is_no_key_is_told() {
        check_error("", &["what it gives is an invalid key \"\": it is empty"]);
        check_error(
            "{{ '' }}",
            &["what it gives is an invalid key \"\": it is empty", "  {{ '' }}", "  ^^^^^^^^"],
        );
        check_error(
            "{{ os }}-{{ env('LINES') }}",
            &[
                "what it gives is an invalid key \"linux-a\\nb\": it has a control character",
                "  {{ os }}-{{ env('LINES') }}",
                "              ^^^^^^^^^^^^",
            ],
        );
    }

    #[test]
    fn what_the_repository_cannot_tell_is_told() {
        let of = |directory: &Path, template: &str| {
            rendered(&engine(directory, &[]), template).unwrap_err()
        };
        let nowhere = tempfile::tempdir().unwrap();
        let says = |template: &str| of(nowhere.path(), template).lines().next().map(str::to_owned);
        let none = "invalid key template: there is no branch: the working directory is in no git \
                    repository, and no variable of a CI system tells";
        assert_eq!(says("{{ branch }}").as_deref(), Some(none));
        assert_eq!(says("{{ 'x' ~ branch | slug }}").as_deref(), Some(none));
        let none = "invalid key template: there is no commit: the working directory is in no git \
                    repository";
        assert_eq!(says("{{ commit }}").as_deref(), Some(none));
        let detached = repository(HASH);
        let none = "invalid key template: there is no branch: a commit is checked out, and no \
                    variable of a CI system tells\n  {{ branch }}\n     ^^^^^^\nhint: write branch \
                    | default(\"none\"), or take the branch from a variable by env()";
        assert_eq!(of(detached.path(), "{{ branch }}"), none);
        let strange = repository("ref: refs/heads/.invalid");
        let why = of(strange.path(), "{{ branch }}");
        assert!(why.contains("a form that larder cannot read (reftable)"), "{why}");
    }

    #[test]
    fn an_interruption_ends_the_hashing() {
        let root = repository(HASH);
        let engine = engine(root.path(), &[]);
        engine.surroundings.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let found = engine.render("{{ hash('a/*') }}");
        assert!(matches!(found, Err(KeyError::Larder(Error::Interrupted))));
    }

    proptest! {
        /// Whatever a template is made of, it gives a key or an error that can be shown.
        #[test]
        fn no_template_is_too_strange(words in prop::collection::vec(
            prop::sample::select(vec![
                "{{", "}}", "{{ ", " }}", "{", "}", "'", "\"", "\\", "ä", "-", "|", ".", "(", ")",
                "[", "]", ",", "=", "~", "1", " ", "\n", "os", "branch", "env", "hash", "slug", "if",
                "else", "is", "not", "default", "NODE", "*", "!", "{%",
            ]),
            0..12,
        )) {
            static ROOT: std::sync::LazyLock<tempfile::TempDir> =
                std::sync::LazyLock::new(|| repository(HASH));
            let template = words.concat();
            match engine(ROOT.path(), &VARIABLES).render(&template) {
                Ok(rendered) => prop_assert_eq!(rendered.template, template),
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }
}
