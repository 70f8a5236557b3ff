//! A board on the bench: its flash in a file, its line on a socket, its sensor and its words in pipes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ChildStdin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tinyops_emulate::{
    AGENT_FLASH_BYTES, AgentFirmware, BoardFaults, BoardSaid, EmulateError, EmulatedBoard,
    FACTORY_BYTES, Firmware, LineTo, Memory, ONE_PIECE, write_reading,
};
use tinyops_wire::capsule::Unverified;
use tinyops_wire::downlink::{Block, Command, KeySetPart, Offer, What, When};
use tinyops_wire::enrolment::{Enrolled, TokenId};
use tinyops_wire::envelope::Direction;
use tinyops_wire::frame::{Hello, Reason, Update, UpdateState};
use tinyops_wire::key_set::RootSignature;
use tinyops_wire::provision::{Credential, Factory, Record};
use tinyops_wire::sensor::{Channel, Mounting, RATE_TOLERANCE_PPM, SensorContract, SensorSection};
use tinyops_wire::serial::{BODY_BYTES_MAX, Decoder, Message, OVERHEAD};
use tinyops_wire::{Digest, Downlink, Frame, KeySet, ModelId, Sealed};

use super::fixture::{
    BOARD, DEVICE, DIRECTOR, ROOTS, WINDOW, config, downlink, key, offer, signed, signer, stated,
    write,
};

/// No step takes so long, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);
/// An offer that leads nowhere in so long is made anew.
const ROUND: Duration = Duration::from_secs(15);
/// A board that has said nothing for so long has nothing more to say.
const QUIET: Duration = Duration::from_millis(120);
/// What an Arduino Nano 33 BLE Sense leaves.
const NANO_33: Memory = Memory {
    flash_bytes: 702_528,
    ram_bytes: 200_704,
    pieces: ONE_PIECE,
};
/// Windows of a trial, as the firmware has them.
const TRIAL_WINDOWS: usize = 4;

