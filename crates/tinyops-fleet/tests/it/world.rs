//! A small fleet: registered devices that seal real envelopes with real frames.

use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Event, Fleet, Keyring, Policy, Signer, Uplink, Verdict};
use tinyops_sketch::{Baseline, Calibration, ChannelBaseline, ChannelSummary, Source, Summary};
use tinyops_store::capsule::Capsule;
use tinyops_store::device::Device;
use tinyops_store::hello::{self, Hello};
use tinyops_store::model::{self, NewModel};
use tinyops_store::{Artifacts, Db, DeviceId, Digest, ModelId, Timestamp};
use tinyops_wire::cost::Cost;
use tinyops_wire::downlink::Command;
use tinyops_wire::envelope::{Direction, OVERHEAD};
use tinyops_wire::frame::{Features, Flags, Frame, Outcome, Reason, Update, UpdateState};
use tinyops_wire::payload::{self, SectionId};
use tinyops_wire::statistics::{Shape, encode_part, plan_parts};
use tinyops_wire::summary::{Format, Header, SummaryFrame};
use tinyops_wire::{Downlink, Envelope, Sealed};

pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) now: Timestamp,
    pub(crate) devices: Vec<Virtual>,
    signer: Signer,
}

/// A device as its server sees it.
pub(crate) struct Virtual {
    pub(crate) row: Device,
    pub(crate) model: ModelId,
    pub(crate) sequence: u32,
    pub(crate) noise: Noise,
    /// Its features are moved back to training.
    pub(crate) is_moved: bool,
    /// What its link carries.
    pub(crate) format: Format,
    /// Whether a head of its own answers.
    pub(crate) has_own_head: bool,
    forgot: bool,
}

/// Reproducible normal noise.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f64 {
        // Four uniforms: near enough to a normal, and a tenth of the time of a logarithm and a cosine.
        ((0..4).map(|_| self.uniform()).sum::<f64>() - 2.0) * 3.0_f64.sqrt()
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

pub(crate) fn baseline() -> Baseline {
    let channels = [
        ChannelBaseline::new(Source::Feature(0), 0.0, 1.0),
        ChannelBaseline::new(Source::Embedding, 5.0, 0.5),
        ChannelBaseline::new(Source::Output, 0.9, 0.05),
    ];
    let baseline = Baseline::new(1_000, &channels, &[0.7, 0.3]).unwrap();
    let calibration = Calibration {
        windows: [100; 8],
        right: [60, 70, 80, 90, 95, 100, 100, 100],
        embedding_mean: 0.0,
        embedding_sd: 1.0,
    };
    baseline.with_calibration(Some(calibration)).unwrap()
}

fn payload_bytes() -> Vec<u8> {
    let mut baseline_bytes = vec![0; baseline().encoded_len()];
    baseline().encode(&mut baseline_bytes).unwrap();
    let sections: [(SectionId, &[u8]); 2] = [
        (SectionId::Program, b"program"),
        (SectionId::Baseline, &baseline_bytes),
    ];
    let mut bytes = vec![0; payload::encoded_len(sections.iter().map(|(_, bytes)| bytes.len()))];
    payload::encode(&sections, &mut bytes).unwrap();
    bytes
}

impl World {
    pub(crate) async fn new(device_count: u64, policy: Policy) -> World {
        let db = Db::open("sqlite::memory:").await.unwrap();
        let artifacts = Artifacts::open("memory:").await.unwrap();
        let fleet = Fleet::new(db, artifacts, policy).with_keys(Keyring::from_seed(&[7; 32]));
        let mut world = World {
            fleet,
            now: Timestamp(1_700_000_000_000),
            devices: Vec::new(),
            signer: Signer::from_seed(&[7; 32]),
        };
        for _ in 0..device_count {
            world.enrol().await;
        }
        world
    }

    pub(crate) async fn enrol(&mut self) {
        self.enrol_with(&[]).await;
    }

    pub(crate) fn ids(&self) -> Vec<DeviceId> {
        self.devices.iter().map(|device| device.row.id).collect()
    }

