//! Small capsules, a device to run them, and a server of a few lines.

use std::collections::BTreeMap;

use tinyops_device::memory::{Lent, Memory};
use tinyops_device::sim::RamFlash;
use tinyops_device::{
    Action, Agent, Answer, BlockSource, Config, Event, Fetch, Prediction, Privacy, Reporting,
    Sensor,
};
use tinyops_dsp::{Block, FrontEnd};
use tinyops_nn::head::{Prior, own_memory_len, own_window_bytes};
use tinyops_nn::record::{
    FLAG_INPUT_KEPT, FLAG_ONE_MULTIPLIER, Header, NONE, OpCode, OpRecord, TensorRecord,
};
use tinyops_nn::statistics::{ClassStatistics, cell_count};
use tinyops_nn::{EmbeddingDistance, Multiplier, Regions, distance};
use tinyops_sketch::{BaselineBuilder, Source, memory_len};
use tinyops_wire::capsule;
use tinyops_wire::capsule::Unverified;
use tinyops_wire::downlink::{Offer, What, When};
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Frame, Update, UpdateState};
use tinyops_wire::key_set::{RoleKeys, Roots};
use tinyops_wire::payload::{self, SectionId};
use tinyops_wire::section::{
    BodyKind, DecisionSection, Golden, GoldenSection, Labels, ScalerSection, Task,
};
use tinyops_wire::sensor::SensorContract;
use tinyops_wire::summary::Format;
use tinyops_wire::{
    DeviceId, DeviceKey, Digest, Downlink, Envelope, KeySet, Manifest, ModelId, Sealed, SigningKey,
    Statement,
};

pub(crate) const DEVICE: DeviceId = DeviceId(0xd0);
pub(crate) const BOARD: &str = "virtual";
pub(crate) const WINDOW: usize = 4;
pub(crate) const CLASSES: usize = 3;

pub(crate) fn key() -> DeviceKey {
    DeviceKey([5; 32])
}

/// The seeds of keys: who signs models, who says what runs, who signs key sets, and nobody that a device knows.
pub(crate) const RELEASE: u8 = 1;
pub(crate) const DIRECTOR: u8 = 0xd1;
pub(crate) const ROOTS: [u8; 3] = [0xa1, 0xa2, 0xa3];
pub(crate) const STRANGER: u8 = 2;

pub(crate) fn signer(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// How a capsule is made; the default is sound.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) sequence: u32,
    pub(crate) board: &'static str,
    pub(crate) signer: u8,
    pub(crate) rate_hz: f32,
    pub(crate) channels: u16,
    pub(crate) arena_bytes: u32,
    pub(crate) task: Task,
    pub(crate) body: BodyKind,
    pub(crate) golden_output: Option<[u8; CLASSES]>,
    pub(crate) golden_count: usize,
    /// Bytes of weights that nothing reads, to make the capsule larger.
    pub(crate) ballast: usize,
    /// Whether its one operator is one that this runtime does not know.
    pub(crate) later_operator: bool,
    /// Class `c` follows feature `(c + turn) % 3`, so that models can be told apart by their answers.
    pub(crate) turn: usize,
    /// Readings of a window, which are also its features.
    pub(crate) window: usize,
    /// What its front end multiplies readings with.
    pub(crate) scale: f32,
    /// What its scaler takes for the mean of the fourth feature, which no output follows.
    pub(crate) fourth_mean: f32,
    /// What its readings were, if that is said.
    pub(crate) contract: Option<SensorContract<'static>>,
    /// What its factory's windows say of a head, if it tells.
    pub(crate) prior: Option<Factory>,
    /// Whether its baseline watches how far embeddings lie from the factory's.
    pub(crate) watches_embedding: bool,
    /// Values of the embeddings that it says where they lie; 0 where it does not.
    pub(crate) embedding_len: usize,
}

