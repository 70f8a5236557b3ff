//! The two ends: the real fleet with a release to give, and the real agent that wants it.

use tinyops_device::lorawan::{Radio, Received};
use tinyops_device::{Action, Agent, BlockSource, Config, Event, Fetch};
use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_fleet::lorawan::{Heard, Network, Radios};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Fleet, Keyring, Policy, Uplink};
use tinyops_store::capsule::Capsule;
use tinyops_store::model::{self, NewModel};
use tinyops_store::{Artifacts, Db, Digest, Timestamp};
use tinyops_wire::envelope::{BODY_OFFSET, Direction, OVERHEAD};
use tinyops_wire::frame::Frame;
use tinyops_wire::serial::{self, Message, line_bytes_max};
use tinyops_wire::smp::{self, Console, Exchange};
use tinyops_wire::{DeviceId, DeviceKey, Downlink, Sealed};

use crate::fixture::{self, Buffers, Recipe};

/// What carries envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// One envelope a message.
    Mqtt,
    /// Envelopes posted, blocks by byte range.
    Http,
    /// COBS over a line, through a gateway.
    Serial,
    /// Class A at a spreading factor, through events and downlinks of ChirpStack.
    Lorawan(u8),
    /// Exchanges over a console, asked by a gateway.
    Smp,
}

impl Binding {
    /// Bytes of a capsule that one message carries, as the device reckons them.
    pub(crate) fn block_room(self) -> usize {
        match self {
            Binding::Mqtt | Binding::Http | Binding::Serial => 1024,
            Binding::Smp => 512,
            Binding::Lorawan(factor) => {
                tinyops_wire::lorawan::downlink_bytes_max(factor)
                    - tinyops_wire::lorawan::PART_OVERHEAD
            }
        }
    }
}

/// A server with one device and one release for it.
pub(crate) struct Server {
    pub(crate) fleet: Fleet,
    keys: Keyring,
    pub(crate) capsule: Capsule,
    pub(crate) bytes: Vec<u8>,
    pub(crate) device: DeviceId,
    key: DeviceKey,
    radios: Radios,
    /// Whose events and downlinks radios come by.
    pub(crate) network: Network,
    pub(crate) now: Timestamp,
    decoder: serial::Decoder<2400>,
    console: Console<2400>,
    /// What an SMP gateway has for the device.
    pub(crate) held: std::collections::VecDeque<Vec<u8>>,
    sequence: u8,
    /// Bytes of blocks and their messages that were sent down, and requests that were answered.
    pub(crate) block_bytes: usize,
    pub(crate) block_messages: usize,
    pub(crate) requests: usize,
}

impl Server {
    pub(crate) async fn new(ballast: usize) -> Server {
        let db = Db::open("sqlite::memory:").await.unwrap();
        let artifacts = Artifacts::open("memory:").await.unwrap();
        let keys = Keyring::from_seed(&[7; 32]);
        let fleet =
            Fleet::new(db, artifacts, Policy::default()).with_keys(Keyring::from_seed(&[7; 32]));
        let now = Timestamp(1_800_000_000_000);
        let new = NewDevice {
            board: fixture::BOARD.to_owned(),
            ..NewDevice::default()
        };
        let device = fleet
            .register(&new, Entropy([9; 40]), "test", now)
            .await
            .unwrap();
        let tx = fleet.db.begin("test").await.unwrap();
        let new = NewModel {
            name: "fan".to_owned(),
            project: "fan".to_owned(),
            digest: Digest::of(b"model"),
            run: None,
            parent: None,
            metrics: serde_json::json!({}),
        };
        let version = model::add(&tx, &new, now).await.unwrap().version;
        tx.commit().await.unwrap();
        let recipe = Recipe {
            ballast,
            ..Recipe::default()
        };
        let unsigned = Unsigned {
            model: "fan",
            version,
            board: fixture::BOARD,
            payload: &recipe.payload().0,
            detail: serde_json::json!({}),
        };
        let capsule = fleet
            .sign(keys.release().unwrap(), &unsigned, now)
            .await
            .unwrap();
        let bytes = fleet.artifacts.get(&capsule.digest).await.unwrap();
        let wish = Wish::of("fan", version);
        fleet.start_rollout(&wish, "test", now).await.unwrap();
        Server {
            fleet,
            keys,
            capsule,
            bytes,
            device: device.id,
            key: DeviceKey(device.key.0),
            radios: Radios::default(),
            network: Network::ChirpStack,
            now,
            decoder: serial::Decoder::new(),
            console: Console::new(),
            held: Default::default(),
            sequence: 0,
            block_bytes: 0,
            block_messages: 0,
            requests: 0,
        }
    }