    /// Registers one more device with these tags.
    pub(crate) async fn enrol_with(&mut self, tags: &[&str]) {
        let number = self.devices.len() as u8;
        let new = NewDevice {
            board: "esp-eye".to_owned(),
            cohort: "hall".to_owned(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..NewDevice::default()
        };
        let entropy = Entropy(std::array::from_fn(|index| {
            number.wrapping_mul(31).wrapping_add(index as u8)
        }));
        let row = self
            .fleet
            .register(&new, entropy, "test", self.now)
            .await
            .unwrap();
        self.devices.push(Virtual {
            row,
            model: ModelId(0),
            sequence: 0,
            noise: Noise(u64::from(number) + 1),
            is_moved: false,
            format: Format::M6H8,
            has_own_head: false,
            forgot: false,
        });
    }

    /// Registers the next version of `fan` and signs its capsule.
    pub(crate) async fn release(&self) -> Capsule {
        let tx = self.fleet.db.begin("test").await.unwrap();
        let new = NewModel {
            name: "fan".to_owned(),
            project: "fan".to_owned(),
            digest: Digest::of(b"model"),
            run: None,
            parent: None,
            metrics: serde_json::json!({}),
        };
        let version = model::add(&tx, &new, self.now).await.unwrap().version;
        tx.commit().await.unwrap();
        let bytes = payload_bytes();
        let unsigned = Unsigned {
            model: "fan",
            version,
            board: "esp-eye",
            payload: &bytes,
            detail: serde_json::json!({ "labels": ["well", "worn"] }),
        };
        self.fleet
            .sign(&self.signer, &unsigned, self.now)
            .await
            .unwrap()
    }

    /// A payload of a version that is not registered.
    pub(crate) fn unsigned(&self, board: &'static str) -> Unsigned<'static> {
        Unsigned {
            model: "fan",
            version: 1,
            board,
            payload: payload_bytes().leak(),
            detail: serde_json::json!({}),
        }
    }

    /// Sends envelopes and expects every one to be stored.
    pub(crate) async fn send(&self, envelopes: &[Vec<u8>]) -> (Vec<Verdict>, Vec<Event>) {
        let uplinks: Vec<Uplink<'_>> = envelopes
            .iter()
            .map(|bytes| Uplink { from: None, bytes })
            .collect();
        let (verdicts, events) = self.fleet.ingest_many(&uplinks, self.now).await.unwrap();
        assert!(
            verdicts.iter().all(|verdict| verdict.refusal.is_none()),
            "{verdicts:?}"
        );
        (verdicts, events)
    }

    /// Every device reports once; `shift` is what moves, by device.
    pub(crate) async fn report_all(&mut self, shift: impl Fn(usize) -> Shift) -> Vec<Event> {
        let envelopes: Vec<Vec<u8>> = self
            .devices
            .iter_mut()
            .enumerate()
            .map(|(index, device)| device.report(shift(index)))
            .collect();
        self.now = self.now.plus_ms(DAY);
        self.send(&envelopes).await.1
    }

    /// Every device reads what it is owed, and does it: installs what it is offered, goes back when told.
    pub(crate) async fn deliver(&mut self, installs: impl Fn(usize) -> bool) {
        self.now = self.now.plus_ms(HOUR);
        let ids = self.ids();
        let owed = self.fleet.owed_many(&ids, self.now).await.unwrap();
        let mut envelopes = Vec::new();
        for (id, messages) in owed {
            let index = self
                .devices
                .iter()
                .position(|device| device.row.id == id)
                .unwrap();
            for message in messages {
                let capsules = self.capsules().await;
                envelopes.extend(self.devices[index].obey(&message, &capsules, installs(index)));
            }
        }
        self.send(&envelopes).await;
    }

    /// Every device says that it understands this.
    pub(crate) async fn hello_all(&self, features: Features) {
        let hello = |device: &Virtual| Hello {
            device: device.row.id,
            boot_count: 1,
            arena_bytes: 64,
            slot_bytes: 4096,
            key_set: None,
            features: features.0.into(),
            at: self.now,
        };
        let hellos: Vec<Hello> = self.devices.iter().map(hello).collect();
        let tx = self.fleet.db.begin("hellos").await.unwrap();
        hello::put_many(&tx, &hellos).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn capsules(&self) -> Vec<Capsule> {
        tinyops_store::capsule::of_model(&self.fleet.db, "fan")
            .await
            .unwrap()
    }
}

/// How a device's stream has moved from what it was.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shift {
    pub(crate) mean: f32,
    pub(crate) ln_sd: f32,
    pub(crate) output: f32,
    /// How far embeddings lie from training's.
    pub(crate) embedding: f32,
    /// What a window takes, in microseconds; 0 if the device does not measure it.
    pub(crate) micros: f32,
    /// Whether a reading was no number.
    pub(crate) not_finite: bool,
}

impl Virtual {
    pub(crate) fn seal(&mut self, frame: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        let envelope = Envelope {
            direction: Direction::Up,
            device: self.row.id,
            model: self.model,
            sequence: self.sequence,
            body: frame,
        };
        let mut out = vec![0; frame.len() + OVERHEAD];
        let len = envelope.seal(&self.row.key, &mut out).unwrap();
        out.truncate(len);
        out
    }

    /// What a message to it says.
    pub(crate) fn open<'a>(&self, message: &'a [u8]) -> Downlink<'a> {
        let sealed = Sealed::parse(message).unwrap();
        let envelope = sealed.open(&self.row.key, Direction::Down).unwrap();
        Downlink::decode(envelope.body).unwrap()
    }

