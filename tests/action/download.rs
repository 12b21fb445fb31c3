//! Where the program comes from: the PATH, or a release.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::job::Job;
use crate::sandbox::{chmod, write};

/// A server of the files in a directory, and what it was asked for.
struct Releases {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Releases {
    fn serve(directory: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(vec![]));
        let heard = Arc::clone(&asked);
        // Ends with the tests.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let request = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
                let path = request.split(' ').nth(1).unwrap().trim_start_matches('/');
                heard.lock().unwrap().push(path.to_owned());
                let (status, body) = match fs::read(directory.join(path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", vec![]),
                };
                let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
                let length = format!("Content-Length: {}\r\n\r\n", body.len());
                connection.write_all(head.as_bytes()).unwrap();
                connection.write_all(length.as_bytes()).unwrap();
                connection.write_all(&body).unwrap();
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A program that is this larder.
fn program(path: &Path) {
    write(path, format!("#!/bin/sh\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_larder")));
    chmod(path, 0o755);
}

/// A job without the input, and a PATH with what the scripts need and no larder.
fn job() -> Job {
    let job = Job::new().input("larder", "");
    let bin = job.sandbox.path("bin");
    fs::create_dir(&bin).unwrap();
    for tool in ["node", "tar", "gzip", "sh"] {
        let path = std::env::var_os("PATH").unwrap();
        let found = std::env::split_paths(&path).map(|one| one.join(tool)).find(|one| one.exists());
        symlink(found.unwrap(), bin.join(tool)).unwrap();
    }
    job.variable("PATH", bin.to_str().unwrap())
}

/// The same of the action's version `v1`, whose releases a server has.
fn released(archive_root: &str) -> (Job, Releases, String) {
    let job = job();
    let name = format!("larder-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let top = job.sandbox.path("top");
    program(&top.join(archive_root).join("larder"));
    let directory = job.sandbox.path("releases");
    fs::create_dir_all(directory.join("v1")).unwrap();
    let run = |command: &mut Command| assert!(command.status().unwrap().success());
    let archive = directory.join(format!("v1/{name}.tar.gz"));
    run(Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&top).arg("."));
    let summed = Command::new("sha256sum").arg(&archive).output().unwrap();
    fs::write(directory.join(format!("v1/{name}.tar.gz.sha256")), summed.stdout).unwrap();
    let releases = Releases::serve(directory);
    let job = job
        .variable("LARDER_RELEASES", &releases.url)
        .variable("GITHUB_ACTION_REPOSITORY", "org/larder")
        .variable("GITHUB_ACTION_REF", "v1");
    (job, releases, format!("v1/{name}.tar.gz"))
}

#[test]
fn the_path_comes_first() {
    let mut job = job();
    program(&job.sandbox.path("bin/larder"));
    let main = job.main().ok();
    assert!(main.told("warning").is_empty() && main.paths.is_empty());
    job.post().ok();
    assert_eq!(job.keys(), ["npm-1"]);
}

#[test]
fn a_release_is_downloaded_once() {
    for root in [".", &format!("larder-{}-{}", std::env::consts::ARCH, std::env::consts::OS)] {
        let (mut job, releases, archive) = released(root);
        let sum = format!("{archive}.sha256");
        let main = job.main().ok();
        assert!(main.told("warning").is_empty(), "{}", main.run.stdout);
        assert_eq!(releases.asked(), [sum.clone(), archive]);
        // Later steps find it, the post step without looking.
        let added = Path::new(main.paths.trim_end());
        assert!(added.starts_with(job.sandbox.path("tools/larder")));
        assert!(added.join("larder").exists());
        job.post().ok();
        assert_eq!(job.keys(), ["npm-1"]);
        assert!(releases.asked().is_empty());
        // Later jobs of the runner only ask whether the tag has moved.
        let mut job = job.next();
        assert_eq!(job.main().ok().hit(), ("true", "npm-1"));
        assert_eq!(releases.asked(), [sum]);
        let tools = fs::read_dir(job.sandbox.path("tools/larder")).unwrap();
        assert_eq!(tools.count(), 1, "nothing half done stays");
    }
}

#[test]
fn bytes_that_are_not_the_release_are_not_run() {
    let (mut job, releases, archive) = released(".");
    let path = job.sandbox.path("releases").join(&archive);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let main = job.main().warns("has the SHA-256 sum");
    assert_eq!(main.hit(), ("", ""));
    assert_eq!(releases.asked().len(), 2);
    assert!(!job.sandbox.path("tools").exists());
    assert!(job.post().ok().run.stdout.contains("nothing is saved"));

    fs::write(job.sandbox.path("releases").join(format!("{archive}.sha256")), "<html>").unwrap();
    job.main().warns("is no SHA-256 sum");
}

#[test]
fn no_release_is_a_warning() {
    let (job, releases, archive) = released(".");
    let mut job = job.variable("GITHUB_ACTION_REF", "feature/x");
    job.main().warns("HTTP 404; put larder on the PATH, or give its path in the input larder");
    let asked = archive.replace("v1/", "feature%2Fx/");
    assert_eq!(releases.asked(), [format!("{asked}.sha256")]);
    let mut job = job.variable("GITHUB_ACTION_REF", "");
    job.main().warns("the action does not come from a release");
}
