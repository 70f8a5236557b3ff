//! The binary while it goes on: a server, a gateway, a device.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::workplace::Workplace;

/// A process of ours that speaks JSON, one document or line after the other; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn start(place: &Workplace, args: &[&str]) -> Running {
        let mut child = place
            .command(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { child, lines }
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
            let line = self.lines.recv_timeout(Duration::from_secs(60));
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
            assert!(begun.elapsed() < Duration::from_secs(60), "{status}");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