/// Windows of a factory: class `c` is where feature `(c + turn) % 3` is 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factory {
    pub(crate) turn: usize,
    /// What makes the embedding.
    pub(crate) embedding: [u8; 8],
    pub(crate) windows: usize,
}

impl Default for Factory {
    fn default() -> Factory {
        Factory {
            turn: 0,
            embedding: *b"embedded",
            windows: 900,
        }
    }
}

impl Factory {
    fn prior(self) -> Vec<u8> {
        let mut cells = vec![0_i64; cell_count(CLASSES, WINDOW)];
        let mut sums = ClassStatistics::new(CLASSES, WINDOW, &mut cells[..]).expect("cells");
        for index in 0..self.windows {
            let class = index % CLASSES;
            let row: [u8; WINDOW] = std::array::from_fn(|at| {
                let noise = (index * (2 * at + 7) / 3 % 9) as i8 - 4;
                let centre = if at == (class + self.turn) % 3 { 16 } else { 0 };
                (centre + noise) as u8
            });
            sums.add(class, &row, 0).expect("a class");
        }
        write(|out| Prior::encode(&sums, self.embedding, out).expect("windows that vary"))
    }
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            sequence: 1,
            board: BOARD,
            signer: RELEASE,
            rate_hz: 10.0,
            channels: 1,
            arena_bytes: 8,
            task: Task::Classify,
            body: BodyKind::Network,
            golden_output: None,
            golden_count: 2,
            ballast: 0,
            later_operator: false,
            turn: 0,
            window: WINDOW,
            scale: 1.0,
            fourth_mean: 0.0,
            contract: None,
            prior: None,
            watches_embedding: false,
            embedding_len: 0,
        }
    }
}

impl Recipe {
    pub(crate) fn numbered(sequence: u32) -> Recipe {
        Recipe {
            sequence,
            ..Recipe::default()
        }
    }

    pub(crate) fn front_end(&self) -> FrontEnd {
        FrontEnd {
            rate_hz: self.rate_hz,
            channel_count: self.channels,
            window_len: self.window as u32 / u32::from(self.channels),
            block: Block::Raw(tinyops_dsp::Raw { scale: self.scale }),
        }
    }

    pub(crate) fn capsule(&self) -> Vec<u8> {
        let (payload, program_digest) = self.payload();
        let manifest = Manifest {
            sequence: self.sequence,
            board: self.board,
            payload_digest: Digest([0; 32]),
            payload_bytes: 0,
            program_digest,
            name: "test",
            version: self.sequence,
        };
        write(|out| capsule::encode(&manifest, &payload, &signer(self.signer), out).expect("room"))
    }