    /// What comes down after a message that came up.
    pub(crate) async fn hear(&mut self, binding: Binding, message: &[u8]) -> Vec<Vec<u8>> {
        match binding {
            Binding::Mqtt => self.ingest(message, Some(self.device)).await,
            Binding::Http if message.starts_with(b"GET ") => self.range(&message[4..]),
            Binding::Http => self.ingest(message, Some(self.device)).await,
            Binding::Serial => {
                let mut envelopes = Vec::new();
                for &byte in message {
                    if let Some(Ok(Message::Up(envelope))) = self.decoder.push(byte) {
                        envelopes.push(envelope.to_vec());
                    }
                }
                let mut down = Vec::new();
                for envelope in envelopes {
                    down.extend(self.ingest(&envelope, None).await);
                }
                let line = |envelope: &Vec<u8>| {
                    written(line_bytes_max(envelope.len()), |out| {
                        Message::Down(envelope).encode(out).unwrap()
                    })
                };
                down.iter().map(line).collect()
            }
            Binding::Smp => {
                let mut envelopes = Vec::new();
                let mut has_more = false;
                for &byte in message {
                    let Some(Ok(frame)) = self.console.push(byte) else {
                        continue;
                    };
                    let Some(frame) = smp::Frame::decode(frame).filter(smp::Frame::is_exchange)
                    else {
                        continue;
                    };
                    let Some(exchange) = Exchange::decode(frame.body) else {
                        continue;
                    };
                    has_more |= exchange.more > 0;
                    envelopes.extend(exchange.up.map(<[u8]>::to_vec));
                }
                for envelope in envelopes {
                    let down = self.ingest(&envelope, None).await;
                    self.held.extend(down);
                }
                if has_more || !self.held.is_empty() {
                    vec![self.ask()]
                } else {
                    Vec::new()
                }
            }
            Binding::Lorawan(factor) => {
                let (device, data) = (self.device.to_string(), base64(&message[1..]));
                let (kind, event) = match self.network {
                    Network::ChirpStack => (
                        "up",
                        serde_json::json!({
                            "deviceInfo": { "devEui": device },
                            "fPort": message[0],
                            "data": data,
                            "txInfo": { "modulation": { "lora": { "bandwidth": 125_000, "spreadingFactor": factor } } },
                        }),
                    ),
                    Network::TheThingsStack => (
                        "",
                        serde_json::json!({
                            "end_device_ids": {
                                "device_id": "fan-1", "application_ids": { "application_id": "fans" },
                                "dev_eui": device.to_uppercase(),
                            },
                            "received_at": "2026-11-29T08:00:00.123456789Z",
                            "uplink_message": {
                                "f_port": message[0],
                                "frm_payload": data,
                                "settings": {
                                    "data_rate": { "lora": {
                                        "bandwidth": 125_000, "spreading_factor": factor, "coding_rate": "4/5",
                                    } },
                                    "frequency": "868100000",
                                },
                            },
                        }),
                    ),
                };
                let heard = self.network.read(kind, event.to_string().as_bytes());
                let heard = heard.unwrap();
                let Heard::Uplink(uplink) = heard else {
                    panic!("{heard:?}")
                };
                if let Some(envelope) = self.fleet.lengthen(&self.radios, &uplink).await.unwrap() {
                    let down = self.ingest(&envelope, Some(self.device)).await;
                    self.fleet
                        .queue(&self.radios, self.device, &down, factor)
                        .await
                        .unwrap();
                }
                let payload = self.radios.next(self.device, factor);
                let document = payload.map(|payload| self.network.write(self.device, &payload));
                let message = document.map(|document| {
                    let (port, data) = match self.network {
                        Network::ChirpStack => (&document["fPort"], &document["data"]),
                        Network::TheThingsStack => {
                            let queued = document["downlinks"].as_array().unwrap();
                            assert_eq!(queued.len(), 1, "one at a time");
                            (&queued[0]["f_port"], &queued[0]["frm_payload"])
                        }
                    };
                    let text = data.as_str().unwrap().as_bytes().to_vec();
                    let mut bytes = vec![0; text.len()];
                    let len = tinyops_wire::base64::decode(&text, &mut bytes).unwrap();
                    let port = port.as_u64().unwrap() as u8;
                    if port == tinyops_wire::lorawan::PORT_BLOCK {
                        self.block_messages += 1;
                    }
                    [&[port], &bytes[..len]].concat()
                });
                message.into_iter().collect()
            }
        }
    }

