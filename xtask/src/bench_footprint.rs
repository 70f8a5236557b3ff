//! `cargo xtask bench footprint`: what the binary and an idle server take.
//!
//! The binary is the release build; the server is a real process on free ports of this machine,
//! with a fresh project, and its devices register over HTTP as any would.

use crate::steps::{Answer, cargo, root};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DEVICES: usize = 1000;
const BINARY_MB_MAX: f64 = 40.0;
const READY_S_MAX: f64 = 0.3;
const MEMORY_MB_MAX: f64 = 60.0;

/// Builds, starts, registers, measures and prints.
pub(crate) fn run() -> Answer {
    cargo(&["build", "--release", "--package", "tinyops"])?;
    let folder =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let binary = folder.join("release/tinyops");
    let bytes = fs::metadata(&binary)
        .map_err(|error| format!("{}: {error}", binary.display()))?
        .len();
    let project = folder.join("bench-footprint");
    // A project left by an earlier measurement would make this one differ from the first.
    let _ = fs::remove_dir_all(&project);
    fs::create_dir_all(&project).map_err(|error| format!("{}: {error}", project.display()))?;
    init(&binary, &project)?;
    // The second start is measured: the first also makes the store and the keys.
    Server::start(&binary, &project)?.stop();
    let mut server = Server::start(&binary, &project)?;
    let outcome = server.fill(DEVICES).and_then(|()| {
        std::thread::sleep(Duration::from_secs(2));
        server.memory_mb()
    });
    let ready_s = server.ready_s;
    server.stop();
    let rows = [
        ("binary, MB", BINARY_MB_MAX, bytes as f64 / 1e6),
        ("server ready, s", READY_S_MAX, ready_s),
        (
            "memory with 1,000 devices idle, MB",
            MEMORY_MB_MAX,
            outcome?,
        ),
    ];
    println!("{:<36} {:>8} {:>8}", "", "at most", "own");
    let mut missed = Vec::new();
    for (name, most, own) in rows {
        println!("{name:<36} {most:>8.2} {own:>8.2}");
        if own > most {
            missed.push(name);
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(format!("missed: {}", missed.join("; ")))
}

fn init(binary: &Path, project: &Path) -> Answer {
    let status = Command::new(binary)
        .args(["init", "--template", "vibration", "--project"])
        .arg(project)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("`tinyops init` ended with {status}"))
}

/// A server of our own on free ports.
struct Server {
    child: Child,
    address: String,
    /// From the start of the process to its first answer.
    ready_s: f64,
}

impl Server {
    fn start(binary: &Path, project: &Path) -> Result<Self, String> {
        let started = Instant::now();
        let mut child = Command::new(binary)
            .args([
                "serve",
                "--json",
                "--http",
                "127.0.0.1:0",
                "--mqtt",
                "127.0.0.1:0",
                "--project",
            ])
            .arg(project)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let address = first_document(&mut child).and_then(|document| {
            let url = document["http"].as_str().unwrap_or_default();
            url.strip_prefix("http://")
                .map(str::to_owned)
                .ok_or("the server names no address".to_owned())
        });
        let address = match address {
            Ok(address) => address,
            Err(reason) => {
                let _ = child.kill();
                return Err(reason);
            }
        };
        let mut server = Self {
            child,
            address,
            ready_s: 0.0,
        };
        server.ask("GET /ready", "")?;
        server.ready_s = started.elapsed().as_secs_f64();
        Ok(server)
    }

    fn fill(&mut self, devices: usize) -> Answer {
        for _ in 0..devices {
            self.ask("POST /api/v1/devices", r#"{"board":"esp-eye"}"#)?;
        }
        Ok(())
    }

    /// One request on a connection of its own, as a device would.
    fn ask(&self, what: &str, body: &str) -> Answer {
        let fault = |error: std::io::Error| format!("{what}: {error}");
        let mut stream = TcpStream::connect(&self.address).map_err(fault)?;
        write!(
            stream,
            "{what} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .map_err(fault)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(fault)?;
        if answer.starts_with("HTTP/1.1 2") {
            return Ok(());
        }
        Err(format!(
            "{what}: {}",
            answer.lines().next().unwrap_or("no answer")
        ))
    }

    /// Resident memory of the process.
    fn memory_mb(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
            .map(|kilobytes| kilobytes * 1024.0 / 1e6)
            .ok_or_else(|| format!("{path} names no resident memory"))
    }

    fn stop(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first JSON document that the process prints.
fn first_document(child: &mut Child) -> Result<Value, String> {
    let pipe = child.stdout.take().ok_or("the server has no output")?;
    let mut text = String::new();
    for line in BufReader::new(pipe).lines() {
        text.push_str(&line.map_err(|error| format!("the server's output: {error}"))?);
        if let Ok(document) = serde_json::from_str(&text) {
            return Ok(document);
        }
    }
    Err("the server ended before it was ready".to_owned())
}