    /// What a capsule holds, and the digest of its program.
    pub(crate) fn payload(&self) -> (Vec<u8>, Digest) {
        let mut front_end = vec![0; 1024];
        let front_end_bytes = self.front_end().encode(&mut front_end).expect("room");
        front_end.truncate(front_end_bytes);
        let is_classifier = self.task == Task::Classify;
        let mut program = match self.body {
            BodyKind::Network => self.plan(CLASSES, 0.125, (1.0 / 256.0, -128)),
            BodyKind::Autoencoder => self.plan(self.window, 1.0 / 64.0, (1.0 / 16.0, 0)),
            BodyKind::Distance => clusters(),
        };
        program.extend(vec![0xa5; self.ballast]);
        let decision = DecisionSection {
            task: self.task,
            body: self.body,
            threshold: if is_classifier { 0.0 } else { 1.0 },
            min_confidence: 0.4,
        };
        let names: &[&str] = if is_classifier {
            &["still", "slow", "fast"]
        } else {
            &[]
        };
        let mut input = vec![16];
        input.resize(self.window, 0);
        let mut expected = [128; CLASSES];
        expected[(3 - self.turn) % 3] = 0;
        let output = self.golden_output.unwrap_or(expected);
        let features = [2.0_f32.to_le_bytes(), [0; 4], [0; 4], [0; 4]];
        let mut window = vec![1.0_f32.to_le_bytes()];
        window.resize(self.window, [0; 4]);
        let golden = match self.body {
            BodyKind::Network => [
                Golden::Tensor {
                    input: &input,
                    output: &output,
                },
                Golden::Window {
                    readings: &window,
                    output: &output,
                },
            ],
            BodyKind::Autoencoder => {
                [Golden::Tensor {
                    input: &input,
                    output: &input,
                }; 2]
            }
            BodyKind::Distance => {
                [Golden::Score {
                    features: &features,
                    score: 1.5,
                }; 2]
            }
        };
        let means = [0.0, 0.0, 0.0, self.fourth_mean];
        let scaler = write(|out| ScalerSection::encode(&means, &[1.0; 4], out).expect("room"));
        let labels = write(|out| Labels::encode(names, out).expect("room"));
        let baseline = baseline(is_classifier, self.watches_embedding);
        let golden =
            write(|out| GoldenSection::encode(&golden[..self.golden_count], out).expect("room"));
        let decision = decision.encode();
        let sensor = self
            .contract
            .map(|contract| write(|out| contract.encode(out).expect("room")));
        let mut sections: Vec<(SectionId, &[u8])> = vec![
            (SectionId::Program, &program),
            (SectionId::FrontEnd, &front_end),
            (SectionId::Scaler, &scaler),
            (SectionId::Labels, &labels),
            (SectionId::Baseline, &baseline),
            (SectionId::Decision, &decision),
            (SectionId::Golden, &golden),
        ];
        if let Some(sensor) = &sensor {
            sections.push((SectionId::Sensor, sensor));
        }
        let prior = self.prior.map(Factory::prior).unwrap_or_default();
        if !prior.is_empty() {
            sections.push((SectionId::Prior, &prior));
        }
        let embedding = where_embeddings_lie(self.embedding_len);
        if !embedding.is_empty() {
            sections.push((SectionId::Embedding, &embedding));
        }
        let mut payload = vec![0; 32_768 + self.ballast];
        let len = payload::encode(&sections, &mut payload).expect("room");
        payload.truncate(len);
        (payload, Digest::of(&program))
    }

