//! `tinyops serve` as a process of its own, for measurements.

use crate::steps::{Answer, cargo, root};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Builds the release binary; answers where it is.
pub(crate) fn build() -> Result<PathBuf, String> {
    cargo(&["build", "--release", "--package", "tinyops"])?;
    Ok(target().join("release/tinyops"))
}

/// Cargo's folder, where measurements keep what they need.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Begins a project in an empty folder; what an earlier measurement left there is gone.
pub(crate) fn fresh_project(binary: &Path, name: &str) -> Result<PathBuf, String> {
    let project = target().join(name);
    let _ = fs::remove_dir_all(&project);
    fs::create_dir_all(&project).map_err(|error| format!("{}: {error}", project.display()))?;
    let status = Command::new(binary)
        .args(["init", "--template", "vibration", "--project"])
        .arg(&project)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    match status.success() {
        true => Ok(project),
        false => Err(format!("`tinyops init` ended with {status}")),
    }
}

/// A server of our own on free ports.
pub(crate) struct Server {
    pub(crate) process: Process,
    /// Where HTTP listens.
    pub(crate) http: SocketAddr,
    /// Where MQTT listens.
    pub(crate) mqtt: SocketAddr,
    /// From the start of the process to its first answer.
    pub(crate) ready_s: f64,
}

impl Server {
    /// Starts it in a project, with the loops turning unless `options` say otherwise.
    pub(crate) fn start(binary: &Path, project: &Path, options: &[&str]) -> Result<Server, String> {
        let started = Instant::now();
        let mut command = Command::new(binary);
        command
            .args(["serve", "--json", "--http", "127.0.0.1:0"])
            .args(["--mqtt", "127.0.0.1:0", "--project"])
            .arg(project)
            .args(options)
            .stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        let document = first_document(&mut process.child)?;
        let address = |field: &str| {
            let url = document[field].as_str().unwrap_or_default();
            let address = url
                .split_once("://")
                .and_then(|(_, rest)| rest.parse().ok());
            address.ok_or(format!("the server names no address for {field}"))
        };
        let mut server = Server {
            http: address("http")?,
            mqtt: address("mqtt")?,
            process,
            ready_s: 0.0,
        };
        server.ask("GET /ready", "")?;
        server.ready_s = started.elapsed().as_secs_f64();
        Ok(server)
    }

    /// One request on a connection of its own, as a device would.
    pub(crate) fn ask(&self, what: &str, body: &str) -> Answer {
        let fault = |error: std::io::Error| format!("{what}: {error}");
        let mut stream = TcpStream::connect(self.http).map_err(fault)?;
        write!(
            stream,
            "{what} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.http,
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
}

/// A process that is measured; it is killed, as by `kill -9`, when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Result<Process, String> {
        let child = command.stderr(Stdio::null()).spawn();
        child
            .map(|child| Process { child })
            .map_err(|error| format!("{}: {error}", command.get_program().display()))
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> Result<f64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok())
            .map(|kilobytes| kilobytes * 1024.0)
            .ok_or_else(|| format!("{path} names no resident memory"))
    }

    /// Processor time used so far by all threads, in the process and for it in the kernel.
    pub(crate) fn cpu(&self) -> Result<Cpu, String> {
        Ok(Cpu {
            living: self.cpu_of_living()?,
            all: self.cpu_in_all()?,
        })
    }

    /// In hundredths of a second (`USER_HZ`), and with what threads used that have ended: a pool ends those that idle.
    fn cpu_in_all(&self) -> Result<Duration, String> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        // The name, in brackets, may have spaces; the two times are fields 14 and 15 (proc(5)).
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        let times = fields.split_whitespace().skip(11).take(2);
        let hundredths: u64 = times.filter_map(|time| time.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(hundredths * 10))
    }

    /// In nanoseconds, of those threads that have not ended.
    fn cpu_of_living(&self) -> Result<Duration, String> {
        let folder = format!("/proc/{}/task", self.child.id());
        let fault = |error: std::io::Error| format!("{folder}: {error}");
        let mut nanoseconds = 0;
        for task in fs::read_dir(&folder).map_err(fault)? {
            let path = task.map_err(fault)?.path().join("schedstat");
            // A thread may have ended meanwhile.
            let text = fs::read_to_string(path).unwrap_or_default();
            let own = text.split_whitespace().next().map(str::parse::<u64>);
            nanoseconds += own.and_then(Result::ok).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanoseconds))
    }
}

/// Processor time of a process up to a moment; the difference of two is what it used in between.
#[derive(Clone, Copy)]
pub(crate) struct Cpu {
    /// Exact, without what threads used that have ended.
    living: Duration,
    /// To two hundredths of a second, with it.
    all: Duration,
}

impl Cpu {
    pub(crate) fn as_secs_f64(self) -> f64 {
        self.living.max(self.all).as_secs_f64()
    }
}

impl std::ops::Sub for Cpu {
    type Output = Duration;

    fn sub(self, before: Cpu) -> Duration {
        let living = self.living.saturating_sub(before.living);
        let all = self.all.saturating_sub(before.all);
        // Where they tell more of all threads than rounding does, some have ended.
        match all > living + Duration::from_millis(20) {
            true => all,
            false => living,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_end_take_none_of_the_time_along() {
        let at = |living, all| Cpu {
            living: Duration::from_millis(living),
            all: Duration::from_millis(all),
        };
        assert_eq!(at(113, 110) - at(100, 90), Duration::from_millis(13));
        assert_eq!(at(40, 900) - at(100, 90), Duration::from_millis(810));
        assert_eq!(at(99, 90) - at(100, 90), Duration::ZERO);
    }
}
