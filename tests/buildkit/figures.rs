//! What the steps took: bytes stored, time, and whose processor time it was.

use std::fs;
use std::time::Instant;

use crate::endpoint::Endpoint;

/// Names of processes that make up an S3 server, as the kernel has them.
const SERVERS: [&str; 4] = ["radosgw", "ceph-osd", "garage", "ceph-mon"];

/// What larder serve tells of the bytes that it put into its store.
const WRITTEN: &str = "larder_store_bytes_total{direction=\"written\"}";

/// Ticks a second that Linux tells times to programs in, whatever its own clock's are.
const TICKS: f64 = 100.0;

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    name: &'static str,
    bytes: u64,
    seconds: f64,
    /// Bytes that larder put into the store.
    pub(crate) stored: u64,
    /// Seconds of processor time, of larder serve and of the S3 server.
    serve_cpu: f64,
    server_cpu: f64,
}

/// All steps against one endpoint.
#[derive(Debug)]
pub(crate) struct Figures {
    name: &'static str,
    memory: u64,
    steps: Vec<Step>,
}

/// Measures steps.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    endpoint: &'a Endpoint,
    began: Instant,
    stored: u64,
    serve_cpu: f64,
    server_cpu: f64,
    steps: Vec<Step>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(endpoint: &'a Endpoint) -> Self {
        let (began, steps) = (Instant::now(), vec![]);
        let server_cpu = server_cpu();
        Self { endpoint, began, stored: 0, serve_cpu: 0.0, server_cpu, steps }
    }

    /// Ends a step.
    pub(crate) async fn step(&mut self, name: &'static str, bytes: u64) -> Step {
        let seconds = self.began.elapsed().as_secs_f64();
        let stored = match self.endpoint.pid() {
            Some(_) => metric(&self.endpoint.url, WRITTEN).await,
            None => 0,
        };
        let serve_cpu = self.endpoint.pid().map_or(0.0, cpu);
        let server_cpu = server_cpu();
        let step = Step {
            name,
            bytes,
            seconds,
            stored: stored - self.stored,
            serve_cpu: serve_cpu - self.serve_cpu,
            server_cpu: server_cpu - self.server_cpu,
        };
        (self.stored, self.serve_cpu, self.server_cpu) = (stored, serve_cpu, server_cpu);
        self.steps.push(step.clone());
        self.began = Instant::now();
        step
    }

    pub(crate) fn first(&self) -> &Step {
        &self.steps[0]
    }

    /// The most memory that larder serve has had so far, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let Some(pid) = self.endpoint.pid() else { return 0 };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    }

    pub(crate) fn finish(self) -> Figures {
        Figures { name: self.endpoint.name, memory: self.memory(), steps: self.steps }
    }
}

impl Figures {
    /// Prints what was measured; briefly, or all of it.
    pub(crate) fn tell(all: &[Self], with_times: bool) {
        const MIB: f64 = (1 << 20) as f64;
        for figures in all {
            println!("buildkit: {}: at most {} MiB", figures.name, figures.memory >> 20);
            for step in figures.steps.iter().filter(|_| with_times) {
                let Step { name, bytes, seconds, stored, serve_cpu, server_cpu } = step;
                let mib = *bytes as f64 / MIB;
                println!(
                    "  {name}: {mib:.0} MiB in {seconds:.1} s ({:.0} MiB/s), {:.1} MiB stored; \
                     processor: larder serve {serve_cpu:.1} s, the server {server_cpu:.1} s",
                    mib / seconds,
                    *stored as f64 / MIB,
                );
            }
        }
        println!("buildkit: ok");
    }
}

/// A number that larder serve tells of itself.
async fn metric(url: &str, name: &str) -> u64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let line = line.unwrap_or_else(|| panic!("{name} is not told:\n{answer}"));
    line.trim().parse::<f64>().unwrap() as u64
}

/// Seconds of processor time that a process has had.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    let ticks = ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0);
    ticks / TICKS
}

/// The same of all processes that are an S3 server's.
fn server_cpu() -> f64 {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_server = |pid: &u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        SERVERS.contains(&name.trim())
    };
    pids.filter(is_server).map(cpu).sum()
}