    /// Outputs that follow the first three features, and nothing else; the input is the embedding.
    fn plan(&self, outputs: usize, factor: f64, (scale, zero_point): (f32, i8)) -> Vec<u8> {
        let weights_bytes = (outputs * self.window).next_multiple_of(16);
        let constants = {
            let mut bytes = vec![0; outputs * self.window];
            (0..3).for_each(|index| bytes[index * self.window + (index + self.turn) % 3] = 64);
            bytes.resize(weights_bytes, 0);
            bytes.extend(vec![0; 4 * outputs]);
            let multiplier = Multiplier::from_real(factor);
            bytes.extend(multiplier.value.to_le_bytes());
            bytes.push(multiplier.shift as u8);
            bytes.resize(bytes.len().next_multiple_of(16), 0);
            bytes
        };
        let header = Header {
            flags: FLAG_INPUT_KEPT,
            arena_bytes: self.arena_bytes,
            constants_bytes: constants.len() as u32,
            tensor_count: 2,
            op_count: 1,
            input: 0,
            more_inputs: 0,
            output: 1,
            more_outputs: 0,
            more_regions: 0,
            embedding: 0,
        };
        let input = TensorRecord {
            offset: 0,
            shape: [1, 1, 1, self.window as u16],
            scale: 1.0 / 16.0,
            zero_point: 0,
            region: 0,
            element: tinyops_nn::record::Element::Int8,
            is_state: false,
        };
        let output = TensorRecord {
            offset: self.window as u32,
            shape: [1, 1, 1, outputs as u16],
            scale,
            zero_point,
            region: 0,
            element: tinyops_nn::record::Element::Int8,
            is_state: false,
        };
        let dense = OpRecord {
            code: OpCode::Conv2d,
            flags: FLAG_ONE_MULTIPLIER,
            inputs: [0, NONE],
            output: 1,
            clamp: [-128, 127],
            shift: 0,
            scratch_offset: 0,
            kernel: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            pad: [0, 0],
            weights_offset: 0,
            channels_offset: weights_bytes as u32,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(input.to_bytes());
        bytes.extend(output.to_bytes());
        let at = bytes.len();
        bytes.extend(dense.to_bytes());
        if self.later_operator {
            bytes[at] = 0xf0;
        }
        bytes.resize(header.constants_offset(), 0);
        bytes.extend(constants);
        bytes
    }
}

/// One cluster at the origin with a radius of a half.
fn clusters() -> Vec<u8> {
    let mut bytes = Vec::new();
    distance::encode_k_means(&[0.0; WINDOW], &[0.5], |part| bytes.extend_from_slice(part));
    bytes
}

/// Each class at 1 in its own feature, every value with a deviation of two steps of the embedding.
pub(crate) fn where_embeddings_lie(embedding_len: usize) -> Vec<u8> {
    if embedding_len == 0 {
        return Vec::new();
    }
    let mean = |at: usize| {
        let is_own = at % embedding_len == at / embedding_len;
        if is_own { 16.0 } else { 0.0 }
    };
    let means: Vec<f64> = (0..CLASSES * embedding_len).map(mean).collect();
    let factor: Vec<f64> = (0..embedding_len)
        .flat_map(|row| (row..embedding_len).map(move |column| f64::from(column == row) / 2.0))
        .collect();
    write(|out| EmbeddingDistance::encode(&means, &factor, &[0.0; CLASSES], out).expect("room"))
}

pub(crate) fn baseline(is_classifier: bool, watches_embedding: bool) -> Vec<u8> {
    let mut sources = vec![Source::Feature(0), Source::Feature(1), Source::Output];
    if watches_embedding {
        sources.insert(2, Source::Embedding);
    }
    let mut memory = vec![0.0; memory_len(64, sources.len())];
    let classes = if is_classifier { CLASSES } else { 0 };
    let mut builder = BaselineBuilder::new(&sources, classes, &mut memory).expect("few channels");
    for index in 0..64_u8 {
        let x = f32::from(index % 8) / 8.0;
        let class = is_classifier.then_some(index % 3);
        builder
            .push(&[x, 1.0 - x], 0.5 + x / 16.0, 2.0 + x, class)
            .expect("room");
    }
    let baseline = builder.finish().expect("windows");
    write(|out| baseline.encode(out).expect("room"))
}

pub(crate) fn write(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0; 32_768];
    let written = encode(&mut out);
    out.truncate(written);
    out
}

/// Memory of a test's device.
#[derive(Clone)]
pub(crate) struct Buffers {
    pub(crate) arena: Vec<u8>,
    pub(crate) window: Vec<f32>,
    pub(crate) features: Vec<f32>,
    pub(crate) scratch: Vec<f32>,
    pub(crate) ring: Vec<u8>,
    pub(crate) statistics: Vec<i32>,
    pub(crate) moments: Vec<f32>,
    pub(crate) own_head: Vec<f32>,
    pub(crate) labelled: Vec<u8>,
    pub(crate) chosen: Vec<u8>,
    pub(crate) blocks: Vec<u8>,
    pub(crate) outbox: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Buffers {
        Buffers {
            arena: vec![0; 64],
            window: vec![0.0; WINDOW],
            features: vec![0.0; WINDOW],
            scratch: vec![0.0; 64],
            ring: vec![0; 32 * (1 + WINDOW)],
            statistics: vec![0; cell_count(CLASSES, WINDOW)],
            moments: vec![0.0; tinyops_device::restandard::memory_len(WINDOW)],
            own_head: vec![0.0; own_memory_len(CLASSES, WINDOW)],
            labelled: vec![0; LABELLED * own_window_bytes(WINDOW)],
            chosen: vec![0; tinyops_device::annotate::memory_len(8, WINDOW, WINDOW)],
            blocks: vec![0; 8],
            outbox: vec![0; 128],
        }
    }
}

