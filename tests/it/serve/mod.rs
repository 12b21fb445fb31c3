//! `larder serve` from outside: the program over a directory, asked by the SDK that other
//! clients are made of, and, where an SDK is too well-behaved, byte by byte.

mod browsers;
mod caches;
mod clients;
mod connections;
mod keys;
mod listing;
mod multipart;
mod objects;
mod wire;

use std::fs;
use std::future::Future;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Run, Sandbox, wait};

const BUCKET: &str = "cache";

/// A server that runs, on a store of its own.
struct Server {
    sandbox: Sandbox,
    child: Child,
    /// What it listens on, in the order that was asked for.
    listening: Vec<String>,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn start() -> Self {
        Self::with(&[])
    }

    fn with(arguments: &[&str]) -> Self {
        Self::on(Sandbox::new(), arguments)
    }

    /// A server in a sandbox, on a free port, with more arguments.
    fn on(sandbox: Sandbox, arguments: &[&str]) -> Self {
        let all = ["--json", "-v", "serve", "--listen", "127.0.0.1:0"];
        let mut command = sandbox.command(all.iter().chain(arguments));
        let stderr = fs::File::create(sandbox.path("stderr")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?} {}", log_of(&sandbox)));
        let listening = told["listening"].as_array().unwrap().iter();
        let listening = listening.map(|one| one.as_str().unwrap().to_owned()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { sandbox, child, listening, runtime }
    }

    fn url(&self) -> &str {
        &self.listening[0]
    }

    fn address(&self) -> SocketAddr {
        self.url().strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn client(&self) -> Client {
        self.client_with("anything", "at all, as nobody checks")
    }

    fn client_with(&self, access_key: &str, secret_key: &str) -> Client {
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("any-region"))
            .endpoint_url(self.url())
            .force_path_style(true)
            // What fails is to be seen.
            .retry_config(aws_sdk_s3::config::retry::RetryConfig::disabled())
            .credentials_provider(Credentials::new(access_key, secret_key, None, None, "tests"));
        Client::from_conf(config.build())
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    fn put(&self, key: &str, body: &[u8]) {
        let put = self.client().put_object().bucket(BUCKET).key(key).body(body.to_vec().into());
        self.wait(put.send()).unwrap();
    }

    /// The object's bytes; `None` if it is not there.
    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.wait(async {
            match self.client().get_object().bucket(BUCKET).key(key).send().await {
                Ok(found) => Some(found.body.collect().await.unwrap().to_vec()),
                Err(error) => {
                    assert!(error.as_service_error().unwrap().is_no_such_key(), "{error:?}");
                    None
                }
            }
        })
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it said on stderr.
    fn log(&self) -> String {
        log_of(&self.sandbox)
    }

    /// Asks it to stop, and waits until it has.
    fn stop(mut self) -> Sandbox {
        self.signal(Signal::TERM);
        let code = wait(&mut self.child);
        assert_eq!(code, Some(0), "{}", self.log());
        self.take()
    }

    /// Ends it at once.
    fn kill(mut self) -> Sandbox {
        self.signal(Signal::KILL);
        wait(&mut self.child);
        self.take()
    }

    fn take(&mut self) -> Sandbox {
        std::mem::replace(&mut self.sandbox, Sandbox::new())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("the server's log:\n{log}");
        } else {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

fn log_of(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("stderr")).unwrap_or_default()
}

/// A server that does not start.
fn refused(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.larder(["serve"].iter().chain(arguments))
}

/// The code of an error of S3, and the status that it came with.
#[track_caller]
fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> (u16, &str) {
    let status = error.raw_response().expect("the server has answered").status().as_u16();
    (status, error.code().unwrap_or("none"))
}