    /// The SMP gateway's next exchange.
    pub(crate) fn ask(&mut self) -> Vec<u8> {
        let down = self.held.pop_front();
        let exchange = Exchange {
            down: down.as_deref(),
            ..Exchange::default()
        };
        self.sequence = self.sequence.wrapping_add(1);
        smp_lines(smp::Operation::Write, self.sequence, &exchange)
    }

    fn range(&mut self, wanted: &[u8]) -> Vec<Vec<u8>> {
        let text = std::str::from_utf8(wanted).unwrap_or_default();
        let mut parts = text
            .split(' ')
            .filter_map(|part| part.parse::<usize>().ok());
        let (Some(first), Some(end)) = (parts.next(), parts.next()) else {
            return Vec::new();
        };
        let Some(bytes) = self.bytes.get(first..end.min(self.bytes.len())) else {
            return Vec::new();
        };
        self.requests += 1;
        self.block_bytes += bytes.len();
        // A stream arrives in segments, of which any may be the last one before a cut.
        let segments = bytes.chunks(1400).zip((first..).step_by(1400));
        let segment =
            |(bytes, at): (&[u8], usize)| [format!("206 {at} ").as_bytes(), bytes].concat();
        segments.map(segment).collect()
    }

    async fn ingest(&mut self, envelope: &[u8], from: Option<DeviceId>) -> Vec<Vec<u8>> {
        self.now = self.now.plus_ms(10);
        let uplink = Uplink {
            from,
            bytes: envelope,
        };
        let (verdicts, _) = self.fleet.ingest_many(&[uplink], self.now).await.unwrap();
        if verdicts[0].refusal.is_some() {
            return Vec::new();
        }
        let body = &envelope[BODY_OFFSET..envelope.len() - (OVERHEAD - BODY_OFFSET)];
        let mut down = verdicts[0].down.clone();
        match Frame::decode(body) {
            Ok(Frame::Hello(_)) => {
                down.extend(self.fleet.owed(self.device, self.now).await.unwrap())
            }
            Ok(Frame::BlockRequest(_)) => self.requests += 1,
            _ => {}
        }
        for bytes in &down {
            let sealed = Sealed::parse(bytes).unwrap();
            let opened = sealed.open(&self.key, Direction::Down).unwrap();
            if let Ok(Downlink::Block(block)) = Downlink::decode(opened.body) {
                self.block_bytes += block.bytes.len();
            }
        }
        down
    }

    /// Tells what is owed once more, as the server does again and again.
    pub(crate) async fn remind(&mut self, binding: Binding) -> Vec<Vec<u8>> {
        let down = self.fleet.owed(self.device, self.now).await.unwrap();
        match binding {
            Binding::Mqtt | Binding::Http => down,
            Binding::Serial => down
                .iter()
                .map(|envelope| {
                    written(line_bytes_max(envelope.len()), |out| {
                        Message::Down(envelope).encode(out).unwrap()
                    })
                })
                .collect(),
            Binding::Smp => {
                self.held.extend(down);
                Vec::new()
            }
            Binding::Lorawan(factor) => {
                if self.radios.waiting(self.device) == 0 {
                    self.fleet
                        .queue(&self.radios, self.device, &down, factor)
                        .await
                        .unwrap();
                }
                Vec::new()
            }
        }
    }
}

/// A device on a link.
pub(crate) struct Device {
    pub(crate) agent: Agent<fixture::Flash, Buffers>,
    binding: Binding,
    radio: Radio,
    decoder: serial::Decoder<2400>,
    console: Console<2400>,
    /// What an SMP device has to say.
    held: std::collections::VecDeque<Vec<u8>>,
    /// The newest fetch, and the bytes of its stream that are not a whole block yet.
    fetch: Option<Fetch>,
}