impl Memory for Buffers {
    fn lend(&mut self) -> Lent<'_> {
        Lent {
            arena: Regions::new([&mut self.arena]),
            window: &mut self.window,
            features: &mut self.features,
            scratch: &mut self.scratch,
            ring: &mut self.ring,
            statistics: &mut self.statistics,
            moments: &mut self.moments,
            own_head: &mut self.own_head,
            labelled: &mut self.labelled,
            chosen: &mut self.chosen,
            blocks: &mut self.blocks,
            outbox: &mut self.outbox,
        }
    }
}

pub(crate) type Flash = RamFlash<Vec<u8>, Vec<u8>, 512>;

pub(crate) fn config() -> Config {
    Config {
        device: DEVICE,
        key: key(),
        first_uplink: 0,
        roots: Roots::new(&ROOTS.map(|seed| signer(seed).verifying_key()), 2).expect("three roots"),
        keys: KeySet {
            sequence: 1,
            release: RoleKeys::one(signer(RELEASE).verifying_key()),
            director: RoleKeys::one(signer(DIRECTOR).verifying_key()),
        },
        board: BOARD,
        sensor: Sensor {
            channel_count: 1,
            rate_hz: 10.0,
            mounting: None,
            channels: &[],
        },
        reporting: Reporting {
            every_windows: 0,
            every_ms: 0,
            format: Format::M6H8,
        },
        privacy: Privacy::Plain,
        hop: 0,
        blocks: BlockSource::Caller,
        block_bytes: 256,
        retry_after_ms: 1000,
        tries: 3,
        trial_windows: 2,
    }
}

/// Labelled windows that a test's device keeps.
pub(crate) const LABELLED: usize = 24;

/// Flash that has room for so many of them.
pub(crate) fn flash_of_own_head(factory: Vec<u8>) -> Flash {
    let own = 64 + LABELLED * own_window_bytes(WINDOW);
    let bytes = Flash::bytes_for(4096) + Flash::own_head_bytes_for(own);
    Flash::new(vec![0xff; bytes], factory).with_own_head(own)
}

pub(crate) fn blank_flash(factory: Vec<u8>) -> Flash {
    Flash::new(vec![0xff; Flash::bytes_for(4096)], factory)
}

/// A frame as the server sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    pub(crate) model: ModelId,
    pub(crate) sequence: u32,
    pub(crate) body: Vec<u8>,
}

/// A device, its server, and the link between them.
pub(crate) struct Bench {
    pub(crate) agent: Agent<Flash, Buffers>,
    pub(crate) capsules: BTreeMap<Digest, Vec<u8>>,
    pub(crate) reports: Vec<Report>,
    pub(crate) predictions: Vec<Prediction>,
    /// What a candidate said beside them.
    pub(crate) shadows: Vec<Prediction>,
    pub(crate) reboots: usize,
    pub(crate) now_ms: u64,
    pub(crate) downlink_sequence: u32,
    /// What its source of randomness gives; none if it has no source.
    /// What the driver's generator of random numbers gives next.
    pub(crate) entropy: Option<[u8; 32]>,
    /// Whether it gives the same again and again.
    pub(crate) repeats_entropy: bool,
}

impl Bench {
    /// Labelled windows that the device last told sums of.
    pub(crate) fn windows_told(&self) -> Option<u16> {
        let told = self.reports.iter().rev().map(|report| &report.body);
        told.map(|body| Frame::decode(body))
            .find_map(|frame| match frame {
                Ok(Frame::Statistics(part)) => Some(part.shape.window_count),
                _ => None,
            })
    }

    /// A device that has booted.
    pub(crate) fn new(config: Config, flash: Flash) -> Bench {
        Bench::with_memory(config, flash, Buffers::default())
    }

