//! What is checked out in a git repository: the commit, and the branch.
//!
//! Read from the repository's files, as gitrepository-layout(5)
//! describes them: `git` itself need not be there, and does not
//! refuse directories that belong to another user, as CI systems make them.

use std::io;
use std::path::{Path, PathBuf};

/// Symbolic refs that are followed: git itself follows five.
const MAX_DEPTH: u32 = 5;

/// Why a directory gives no commit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotUsable {
    #[error("it is not the root of a git repository")]
    NoRepository,
    #[error("it is a bare repository, which has no files")]
    Bare,
    #[error("it has no commit: {0} does not exist")]
    NoCommit(String),
    #[error("it keeps its refs in a form that larder cannot read ({0})")]
    Format(String),
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
}

/// The root of the repository that a directory lies in, if it lies in one.
pub(crate) fn root(directory: &Path) -> Option<&Path> {
    directory.ancestors().find(|above| above.join(".git").exists())
}

/// The address of the remote that is named `origin`, as its configuration has it.
pub(crate) fn origin(root: &Path) -> Option<String> {
    let directory = git_directory(root).ok()?;
    let shared = match read(&directory.join("commondir")).ok()? {
        Some(text) => directory.join(text.trim_end()),
        None => directory,
    };
    let text = read(&shared.join("config")).ok()??;
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| *line == "[remote \"origin\"]")?;
    let settings = lines.take_while(|line| !line.starts_with('['));
    let mut pairs = settings.filter_map(|line| line.split_once('='));
    let (_, address) = pairs.find(|(name, _)| name.trim() == "url")?;
    Some(address.trim().to_owned())
}

/// The branch that is checked out in `root`; `None` if a commit is, and no branch.
///
/// # Errors
/// [`NotUsable`], saying why that cannot be told.
pub(crate) fn branch(root: &Path) -> Result<Option<String>, NotUsable> {
    let directory = git_directory(root)?;
    let text = read(&directory.join("HEAD"))?.ok_or(NotUsable::NoCommit("HEAD".to_owned()))?;
    match text.trim_end().strip_prefix("ref: ") {
        Some("refs/heads/.invalid") => Err(NotUsable::Format("reftable".to_owned())),
        Some(target) => Ok(target.strip_prefix("refs/heads/").map(str::to_owned)),
        None => Ok(None),
    }
}

/// The hash of the commit that is checked out in `root`.
///
/// # Errors
/// [`NotUsable`], saying why there is none.
pub(crate) fn head(root: &Path) -> Result<String, NotUsable> {
    let directory = git_directory(root)?;
    // A worktree has its own HEAD, and shares all else.
    let shared = match read(&directory.join("commondir"))? {
        Some(text) => directory.join(text.trim_end()),
        None => directory.clone(),
    };
    let mut name = "HEAD".to_owned();
    for _ in 0..MAX_DEPTH {
        let own = if name == "HEAD" { &directory } else { &shared };
        let Some(text) = read(&own.join(&name))? else {
            return packed(&shared, &name)?.ok_or(NotUsable::NoCommit(name));
        };
        match text.trim_end().strip_prefix("ref: ") {
            Some("refs/heads/.invalid") => return Err(NotUsable::Format("reftable".to_owned())),
            Some(target) if is_ref(target) => target.clone_into(&mut name),
            Some(target) => return Err(NotUsable::Format(target.to_owned())),
            None => return hash(&text, &name),
        }
    }
    Err(NotUsable::Format(format!("{name} leads on for ever")))
}

/// Where the repository keeps what it knows: `.git`, or where a file of that name
/// says, as in worktrees and submodules.
fn git_directory(root: &Path) -> Result<PathBuf, NotUsable> {
    let git = root.join(".git");
    if git.is_dir() {
        return Ok(git);
    }
    match read(&git)? {
        Some(text) => match text.trim_end().strip_prefix("gitdir: ") {
            Some(directory) => Ok(root.join(directory)),
            None => Err(NotUsable::NoRepository),
        },
        None if root.join("HEAD").is_file() && root.join("objects").is_dir() => {
            Err(NotUsable::Bare)
        }
        None => Err(NotUsable::NoRepository),
    }
}

/// A ref among those that are packed into one file.
fn packed(shared: &Path, name: &str) -> Result<Option<String>, NotUsable> {
    let text = read(&shared.join("packed-refs"))?.unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let (hash, packed) = line.split_once(' ')?;
        (packed == name).then_some(hash)
    });
    found.map(|found| hash(found, name)).transpose()
}