impl Device {
    pub(crate) fn new(server: &Server, binding: Binding, unit: u16, retry_after_ms: u64) -> Device {
        let is_http = binding == Binding::Http;
        let config = Config {
            device: server.device,
            key: server.key.clone(),
            first_uplink: 0,
            roots: server.keys.trust.roots,
            keys: server.keys.trust.keys,
            blocks: if is_http {
                BlockSource::Caller
            } else {
                BlockSource::Server
            },
            block_bytes: unit,
            retry_after_ms,
            trial_windows: 0,
            ..fixture::config()
        };
        let memory = Buffers {
            blocks: vec![0; 2048],
            ..Buffers::default()
        };
        let flash = fixture::Flash::new(
            vec![0xff; fixture::Flash::bytes_for(128 * 1024)],
            Vec::new(),
        );
        let mut agent = Agent::new(config, flash, memory);
        agent.set_link_room(binding.block_room());
        Device {
            agent,
            binding,
            radio: Radio::new(server.device, server.key.clone()),
            decoder: serial::Decoder::new(),
            console: Console::new(),
            held: Default::default(),
            fetch: None,
        }
    }

    pub(crate) fn has_model(&self) -> bool {
        self.agent.model().is_some()
    }

    /// Hands events in and takes what is to be sent, until nothing is left to do.
    pub(crate) fn step(&mut self, now_ms: u64, event: Event<'_>) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let is_radio = matches!(self.binding, Binding::Lorawan(_));
        let mut action = self.agent.step(now_ms, event);
        for turn in 0..1000_u64 {
            let mut next = Event::Tick;
            let entropy = Digest::of(&(now_ms + turn).to_le_bytes()).0;
            match action {
                Action::Idle => return sent,
                Action::Predict(_) | Action::Rescore | Action::Shadow(_) => {}
                Action::Entropy => next = Event::Entropy(&entropy),
                Action::Send(envelope) => match self.binding {
                    Binding::Mqtt | Binding::Http => sent.push(envelope.to_vec()),
                    Binding::Serial => sent.push(written(line_bytes_max(envelope.len()), |out| {
                        Message::Up(envelope).encode(out).unwrap()
                    })),
                    Binding::Smp => self.held.push_back(envelope.to_vec()),
                    Binding::Lorawan(_) => {
                        assert!(self.radio.send(envelope, 51), "it goes over this link");
                        return sent;
                    }
                },
                Action::Fetch(fetch) => {
                    self.fetch = Some(fetch);
                    let mut blocks: Vec<u32> = fetch.request.offsets().collect();
                    let size = u32::from(fetch.request.block_bytes);
                    // Runs of blocks are one range each.
                    while let Some(first) = blocks.first().copied() {
                        let mut end = first;
                        blocks.retain(|&at| {
                            let joins = at == end;
                            end += if joins { size } else { 0 };
                            !joins
                        });
                        sent.push(format!("GET {first} {}", end.min(fetch.bytes)).into_bytes());
                    }
                }
                Action::Reboot => next = Event::Boot,
            }
            if is_radio && !self.radio.is_idle() {
                return sent;
            }
            action = self.agent.step(now_ms, next);
        }
        panic!("the device does not come to rest");
    }