    pub(crate) fn with_memory(config: Config, flash: Flash, memory: Buffers) -> Bench {
        let mut bench = Bench {
            agent: Agent::new(config, flash, memory),
            capsules: BTreeMap::new(),
            reports: Vec::new(),
            predictions: Vec::new(),
            shadows: Vec::new(),
            reboots: 0,
            now_ms: 0,
            downlink_sequence: 0,
            entropy: Some(Digest::of(b"entropy").0),
            repeats_entropy: false,
        };
        bench.run(Event::Boot);
        bench
    }

    /// A device without a factory's capsule.
    pub(crate) fn blank() -> Bench {
        Bench::new(config(), blank_flash(Vec::new()))
    }

    /// Hands in an event and does all that follows; stops when the power goes.
    pub(crate) fn run(&mut self, event: Event<'_>) {
        let mut blocks: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut action = own(self.agent.step(self.now_ms, event));
        for _ in 0..10_000 {
            match action {
                Owned::Idle => match blocks.pop() {
                    None => return,
                    Some((offset, bytes)) => {
                        let event = Event::Block {
                            offset,
                            bytes: &bytes,
                        };
                        action = own(self.agent.step(self.now_ms, event));
                        continue;
                    }
                },
                Owned::Predict(prediction) => self.predictions.push(prediction),
                Owned::Shadow(prediction) => self.shadows.push(prediction),
                Owned::Rescore => {
                    let window: &[f32] = match event {
                        Event::Window(window) => window,
                        _ => &[],
                    };
                    action = own(self.agent.step(self.now_ms, Event::Rescore(window)));
                    continue;
                }
                Owned::Entropy => {
                    if let Some(entropy) = self.entropy {
                        if !self.repeats_entropy {
                            self.entropy = Some(Digest::of(&entropy).0);
                        }
                        let event = Event::Entropy(&entropy);
                        action = own(self.agent.step(self.now_ms, event));
                        continue;
                    }
                }
                Owned::Send(bytes) => self.receive(&bytes),
                Owned::Fetch(fetch) => {
                    if let Some(capsule) = self.capsules.get(&fetch.digest) {
                        let cut = fetch.request.cut(capsule);
                        blocks.extend(cut.map(|(offset, bytes)| (offset, bytes.to_vec())));
                    }
                }
                Owned::Reboot => {
                    self.reboots += 1;
                    blocks.clear();
                    action = own(self.agent.step(self.now_ms, Event::Boot));
                    continue;
                }
            }
            action = own(self.agent.step(self.now_ms, Event::Tick));
        }
        panic!("the device does not come to rest");
    }

    pub(crate) fn boot(&mut self) {
        self.run(Event::Boot);
    }

    pub(crate) fn window(&mut self, window: [f32; WINDOW]) {
        self.run(Event::Window(&window));
    }

    pub(crate) fn send(&mut self, message: &Downlink<'_>) {
        self.downlink_sequence += 1;
        let bytes = downlink(message, self.downlink_sequence);
        self.run(Event::Downlink(&bytes));
    }

    /// Offers a capsule, with a statement of the director's next number, and serves its blocks.
    pub(crate) fn offer(&mut self, capsule: &[u8]) {
        self.offer_when(capsule, When::AtOnce);
    }

    /// As [`Bench::offer`], to be installed then.
    pub(crate) fn offer_when(&mut self, capsule: &[u8], when: When) {
        let statement = signed(&stated(capsule, self.downlink_sequence + 1), DIRECTOR);
        self.capsules.insert(Digest::of(capsule), capsule.to_vec());
        self.send(&offer_when(capsule, when, &statement));
    }

    /// Offers a capsule with this statement and serves its blocks.
    pub(crate) fn offer_with(&mut self, capsule: &[u8], statement: &Statement) {
        self.capsules.insert(Digest::of(capsule), capsule.to_vec());
        self.send(&offer(capsule, &signed(statement, DIRECTOR)));
    }