/// The firmware, built once for all tests.
pub(crate) struct Workbench(&'static AgentFirmware);

impl Workbench {
    /// `None`, and a word why, where the tools are missing.
    pub(crate) fn find() -> Option<Workbench> {
        static BUILT: OnceLock<Option<AgentFirmware>> = OnceLock::new();
        let build = || {
            let built = Firmware::find().and_then(|source| AgentFirmware::build(&source, NANO_33));
            match built {
                Ok(firmware) => Some(firmware),
                Err(error @ EmulateError::Missing { .. }) => {
                    eprintln!("skipped: {error}");
                    None
                }
                Err(error) => panic!("{error}"),
            }
        };
        BUILT.get_or_init(build).as_ref().map(Workbench)
    }

    /// Gives a board with this flash power, and waits until it has booted.
    pub(crate) fn switch_on(&self, flash: &[u8], faults: BoardFaults) -> Bench {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("board, its flash");
        std::fs::write(&path, flash).expect("a file");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let line = LineTo::Tcp("127.0.0.1".to_owned(), port);
        let started = self.0.start(&path, &line, faults);
        let mut board = match started {
            Ok(board) => board,
            Err(error) => panic!("{error}"),
        };
        let output = board.take_output().expect("a pipe");
        let (sender, heard) = channel();
        let says = sender.clone();
        std::thread::spawn(move || {
            for said in output.map_while(Result::ok) {
                if let BoardSaid::Line(line) = said {
                    let _ = says.send(Heard::Line(line));
                }
            }
            let _ = says.send(Heard::NoPower);
        });
        let (mut stream, _) = listener.accept().expect("the emulator connects");
        let mut reading = stream.try_clone().expect("a second end");
        std::thread::spawn(move || {
            let mut decoder = Decoder::<{ BODY_BYTES_MAX + OVERHEAD }>::new();
            let mut chunk = [0; 1024];
            while let Ok(count @ 1..) = reading.read(&mut chunk) {
                for &byte in &chunk[..count] {
                    let heard = match decoder.push(byte) {
                        Some(Ok(Message::Up(envelope))) => Heard::Envelope(envelope.to_vec()),
                        Some(Ok(Message::Room { .. })) => Heard::Begins,
                        _ => continue,
                    };
                    let _ = sender.send(heard);
                }
            }
        });
        let room = BODY_BYTES_MAX as u16;
        send(&mut stream, &Message::Room { body_bytes: room });
        let mut bench = Bench {
            sensor: board.take_sensor().expect("a pipe"),
            board,
            path,
            stream,
            heard,
            capsules: BTreeMap::new(),
            room,
            is_lossy: false,
            model: None,
            operations: 0,
            boots: 0,
            hung: 0,
            is_booting: false,
            said: Vec::new(),
            updates: Vec::new(),
            shadows: Vec::new(),
            key_set: None,
            keys_told: 0,
            requests: Vec::new(),
            sequences: Vec::new(),
            has_power: true,
            _folder: folder,
        };
        bench.until("it boots", |bench| bench.operations > 0);
        bench
    }
}

/// Number of the newest downlink: they go on rising, whatever a device has lost.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What comes from a board.
enum Heard {
    Line(String),
    Envelope(Vec<u8>),
    /// A device has started, and asks how much the other end takes.
    Begins,
    NoPower,
}

/// A board that has power, or had it until something cut it.
pub(crate) struct Bench {
    board: EmulatedBoard,
    path: PathBuf,
    stream: TcpStream,
    sensor: ChildStdin,
    heard: Receiver<Heard>,
    /// What is served, under the digest that is asked for.
    capsules: BTreeMap<[u8; 8], Vec<u8>>,
    /// The longest body that this end takes.
    room: u16,
    /// Whether every second block is lost.
    is_lossy: bool,
    model: Option<(ModelId, bool)>,
    operations: u32,
    /// How often it has started and said what runs.
    boots: usize,
    /// How often it has said that its program hangs.
    hung: usize,
    is_booting: bool,
    /// Classes of windows.
    said: Vec<String>,
    updates: Vec<Update>,
    /// What it told of a candidate: which, of how many windows, and whether that is over.
    shadows: Vec<(ModelId, u16, bool)>,
    /// The key set that it last said it has.
    key_set: Option<u32>,
    /// How often it has said what became of one that it was handed.
    keys_told: usize,
    /// Bytes of a block, of each request for some.
    requests: Vec<u16>,
    sequences: Vec<u32>,
    has_power: bool,
    _folder: tempfile::TempDir,
}

impl Bench {
    /// The model that runs, and whether it is confirmed.
    pub(crate) fn state(&self) -> Option<(ModelId, bool)> {
        self.model
    }

    /// Operations of the flash since it was switched on, as the board last said.
    pub(crate) fn operations(&self) -> u32 {
        self.operations
    }

    pub(crate) fn has_power(&self) -> bool {
        self.has_power
    }

    pub(crate) fn last_update(&self) -> Update {
        *self.updates.last().expect("it told of an update")
    }

    /// What it has told of candidates: which, of how many windows, and whether that is over.
    pub(crate) fn shadows(&self) -> &[(ModelId, u16, bool)] {
        &self.shadows
    }

    /// The key set that it last said it has, once it has said one.
    #[track_caller]
    pub(crate) fn key_set(&mut self) -> Option<u32> {
        self.until("it says which keys it has", |bench| bench.key_set.is_some());
        self.key_set
    }

    /// Bytes of a block, of each request for some.
    pub(crate) fn requests(&self) -> &[u16] {
        &self.requests
    }

    /// Numbers of the envelopes that came from it, in this order.
    pub(crate) fn sequences(&self) -> &[u32] {
        &self.sequences
    }

    /// Takes the power away; answers with what is in the flash.
    pub(crate) fn switch_off(mut self) -> Vec<u8> {
        let _ = self.board.cut_power();
        std::fs::read(&self.path).expect("the file is there")
    }

    /// Takes the power away; answers with what is in the flash, and with the numbers that it has used.
    pub(crate) fn end(self) -> (Vec<u8>, Vec<u32>) {
        let sequences = self.sequences.clone();
        (self.switch_off(), sequences)
    }

    /// Offers a capsule, serves it, and lets it prove itself; again where a power cut has left the device in the middle of
    /// it. Ends when it is confirmed, turned away, or the power goes.
    pub(crate) fn install(&mut self, capsule: &[u8]) {
        let wanted = Unverified::parse(capsule).expect("a capsule").model();
        for _ in 0..3 {
            let told = self.updates.len();
            self.serve(capsule, capsule);
            for _ in 0..=TRIAL_WINDOWS {
                if self.has_power && self.model != Some((wanted, true)) {
                    self.window([1.0, 0.0, 0.0, 0.0]);
                }
            }
            self.settle();
            // What flash has damaged may be offered again (`docs/formats/blocks.md`): a word that was cut is found so.
            let is_turned_away = |update: &Update| {
                matches!(update.state, UpdateState::Refused | UpdateState::Reverted)
                    && !matches!(update.reason, Reason::Flash | Reason::Digest)
            };
            let is_over = self.updates[told..].iter().any(is_turned_away);
            if is_over || !self.has_power || self.model == Some((wanted, true)) {
                return;
            }
        }
    }

    /// Offers a capsule as `sent`, which is itself or what makes it, and serves that; ends when the device has said what
    /// becomes of it, and has started anew where it tries it.
    pub(crate) fn take(&mut self, capsule: &[u8], sent: (What, &[u8]), when: When) {
        let wanted = Unverified::parse(capsule).expect("a capsule").model();
        let told = self.updates.len();
        self.offer_as(capsule, sent, when);
        let is_over = |update: &Update| update.state != UpdateState::Downloading;
        self.until("it says what becomes of an offer", |bench| {
            bench.updates[told..].iter().any(is_over)
        });
        let is_installed = |update: &Update| update.state == UpdateState::Installed;
        if self.updates[told..].iter().any(is_installed) {
            self.until("it starts with what it has installed", |bench| {
                bench.model.is_some_and(|(model, _)| model == wanted)
            });
        }
        self.settle();
    }

    /// Sends it back, and waits until it has started anew.
    pub(crate) fn send_back(&mut self) {
        let (told, boots) = (self.updates.len(), self.boots);
        self.down(&Downlink::Command(Command::Revert));
        self.until("it says that it goes back", |bench| {
            let mut updates = bench.updates[told..].iter();
            updates.any(|update| update.state == UpdateState::Reverted)
        });
        self.until("it starts with what was before", |bench| {
            bench.boots > boots
        });
        self.settle();
    }

    /// Waits until it has told that it went back; answers with that.
    #[track_caller]
    pub(crate) fn reverted(&mut self) -> Update {
        let is_it = |update: &&Update| update.state == UpdateState::Reverted;
        self.until("it tells that it went back", |bench| {
            bench.updates.iter().any(|update| is_it(&update))
        });
        let found = self.updates.iter().rev().find(is_it);
        *found.expect("it has told")
    }

    /// Four windows, and waits until what runs is confirmed.
    #[track_caller]
    pub(crate) fn prove(&mut self) {
        for _ in 0..TRIAL_WINDOWS {
            self.window([1.0, 0.0, 0.0, 0.0]);
        }
        self.until("it is confirmed", |bench| {
            bench.model.is_some_and(|(_, is_confirmed)| is_confirmed)
        });
        self.settle();
    }

    /// Has it tell what a candidate has answered.
    pub(crate) fn report(&mut self) {
        let told = self.shadows.len();
        self.down(&Downlink::Command(Command::ReportNow));
        self.until("it tells of a candidate", |bench| {
            bench.shadows.len() > told
        });
    }

    /// Plays in a reading of which the program hangs, and waits until the watchdog has started the board anew.
    pub(crate) fn hang(&mut self) {
        let (hung, boots) = (self.hung, self.boots);
        let _ = write_reading(&mut self.sensor, &[1.0]);
        self.until("it hangs", |bench| bench.hung > hung);
        self.until("its watchdog bites", |bench| bench.boots > boots);
        self.settle();
    }

    /// Hands a key set over, in parts of so many bytes; answers which one it says that it has.
    pub(crate) fn give_keys(&mut self, set: &KeySet, part_bytes: usize) -> Option<u32> {
        let told = self.keys_told;
        let signed = signed_key_set(set);
        for (offset, bytes) in (0..).step_by(part_bytes).zip(signed.chunks(part_bytes)) {
            self.down(&Downlink::KeySetPart(KeySetPart {
                sequence: set.sequence,
                total: signed.len() as u16,
                offset,
                bytes,
            }));
        }
        self.until("it speaks of the key set", |bench| bench.keys_told > told);
        self.settle();
        self.key_set()
    }

    /// From now on this end takes bodies of so many bytes at most.
    pub(crate) fn set_room(&mut self, body_bytes: u16) {
        self.room = body_bytes;
        send(&mut self.stream, &Message::Room { body_bytes });
    }

    /// Offers a capsule and serves every second block of what is asked for, for so many requests.
    pub(crate) fn serve_some(&mut self, capsule: &[u8], requests: usize) {
        let digest = Digest::of(capsule).prefix();
        self.capsules.insert(digest, capsule.to_vec());
        self.is_lossy = true;
        let until = self.requests.len() + requests;
        self.offer(capsule);
        self.until("it asks for blocks", |bench| bench.requests.len() >= until);
        self.is_lossy = false;
    }

    /// Offers one capsule and serves the blocks of another under its name.
    pub(crate) fn offer_but_serve(&mut self, offered: &[u8], served: &[u8]) {
        self.serve(offered, served);
        self.settle();
    }

    /// Kills the emulator as soon as a capsule is offered and so many of its blocks are served.
    pub(crate) fn kill_after_block(&mut self, capsule: &[u8], blocks: usize) {
        self.offer(capsule);
        let begun = Instant::now();
        let mut served = 0;
        while served < blocks && begun.elapsed() < PATIENCE {
            if let Ok(Heard::Envelope(envelope)) = self.heard.recv_timeout(QUIET) {
                let sealed = Sealed::parse(&envelope).expect("an envelope");
                let opened = sealed.open(&key(), Direction::Up).expect("authentic");
                if let Ok(Frame::BlockRequest(request)) = Frame::decode(opened.body) {
                    for (offset, bytes) in request.cut(capsule) {
                        let digest = request.digest;
                        self.down(&Downlink::Block(Block {
                            digest,
                            offset,
                            bytes,
                        }));
                        served += 1;
                    }
                }
            }
        }
        let _ = self.board.cut_power();
        self.has_power = false;
    }

    /// A window of the sensor; answers with its class.
    #[track_caller]
    pub(crate) fn window(&mut self, window: [f32; WINDOW]) -> String {
        let before = self.said.len();
        for value in window {
            // A board without power measures nothing.
            let _ = write_reading(&mut self.sensor, &[value]);
        }
        self.until("it scores a window", |bench| bench.said.len() > before);
        self.said.last().cloned().unwrap_or_default()
    }

    /// Anything that no gateway would send.
    pub(crate) fn noise(&mut self) {
        let sealed = downlink(&Downlink::Command(Command::Reboot), 1);
        let mut whole = [0; 512];
        let len = Message::Down(&sealed).encode(&mut whole).expect("room");
        for cut in (1..len).step_by(7) {
            let _ = self.stream.write_all(&whole[..cut]);
            let _ = self.stream.write_all(&[0]);
        }
        for seed in 0..40_u8 {
            let mut forged = sealed.clone();
            let at = usize::from(seed) * 7 % forged.len();
            forged[at] ^= 1 << (seed % 8);
            send(&mut self.stream, &Message::Down(&forged));
        }
        let mut state = 7_u32;
        let noise: Vec<u8> = (0..20_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let _ = self.stream.write_all(&noise);
        let _ = self.stream.write_all(&[1; 6000]);
        let _ = self.stream.write_all(&[0]);
        self.settle();
    }

    fn serve(&mut self, offered: &[u8], served: &[u8]) {
        self.capsules
            .insert(Digest::of(offered).prefix(), served.to_vec());
        let told = self.updates.len();
        self.offer(offered);
        let begun = Instant::now();
        let is_over = |update: &Update| update.state != UpdateState::Downloading;
        while self.has_power && begun.elapsed() < ROUND && !self.updates[told..].iter().any(is_over)
        {
            self.hear(QUIET);
        }
        // A reset is said only after it, and so is what runs then.
        self.settle();
    }

    fn offer(&mut self, capsule: &[u8]) {
        let counter = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let statement = signed(&stated(capsule, counter), DIRECTOR);
        self.down(&offer(capsule, &statement));
    }

    fn offer_as(&mut self, capsule: &[u8], (what, sent): (What, &[u8]), when: When) {
        let digest = Digest::of(sent);
        self.capsules.insert(digest.prefix(), sent.to_vec());
        let counter = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let statement = signed(&stated(capsule, counter), DIRECTOR);
        self.down(&Downlink::Offer(Offer {
            what,
            digest,
            bytes: sent.len() as u32,
            when,
            statement: Some(&statement),
        }));
    }

    fn down(&mut self, message: &Downlink<'_>) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        let envelope = downlink(message, number);
        send(&mut self.stream, &Message::Down(&envelope));
    }

    /// Waits until something holds or the power is gone.
    #[track_caller]
    fn until(&mut self, what: &str, holds: impl Fn(&Bench) -> bool) {
        let begun = Instant::now();
        while self.has_power && !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", self.model);
            self.hear(QUIET);
        }
    }

    /// Hears until the board is quiet.
    pub(crate) fn settle(&mut self) {
        let begun = Instant::now();
        while self.has_power && begun.elapsed() < PATIENCE && self.hear(QUIET) {}
    }

    /// Takes in what the board says next; false if nothing comes.
    fn hear(&mut self, within: Duration) -> bool {
        match self.heard.recv_timeout(within) {
            Ok(Heard::Line(line)) => self.line(&line),
            Ok(Heard::Envelope(envelope)) => self.envelope(&envelope),
            Ok(Heard::Begins) => {
                let body_bytes = self.room;
                send(&mut self.stream, &Message::Room { body_bytes });
            }
            Ok(Heard::NoPower) | Err(RecvTimeoutError::Disconnected) => self.has_power = false,
            Err(RecvTimeoutError::Timeout) => return false,
        }
        true
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["model", model, state, operations, _] => {
                let model = model.parse::<ModelId>().ok();
                self.model = model.map(|model| (model, state != "trial"));
                self.operations = operations.parse().expect("a number");
                self.boots += usize::from(std::mem::take(&mut self.is_booting));
            }
            ["tinyops-mps2", _] => self.is_booting = true,
            ["hangs"] => self.hung += 1,
            ["window", _, "class", _, _, _, name] => self.said.push(name.to_owned()),
            ["refused", ..] => panic!("{line}"),
            _ => {}
        }
    }

    fn envelope(&mut self, envelope: &[u8]) {
        let sealed = Sealed::parse(envelope).expect("an envelope");
        let opened = sealed.open(&key(), Direction::Up).expect("authentic");
        self.sequences.push(opened.sequence);
        match Frame::decode(opened.body).expect("a frame") {
            Frame::Update(update) => self.updates.push(update),
            Frame::Shadow(said) => {
                let answers = said.answers;
                self.shadows
                    .push((said.model, answers.windows, answers.is_over));
            }
            Frame::Keys(keys) => {
                self.key_set = Some(keys.key_set);
                self.keys_told += 1;
            }
            Frame::Hello(Hello { trust, .. }) => {
                self.key_set = trust.map(|trust| trust.key_set);
            }
            Frame::BlockRequest(request) => {
                self.requests.push(request.block_bytes);
                let Some(capsule) = self.capsules.get(&request.digest).cloned() else {
                    return;
                };
                let step = if self.is_lossy { 2 } else { 1 };
                for (offset, bytes) in request.cut(&capsule).step_by(step) {
                    let digest = request.digest;
                    self.down(&Downlink::Block(Block {
                        digest,
                        offset,
                        bytes,
                    }));
                }
            }
            _ => {}
        }
    }
}

