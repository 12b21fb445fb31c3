//! `larder serve`, killed while clients put: what it acknowledged is there when it comes
//! back, and nothing is half there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::*;

/// Kills, and more of them: `LARDER_SERVE_KILLS=500`.
const KILLS: u64 = 8;

/// Clients that put at one time, each its own objects.
const CLIENTS: u64 = 4;

/// The shortest part that S3 lets another follow.
const PART: usize = 5 << 20;

/// A server on its own, and a client for it.
struct Served {
    child: Child,
    client: Client,
}

impl Served {
    fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command(["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("it tells where it listens").unwrap();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .endpoint_url(line.strip_prefix("listening on ").expect("an address"))
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(Credentials::new("any", "whatever", None, None, "test"))
            .build();
        Self { child, client: Client::from_conf(config) }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a client knows of its objects: the version that was acknowledged last, if any, and
/// the last that was sent.
type Ledger = BTreeMap<String, (Option<u64>, u64)>;

fn bytes_of(key: &str, version: u64) -> Vec<u8> {
    let seed = blake3::hash(format!("{key} {version}").as_bytes());
    let seed = u64::from_le_bytes(seed.as_bytes()[..8].try_into().unwrap());
    let len = match seed % 10 {
        0 => PART + (seed >> 8) as usize % 100_000,
        1..3 => (seed >> 8) as usize % 900_000,
        _ => (seed >> 8) as usize % 20_000,
    };
    noise(len, seed)
}

/// Puts one object; `None` if it was not acknowledged.
async fn put_one(client: &Client, key: &str, bytes: Vec<u8>) -> Option<()> {
    if bytes.len() <= PART {
        let put = client.put_object().bucket("bucket").key(key).body(bytes.into());
        return put.send().await.ok().map(drop);
    }
    let begun = client.create_multipart_upload().bucket("bucket").key(key).send().await.ok()?;
    let id = begun.upload_id()?;
    let mut parts = vec![];
    for (number, part) in (1..).zip(bytes.chunks(PART)) {
        let request = client.upload_part().bucket("bucket").key(key).upload_id(id);
        let sent = request.part_number(number).body(part.to_vec().into()).send().await.ok()?;
        let part = CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build();
        parts.push(part);
    }
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let request = client.complete_multipart_upload().bucket("bucket").key(key);
    request.upload_id(id).multipart_upload(parts).send().await.ok().map(drop)
}

/// Puts until the server is gone.
async fn put_all(
    client: Client,
    number: u64,
    mut ledger: Ledger,
    acknowledged: Arc<AtomicU64>,
) -> Ledger {
    for turn in 0_u64.. {
        // Some are put anew, most are new.
        let key = match turn % 4 {
            0 => format!("{number}/again"),
            _ => format!("{number}/{}", ledger.len()),
        };
        let entry = ledger.entry(key.clone()).or_default();
        entry.1 += 1;
        if put_one(&client, &key, bytes_of(&key, entry.1)).await.is_none() {
            break;
        }
        entry.0 = Some(entry.1);
        acknowledged.fetch_add(1, Relaxed);
    }
    ledger
}

/// Compares what is there with what was acknowledged.
async fn check(client: &Client, ledger: &mut Ledger) {
    for (key, (acknowledged, sent)) in ledger {
        let found = client.get_object().bucket("bucket").key(key.as_str()).send().await;
        let there = match found {
            Ok(found) => Some(found.body.collect().await.expect("it is whole").to_vec()),
            Err(error) => {
                assert!(error.into_service_error().is_no_such_key());
                None
            }
        };
        let mut possible = acknowledged.unwrap_or(0).max(1)..=*sent;
        match there {
            None => assert_eq!(*acknowledged, None, "{key} was acknowledged, and is not there"),
            Some(there) => {
                let version = possible.find(|version| bytes_of(key, *version) == there);
                let version = version.unwrap_or_else(|| panic!("{key} is none of its versions"));
                *acknowledged = Some(version);
            }
        }
    }
}

#[test]
fn what_serve_acknowledged_outlives_its_death() {
    let kills = std::env::var("LARDER_SERVE_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    let sandbox = Sandbox::in_memory();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    let mut ledgers = vec![Ledger::new(); CLIENTS as usize];
    let mut random = Noise(7);
    for _ in 0..kills {
        let served = Served::start(&sandbox);
        // How many puts are let through before the end: that it comes in the middle of
        // others needs no clock.
        let (acknowledged, enough) = (Arc::new(AtomicU64::new(0)), 2 + random.below(20));
        let clients: Vec<_> = (0..)
            .zip(&ledgers)
            .map(|(number, ledger)| {
                let acknowledged = Arc::clone(&acknowledged);
                let client = served.client.clone();
                runtime.spawn(put_all(client, number, ledger.clone(), acknowledged))
            })
            .collect();
        while acknowledged.load(Relaxed) < enough {
            std::thread::sleep(Duration::from_micros(200 + random.below(2_000)));
        }
        served.kill();
        let restarted = Served::start(&sandbox);
        for (client, ledger) in clients.into_iter().zip(&mut ledgers) {
            *ledger = runtime.block_on(client).unwrap();
            runtime.block_on(check(&restarted.client, ledger));
        }
        restarted.kill();
    }
    // Nothing that is left of dead uploads and packs is wrong.
    sandbox.larder(["verify", "--read-data", "--all-scopes"]).ok();
}
