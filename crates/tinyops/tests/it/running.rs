//! The binary while it goes on: a server, a gateway, a device.

use std::{
    io::{BufRead as _, BufReader, Read},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::workplace::Workplace;

/// How long a test waits for what comes: a machine that does much else takes its time, and firmware may be linked anew.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// A process of ours that speaks JSON, one document or line after the other; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    notes: Receiver<String>,
}

impl Running {
    pub(crate) fn start(place: &Workplace, args: &[&str]) -> Running {
        let mut child = place
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let notes = lines_of(child.stderr.take().unwrap());
        Running {
            child,
            lines,
            notes,
        }
    }

    /// Waits for a line on standard error that holds these words.
    #[track_caller]
    pub(crate) fn note(&self, words: &str) -> String {
        loop {
            let line = self.notes.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("it does not say `{words}`"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits until it ends by itself, well.
    pub(crate) fn wait(mut self) {
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// Waits for output that is a document, over however many lines.
    pub(crate) fn document(&self) -> Value {
        let mut text = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            text += &line.expect("the process says something");
            if let Ok(document) = serde_json::from_str(&text) {
                return document;
            }
        }
    }

    /// Waits for a status line of which something holds.
    pub(crate) fn status(&self, holds: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.document();
            if holds(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What comes out of a pipe, which is emptied whether anybody looks or not.
fn lines_of(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A server at free ports of loopback; killed when it is dropped.
pub(crate) struct Server {
    /// Where its HTTP is, without a scheme.
    pub(crate) http: String,
    /// Where its MQTT is, without a scheme.
    pub(crate) mqtt: String,
    _running: Running,
}

impl Server {
    pub(crate) fn start(place: &Workplace, more: &[&str]) -> Server {
        Server::at(place, "127.0.0.1:0", more)
    }

    /// One whose HTTP listens at this address.
    pub(crate) fn at(place: &Workplace, http: &str, more: &[&str]) -> Server {
        let listens = ["serve", "--json", "--http", http, "--mqtt", "127.0.0.1:0"];
        let running = Running::start(place, &[&listens, more].concat());
        let said = running.document();
        let address = |name: &str| {
            let url = said[name].as_str().unwrap();
            url.split_once("://").unwrap().1.to_owned()
        };
        Server {
            http: address("http"),
            mqtt: address("mqtt"),
            _running: running,
        }
    }

    /// Its HTTP by the name that a certificate is for.
    pub(crate) fn https(&self) -> String {
        format!("https://localhost:{}", port(&self.http))
    }
}

/// The port of `HOST:PORT`.
pub(crate) fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}