/// A board that has lost its power is told nothing.
fn send(stream: &mut TcpStream, message: &Message<'_>) {
    let mut line = vec![0; 4096];
    let len = message.encode(&mut line).expect("room");
    let _ = stream.write_all(&line[..len]);
}

/// A key set with the signatures of two of the three roots.
fn signed_key_set(set: &KeySet) -> Vec<u8> {
    let roots = ROOTS.map(signer);
    let sign = |root| RootSignature::new(set, root).expect("a sound key set");
    let signatures: Vec<RootSignature> = roots[..2].iter().map(sign).collect();
    write(|out| set.encode(&signatures, out).expect("room"))
}

/// What the factory says of the sensor.
const SENSOR: SensorContract<'static> = SensorContract {
    rate_hz: 10.0,
    rate_tolerance_ppm: RATE_TOLERANCE_PPM,
    mounting: Some(Mounting::UPRIGHT),
    channels: &[Channel {
        axis: "acc.x",
        unit: "g",
        full_scale: 4.0,
    }],
};

/// Flash as it comes from the factory, of a device that is enrolled and has no model.
pub(crate) fn flash_of_nobody() -> Vec<u8> {
    let config = config();
    let key_set = signed_key_set(&config.keys);
    let contract = write(|out| SENSOR.encode(out).expect("room"));
    let factory = Record::Factory(Factory {
        roots: config.roots,
        key_set: &key_set,
        board: BOARD,
        channel_count: 1,
        rate_hz: 10.0,
        report_windows: 0,
        report_ms: 0,
        device: None,
        credential: Credential::Token {
            id: TokenId(1),
            secret: [1; 32],
        },
        sensor: SensorSection::decode(&contract).ok(),
    });
    let enrolled = Record::Enrolled(Enrolled {
        device: DEVICE,
        key: key(),
        first_uplink: 0,
    });
    let mut flash = vec![0xff; AGENT_FLASH_BYTES];
    for (page, record) in [(0, factory), (2, enrolled)] {
        let page = &mut flash[page * FACTORY_BYTES..][..FACTORY_BYTES];
        record.encode(page).expect("room");
    }
    flash
}