    /// A day's report of 288 windows.
    pub(crate) fn report(&mut self, shift: Shift) -> Vec<u8> {
        let mut channel = |mean: f32, ln_sd: f32| ChannelSummary {
            mean: mean + 0.14 * self.noise.next() as f32,
            ln_sd: ln_sd + 0.06 * self.noise.next() as f32,
            shares: Some([0.125; 8]),
        };
        let channels = [
            channel(shift.mean, shift.ln_sd),
            channel(shift.embedding, 0.0),
            channel(shift.output, 0.0),
        ];
        let share = 0.7 + 0.02 * self.noise.next() as f32;
        let summary = Summary::new(288.0, &channels, &[share, 1.0 - share]);
        let mut header = Header {
            model: self.model.0 as u16,
            ..Header::default()
        };
        if shift.not_finite {
            header.flags = header.flags.with(Flags::NOT_FINITE);
        }
        if self.has_own_head {
            header.flags = header.flags.with(Flags::OWN_HEAD);
        }
        if self.is_moved {
            header.flags = header.flags.with(Flags::RESTANDARDIZED);
        }
        let mut out = [0; 512];
        let dither = (self.row.key.dither_seed(), self.sequence + 1);
        let mut len =
            SummaryFrame::encode(self.format, header, &summary, dither, &mut out).unwrap();
        if shift.micros > 0.0 {
            let cost = Cost {
                mean_us: shift.micros,
                max_us: 2.0 * shift.micros,
                ram_share: Some(0.5),
            };
            len = cost.append(self.format, len, dither, &mut out).unwrap();
        }
        self.seal(&out[..len])
    }

    pub(crate) fn update(&mut self, state: UpdateState, reason: Reason, model: ModelId) -> Vec<u8> {
        let frame = Frame::Update(Update {
            state,
            reason,
            model,
            sequence: 1,
            detail: 0,
        });
        let mut out = [0; 64];
        let len = frame.encode(&mut out).unwrap();
        self.seal(&out[..len])
    }

    pub(crate) fn outcome(&mut self, class: u8, counts: &[u16]) -> Vec<u8> {
        let frame = Frame::Outcome(Outcome::new(class, counts));
        let mut out = [0; 64];
        let len = frame.encode(&mut out).unwrap();
        self.seal(&out[..len])
    }

    pub(crate) fn statistics(
        &mut self,
        round: u16,
        class_count: u8,
        width: u16,
        values: &[i64],
    ) -> Vec<Vec<u8>> {
        let window_count = values[..usize::from(class_count)].iter().sum::<i64>() as u16;
        let shape = Shape {
            round,
            class_count,
            width,
            window_count,
        };
        let mut envelopes = Vec::new();
        for part in 0.. {
            let Some(cut) = plan_parts(values.iter().copied(), 40, part).unwrap() else {
                break;
            };
            let mut out = [0; 40];
            let len = encode_part(shape, part, cut, values.iter().copied(), &mut out).unwrap();
            envelopes.push(self.seal(&out[..len]));
        }
        envelopes
    }

    /// Does what a message says; answers with what the device would send.
    fn obey(&mut self, message: &[u8], capsules: &[Capsule], installs: bool) -> Vec<Vec<u8>> {
        match self.open(message) {
            Downlink::Offer(offer) => {
                let capsule = capsules
                    .iter()
                    .find(|capsule| capsule.digest == offer.digest)
                    .unwrap();
                if !installs {
                    return vec![self.update(UpdateState::Refused, Reason::Golden, capsule.id)];
                }
                self.model = capsule.id;
                vec![self.update(UpdateState::Confirmed, Reason::None, capsule.id)]
            }
            Downlink::Command(Command::Forget) => {
                self.forgot = true;
                Vec::new()
            }
            Downlink::Restandardize(asked) => {
                self.is_moved = asked.sixteenths > 0;
                Vec::new()
            }
            Downlink::Command(_) => {
                let before = capsules
                    .iter()
                    .map(|capsule| capsule.id)
                    .find(|id| *id != self.model);
                self.model = before.unwrap_or(ModelId(0));
                Vec::new()
            }
            Downlink::StatisticsRequest(request) => {
                assert!(self.forgot, "only what came since the drift is asked for");
                let values = [6, 4, 60, 6, 4, 40, 640, 20, 500];
                self.statistics(request.round, 2, 2, &values)
            }
            other => panic!("{other:?}"),
        }
    }
}