fn hash(text: &str, name: &str) -> Result<String, NotUsable> {
    let text = text.trim_end();
    // SHA-1, and SHA-256 where a repository was made with that.
    let is_hash =
        [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(NotUsable::Format(format!("{name} is no hash")))
    }
}

/// Whether a name stays below the repository's directory.
fn is_ref(name: &str) -> bool {
    name.starts_with("refs/") && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn read(path: &Path) -> Result<Option<String>, NotUsable> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(NotUsable::Unreadable { path: path.to_owned(), error }),
    }
}

/// A directory with these files, for tests of whatever reads repositories.
#[cfg(test)]
pub(crate) fn planted(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::planted as repository;
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    fn check(files: &[(&str, &str)], expected: Result<&str, &str>) {
        let root = repository(files);
        let found = head(root.path()).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn a_branch_a_detached_head_and_packed_refs() {
        let branch = (".git/HEAD", "ref: refs/heads/main\n");
        check(&[branch, (".git/refs/heads/main", &format!("{HASH}\n"))], Ok(HASH));
        check(&[(".git/HEAD", &format!("{HASH}\n"))], Ok(HASH));
        let packed = format!("# pack-refs with: peeled\n{HASH} refs/heads/main\n^{HASH}\n");
        check(&[branch, (".git/packed-refs", &packed)], Ok(HASH));
    }

    #[test]
    fn a_worktree_shares_the_refs_of_its_repository() {
        let root = repository(&[
            ("main/.git/refs/heads/side", HASH),
            ("main/.git/worktrees/w/HEAD", "ref: refs/heads/side"),
            ("main/.git/worktrees/w/commondir", "../.."),
            ("w/.git", "gitdir: ../main/.git/worktrees/w\n"),
        ]);
        assert_eq!(head(&root.path().join("w")).unwrap(), HASH);
    }

    #[test]
    fn what_is_no_commit_is_told_as_such() {
        check(&[("file", "")], Err("it is not the root of a git repository"));
        check(
            &[("HEAD", ""), ("objects/x", "")],
            Err("it is a bare repository, which has no files"),
        );
        let branch = (".git/HEAD", "ref: refs/heads/main");
        check(&[branch], Err("it has no commit: refs/heads/main does not exist"));
        let loop_ = (".git/refs/heads/main", "ref: refs/heads/main");
        check(
            &[branch, loop_],
            Err(
                "it keeps its refs in a form that larder cannot read (refs/heads/main leads on for ever)",
            ),
        );
        check(
            &[(".git/HEAD", "ref: refs/../../etc/passwd")],
            Err("it keeps its refs in a form that larder cannot read (refs/../../etc/passwd)"),
        );
    }

    #[test]
    fn the_branch_and_the_root_are_found_from_within() {
        let of = |head: &str| {
            let repository = repository(&[(".git/HEAD", head), ("a/b/file", "")]);
            let within = repository.path().join("a/b");
            assert_eq!(root(&within), Some(repository.path()));
            branch(repository.path()).map_err(|error| error.to_string())
        };
        // A branch that has no commit yet is one, too.
        assert_eq!(of("ref: refs/heads/feature/x\n"), Ok(Some("feature/x".to_owned())));
        assert_eq!(of(HASH), Ok(None));
        assert_eq!(of("ref: refs/remotes/origin/main"), Ok(None));
        assert!(of("ref: refs/heads/.invalid").unwrap_err().contains("reftable"));
    }

    /// What git itself says of a repository that it made.
    #[test]
    fn git_agrees() {
        let root = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let run = Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
                .args(arguments)
                .current_dir(root.path())
                .output()
                .unwrap();
            assert!(run.status.success(), "{run:?}");
            String::from_utf8(run.stdout).unwrap()
        };
        git(&["init", "-q"]);
        git(&["commit", "-q", "--allow-empty", "-m", "first"]);
        let says = || git(&["rev-parse", "HEAD"]).trim().to_owned();
        assert_eq!(head(root.path()).unwrap(), says());
        let branch_says = git(&["symbolic-ref", "--short", "HEAD"]).trim().to_owned();
        assert_eq!(branch(root.path()).unwrap(), Some(branch_says));
        git(&["pack-refs", "--all"]);
        assert_eq!(head(root.path()).unwrap(), says());
        git(&["checkout", "-q", "--detach"]);
        assert_eq!(branch(root.path()).unwrap(), None);
        assert_eq!(head(root.path()).unwrap(), says());
    }
}