    /// Takes a message off the link.
    pub(crate) fn hear(&mut self, now_ms: u64, message: &[u8]) -> Vec<Vec<u8>> {
        match self.binding {
            Binding::Mqtt => self.step(now_ms, Event::Downlink(message)),
            Binding::Http => self.hear_http(now_ms, message),
            Binding::Serial => {
                let mut envelopes = Vec::new();
                for &byte in message {
                    if let Some(Ok(Message::Down(envelope))) = self.decoder.push(byte) {
                        envelopes.push(envelope.to_vec());
                    }
                }
                let mut sent = Vec::new();
                for envelope in envelopes {
                    sent.extend(self.step(now_ms, Event::Downlink(&envelope)));
                }
                sent
            }
            Binding::Smp => {
                let mut asked = Vec::new();
                for &byte in message {
                    let Some(Ok(frame)) = self.console.push(byte) else {
                        continue;
                    };
                    let Some(frame) = smp::Frame::decode(frame).filter(smp::Frame::is_exchange)
                    else {
                        continue;
                    };
                    let Some(exchange) = Exchange::decode(frame.body) else {
                        continue;
                    };
                    asked.push((frame.sequence, exchange.down.map(<[u8]>::to_vec)));
                }
                let mut sent = Vec::new();
                for (sequence, down) in asked {
                    if let Some(down) = down {
                        self.step(now_ms, Event::Downlink(&down));
                    }
                    let up = self.held.pop_front();
                    let exchange = Exchange {
                        up: up.as_deref(),
                        more: self.held.len() as u32,
                        ..Exchange::default()
                    };
                    sent.push(smp_lines(smp::Operation::WriteAnswer, sequence, &exchange));
                }
                sent
            }
            Binding::Lorawan(_) => {
                let seen = self.agent.downlink_seen();
                let Some((&port, payload)) = message.split_first() else {
                    return Vec::new();
                };
                match self.radio.receive(port, payload, seen) {
                    Received::Envelope(envelope) => {
                        let envelope = envelope.to_vec();
                        self.step(now_ms, Event::Downlink(&envelope))
                    }
                    Received::Block { offset, bytes } => {
                        let bytes = bytes.to_vec();
                        self.step(
                            now_ms,
                            Event::Block {
                                offset,
                                bytes: &bytes,
                            },
                        )
                    }
                    Received::Nothing => Vec::new(),
                }
            }
        }
    }

    /// The next uplink of a radio, which is empty when there is nothing to say: class A has to speak to be spoken to.
    pub(crate) fn radio_uplink(&mut self, now_ms: u64) -> Vec<u8> {
        if self.radio.is_idle() {
            self.step(now_ms, Event::Tick);
        }
        self.radio.ask_for_missing();
        let mut payload = [0; 51];
        match self.radio.uplink(&mut payload) {
            Some((port, len)) => [&[port], &payload[..len]].concat(),
            None => vec![0],
        }
    }

    fn hear_http(&mut self, now_ms: u64, message: &[u8]) -> Vec<Vec<u8>> {
        let Some(rest) = message.strip_prefix(b"206 ") else {
            return self.step(now_ms, Event::Downlink(message));
        };
        let Some(space) = rest.iter().position(|&byte| byte == b' ') else {
            return Vec::new();
        };
        let at = std::str::from_utf8(&rest[..space])
            .ok()
            .and_then(|text| text.parse::<u32>().ok());
        let (Some(at), Some(fetch)) = (at, self.fetch) else {
            return Vec::new();
        };
        let bytes = &rest[space + 1..];
        // Whole units within the segment; what lies across its ends is asked for again.
        let unit = u32::from(self.unit());
        let from = at.next_multiple_of(unit);
        let end = at + bytes.len() as u32;
        let end = if end == fetch.bytes {
            end
        } else {
            end / unit * unit
        };
        if from >= end {
            return Vec::new();
        }
        let part = &bytes[(from - at) as usize..(end - at) as usize];
        self.step(
            now_ms,
            Event::Block {
                offset: from,
                bytes: part,
            },
        )
    }

    fn unit(&self) -> u16 {
        unit_of(self.binding)
    }
}

/// Bytes of the blocks of the map: as small as the link wants them.
pub(crate) fn unit_of(binding: Binding) -> u16 {
    match binding {
        Binding::Lorawan(_) => 16,
        _ => 56,
    }
}

fn smp_lines(operation: smp::Operation, sequence: u8, exchange: &Exchange<'_>) -> Vec<u8> {
    let body = written(2400, |out| exchange.encode(out).unwrap());
    let frame = smp::Frame {
        operation,
        group: smp::GROUP,
        sequence,
        command: smp::EXCHANGE,
        body: &body,
    };
    let frame = written(2400, |out| frame.encode(out).unwrap());
    written(smp::console_bytes_max(frame.len()), |out| {
        smp::encode_console(&frame, out).unwrap()
    })
}

fn base64(bytes: &[u8]) -> String {
    let mut text = vec![0; tinyops_wire::base64::encoded_len(bytes.len())];
    tinyops_wire::base64::encode(bytes, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn written(room: usize, encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0; room];
    let len = encode(&mut out);
    out.truncate(len);
    out
}