    /// Installs a capsule and lets it prove itself.
    pub(crate) fn install(&mut self, capsule: &[u8]) {
        self.offer(capsule);
        self.window([1.0, 0.0, 0.0, 0.0]);
        self.window([0.0, 1.0, 0.0, 0.0]);
    }

    pub(crate) fn updates(&self) -> Vec<Update> {
        let updates = self
            .reports
            .iter()
            .filter_map(|report| match Frame::decode(&report.body) {
                Ok(Frame::Update(update)) => Some(update),
                _ => None,
            });
        updates.collect()
    }

    pub(crate) fn states(&self) -> Vec<UpdateState> {
        self.updates().iter().map(|update| update.state).collect()
    }

    pub(crate) fn last_update(&self) -> Update {
        *self.updates().last().expect("an update")
    }

    pub(crate) fn answers(&self) -> Vec<Answer> {
        self.predictions
            .iter()
            .map(|prediction| prediction.answer)
            .collect()
    }

    fn receive(&mut self, bytes: &[u8]) {
        let sealed = Sealed::parse(bytes).expect("an envelope");
        assert_eq!(sealed.device(), DEVICE);
        let envelope = sealed.open(&key(), Direction::Up).expect("authentic");
        Frame::decode(envelope.body).expect("a frame");
        let Envelope {
            model,
            sequence,
            body,
            ..
        } = envelope;
        self.reports.push(Report {
            model,
            sequence,
            body: body.to_vec(),
        });
    }
}

/// The statement that this test's device shall run a capsule, good for ever.
pub(crate) fn stated(capsule: &[u8], counter: u32) -> Statement {
    Statement {
        device: DEVICE,
        manifest: Unverified::parse(capsule)
            .map_or(Digest::of(capsule), |capsule| capsule.manifest_digest()),
        counter,
        last_uplink: u32::MAX,
    }
}

pub(crate) fn signed(statement: &Statement, seed: u8) -> Vec<u8> {
    write(|out| statement.encode(&signer(seed), out).expect("room"))
}

pub(crate) fn offer<'a>(capsule: &[u8], statement: &'a [u8]) -> Downlink<'a> {
    offer_when(capsule, When::AtOnce, statement)
}

pub(crate) fn offer_when<'a>(capsule: &[u8], when: When, statement: &'a [u8]) -> Downlink<'a> {
    Downlink::Offer(Offer {
        what: What::Capsule,
        digest: Digest::of(capsule),
        bytes: capsule.len() as u32,
        when,
        statement: Some(statement),
    })
}

pub(crate) fn downlink(message: &Downlink<'_>, sequence: u32) -> Vec<u8> {
    let body = write(|out| message.encode(out).expect("room"));
    let model = ModelId(0);
    let envelope = Envelope {
        direction: Direction::Down,
        device: DEVICE,
        model,
        sequence,
        body: &body,
    };
    write(|out| envelope.seal(&key(), out).expect("room"))
}

/// The id that the reports of a capsule carry.
pub(crate) fn model_of(capsule: &[u8]) -> ModelId {
    let keys = [signer(RELEASE).verifying_key()];
    tinyops_wire::Capsule::verify(capsule, &keys)
        .expect("a sound capsule")
        .model()
}

/// An action that no longer borrows from the agent.
enum Owned {
    Idle,
    Predict(Prediction),
    Rescore,
    Shadow(Prediction),
    Entropy,
    Send(Vec<u8>),
    Fetch(Fetch),
    Reboot,
}

fn own(action: Action<'_>) -> Owned {
    match action {
        Action::Idle => Owned::Idle,
        Action::Predict(prediction) => Owned::Predict(prediction),
        Action::Rescore => Owned::Rescore,
        Action::Shadow(prediction) => Owned::Shadow(prediction),
        Action::Entropy => Owned::Entropy,
        Action::Send(bytes) => Owned::Send(bytes.to_vec()),
        Action::Fetch(fetch) => Owned::Fetch(fetch),
        Action::Reboot => Owned::Reboot,
    }
}
