//! A load of MQTT 3.1.1 clients over real sockets: each connection is a device that publishes with QoS 1.

use super::fleet::Reporter;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tinyops_store::DeviceId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// Handshakes at once.
const CONNECTING_MAX: usize = 64;
/// Longest wait for an answer; a server that is slower has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// A connected device.
pub(crate) struct Client {
    stream: TcpStream,
    /// What it seals its reports with.
    pub(crate) reporter: Reporter,
    topic: String,
}

/// When reports are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// The next one when the one before is acknowledged.
    OneInFlight,
    /// So many a second over all connections, evenly.
    PerSecond(f64),
}

/// What a load saw.
#[derive(Default)]
pub(crate) struct Seen {
    /// Time to the acknowledgement of each message.
    pub(crate) latencies: Vec<Duration>,
    /// Reports that were acknowledged.
    pub(crate) acknowledged: Vec<(DeviceId, u32)>,
    /// From the first message to the last acknowledgement.
    pub(crate) elapsed: Duration,
    /// Connections that ended before their time.
    pub(crate) broken: usize,
}

impl Seen {
    /// The time that this share of all messages stayed within, in milliseconds.
    pub(crate) fn quantile_ms(&mut self, share: f64) -> f64 {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.latencies
            .get(index)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

/// Connects every device, some at a time.
pub(crate) async fn connect(
    address: SocketAddr,
    reporters: Vec<Reporter>,
) -> Result<Vec<Client>, String> {
    let mut waiting = reporters.into_iter();
    let mut connecting = JoinSet::new();
    let mut clients = Vec::with_capacity(waiting.len());
    loop {
        while connecting.len() < CONNECTING_MAX
            && let Some(reporter) = waiting.next()
        {
            connecting.spawn(Client::connect(address, reporter));
        }
        match connecting.join_next().await {
            Some(client) => clients.push(client.map_err(|error| error.to_string())??),
            None => return Ok(clients),
        }
    }
}

/// Lets all clients publish for a while; they come back with what they saw.
pub(crate) async fn publish(
    clients: Vec<Client>,
    pace: Pace,
    during: Duration,
) -> (Vec<Client>, Seen) {
    let count = clients.len();
    let ready = Arc::new(Barrier::new(count + 1));
    let mut publishing = JoinSet::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        let ready = ready.clone();
        publishing.spawn(async move {
            ready.wait().await;
            let seen = client.publish(pace, (index, count), during).await;
            (client, seen)
        });
    }
    ready.wait().await;
    let started = Instant::now();
    let mut back = Vec::with_capacity(count);
    let mut all = Seen::default();
    while let Some(done) = publishing.join_next().await {
        let Ok((client, seen)) = done else {
            all.broken += 1;
            continue;
        };
        all.latencies.extend(seen.latencies);
        all.acknowledged.extend(seen.acknowledged);
        all.broken += seen.broken;
        back.push(client);
    }
    all.elapsed = started.elapsed();
    (back, all)
}

impl Client {
    async fn connect(address: SocketAddr, reporter: Reporter) -> Result<Client, String> {
        let fault = |error: std::io::Error| format!("connecting to {address}: {error}");
        let mut stream = TcpStream::connect(address).await.map_err(fault)?;
        stream.set_nodelay(true).map_err(fault)?;
        let id = reporter.id.to_string();
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        // Version 3.1.1; user name, password, clean session; keep alive of an hour.
        body.extend([4, 0b1100_0010, 0x0e, 0x10]);
        for word in [&id, &id, &reporter.password()] {
            text(&mut body, word);
        }
        let bytes = packet(0x10, &body);
        stream.write_all(&bytes).await.map_err(fault)?;
        let mut connack = [0; 4];
        stream.read_exact(&mut connack).await.map_err(fault)?;
        if connack != [0x20, 2, 0, 0] {
            return Err(format!(
                "{address} does not let device {id} in: {connack:?}"
            ));
        }
        Ok(Client {
            topic: format!("t/{id}/up"),
            stream,
            reporter,
        })
    }

    async fn publish(
        &mut self,
        pace: Pace,
        (index, count): (usize, usize),
        during: Duration,
    ) -> Seen {
        let mut seen = Seen::default();
        let started = Instant::now();
        let interval = match pace {
            Pace::OneInFlight => Duration::ZERO,
            Pace::PerSecond(rate) => Duration::from_secs_f64(count as f64 / rate),
        };
        let mut due = started + interval.mul_f64(index as f64 / count as f64);
        while due < started + during && started.elapsed() < during {
            tokio::time::sleep_until(due.into()).await;
            // A paced message counts from when it was due, so that a stall of the server shows in all that it held up.
            let from = match pace {
                Pace::OneInFlight => Instant::now(),
                Pace::PerSecond(_) => due,
            };
            let acknowledged = tokio::time::timeout(ANSWER_WITHIN, self.report()).await;
            let Ok(Some(sequence)) = acknowledged else {
                seen.broken += 1;
                break;
            };
            seen.latencies.push(from.elapsed());
            seen.acknowledged.push((self.reporter.id, sequence));
            due += interval;
        }
        seen
    }

    /// Publishes one report and waits for its acknowledgement; answers with its number.
    async fn report(&mut self) -> Option<u32> {
        let report = self.reporter.report();
        let packet_id = (self.reporter.sequence as u16).max(1);
        let mut body = Vec::with_capacity(self.topic.len() + report.len() + 4);
        text(&mut body, &self.topic);
        body.extend(packet_id.to_be_bytes());
        body.extend(report);
        self.stream.write_all(&packet(0x32, &body)).await.ok()?;
        let mut puback = [0; 4];
        self.stream.read_exact(&mut puback).await.ok()?;
        let [high, low] = packet_id.to_be_bytes();
        (puback == [0x40, 2, high, low]).then_some(self.reporter.sequence)
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u16).to_be_bytes());
    out.extend(text.as_bytes());
}

/// A control packet: its first byte, the length as a variable byte integer, its body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 3);
    out.push(first);
    let mut rest = body.len();
    loop {
        let digit = (rest % 128) as u8;
        rest /= 128;
        out.push(if rest > 0 { digit | 0x80 } else { digit });
        if rest == 0 {
            break;
        }
    }
    out.extend(body);
    out
}
