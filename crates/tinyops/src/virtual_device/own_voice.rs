//! A speaker whom the model has never heard labels some words on a device, and is heard better by a head of its own:
//! recordings, pipeline, signed release, rollout, labels and reports are those of the product, and nothing is told of the
//! windows.

#![expect(
    clippy::print_stdout,
    reason = "it says what labels were worth, and that it was skipped"
)]

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use tinyops_data::{finding::Report, ingest::Listing, spec::DataSpec, window::Windowing};
use tinyops_device::{BlockSource, Config, Event, OwnHeadState, Privacy, Reporting, Sensor};
use tinyops_fleet::{
    Fleet, KeyFolder, Policy,
    enrol::{Entropy, NewDevice},
    label::LabelWish,
    own_head::answers_by_own_head,
    rollout::Wish,
};
use tinyops_pipeline::{Job, Project, Workshop};
use tinyops_server::release;
use tinyops_store::{Artifacts, Db, DeviceId, Timestamp};
use tinyops_train::{Target, Windows};
use tinyops_wire::{
    Frame,
    frame::{Flags, UpdateState},
    summary::Format,
};

use super::{BLOCK_BYTES, Room, VirtualDevice, carried::carry};

const BOARD: &str = "esp-eye";
const DATA: &str = "root = \"voices\"\nfiles = [\"{label}_{group}_{index}.wav\"]\n";
const WINDOW: &str = "ms = 1000\nshort = \"zeros\"\n";

/// Whom the factory has heard, who tests it, and whose device it is.
const HEARD: [&str; 3] = ["jackson", "nicolas", "theo"];
const TESTS: &str = "yweweler";
const NEW: &str = "george";

/// Numbers, of each digit, of the recordings that a speaker of the factory gives, of the words that the new one labels, and
/// of those that nobody labels, which are counted.
const OF_HEARD: Range<u32> = 5..25;
const LABELLED: Range<u32> = 5..9;
const COUNTED: Range<u32> = 20..50;

fn project() -> String {
    format!(
        r#"
[project]
name = "digits"
goal = "Tell a spoken digit"
metric = "accuracy"
threshold = 0.3

[[data.source]]
{DATA}
[data.window]
{WINDOW}
[data.split]
by = "group"
hold_out = ["{TESTS}"]
validation = 0.2

[train]
epochs = 30

[train.front_end]
kind = "mfcc"
timeline = "stretches"
stretches = 16
normalize = "mean"

[train.network]
kind = "conv1d"
channels = [16, 32]
kernel = 3

[boards]
targets = ["{BOARD}"]

[gates]
smoke = "off"
slice_gap_max = 1.0
quantization_loss_max = 0.05

[repair]
personal_head = true
"#
    )
}

/// The recordings of the spoken digits, if they are there.
fn recordings() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("TINYOPS_DATA").map_or(PathBuf::from(beside), PathBuf::from);
    let folder = folder.join("fsdd/recordings");
    folder.is_dir().then_some(folder)
}

/// Copies some recordings of a speaker.
fn copy(from: &Path, to: &Path, speaker: &str, numbers: Range<u32>) {
    std::fs::create_dir_all(to).unwrap();
    for digit in 0..10 {
        for number in numbers.clone() {
            let name = format!("{digit}_{speaker}_{number}.wav");
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Words as a device's microphone would hand them in, with their classes.
fn words(folder: &Path) -> Vec<(Vec<f32>, u16)> {
    let spec = format!("[[source]]\n{DATA}[window]\n{WINDOW}");
    let data: DataSpec = toml::from_str(&spec).unwrap();
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut report = Report::new();
    let mut read = |_: usize, path: &str| std::fs::read(folder.join(path));
    let dataset = tinyops_data::ingest::ingest(&data, &[Listing { files }], &mut read, &mut report);
    assert!(!report.has_errors(), "{report}");
    let windowing = Windowing::new(&data.window, &dataset).unwrap();
    let all: Vec<usize> = (0..dataset.samples.len()).collect();
    let windows = Windows::cut(&dataset, &all, &windowing).unwrap();
    let class = |index: usize| match windows.targets[index] {
        Target::Class(class) => class,
        _ => panic!("a word without a label"),
    };
    (0..windows.count())
        .map(|index| (windows.window(index).to_vec(), class(index)))
        .collect()
}

/// A device in the field, and its server.
struct Field {
    fleet: Fleet,
    device: VirtualDevice,
    id: DeviceId,
    key: tinyops_wire::DeviceKey,
    now: Timestamp,
    frames: Vec<Vec<u8>>,
}

impl Field {
    /// Hands in an event, and carries envelopes both ways until neither side has more to say.
    async fn run(&mut self, event: Event<'_>) -> Option<(u8, bool)> {
        let frames = &mut self.frames;
        let see = |body: &[u8]| frames.push(body.to_vec());
        let of = (&self.key, self.now);
        let said = carry(&self.fleet, &mut self.device, of, event, see).await;
        said.map(|p| (p.answer.class().expect("a class"), p.is_own_head))
    }

    /// The device connects, and hears what it is owed.
    async fn connect(&mut self) {
        self.now = self.now.plus_ms(60_000);
        for message in self.fleet.owed(self.id, self.now).await.unwrap() {
            self.run(Event::Downlink(&message)).await;
        }
    }

    /// Share of words that it is right about, and whether its own head answered.
    async fn accuracy(&mut self, words: &[(Vec<f32>, u16)]) -> (f64, bool) {
        let (mut right, mut own) = (0, 0);
        for (window, class) in words {
            let said = self.run(Event::Window(window)).await.expect("an answer");
            right += usize::from(u16::from(said.0) == *class);
            own += usize::from(said.1);
        }
        assert!(
            own == 0 || own == words.len(),
            "one head answers all of them"
        );
        (right as f64 / words.len() as f64, own > 0)
    }

    fn flags(&self) -> Vec<bool> {
        let told = self
            .frames
            .iter()
            .filter_map(|frame| match Frame::decode(frame) {
                Ok(Frame::Summary(frame)) => Some(frame.header.flags.has(Flags::OWN_HEAD)),
                _ => None,
            });
        told.collect()
    }
}

#[tokio::test]
async fn a_new_voice_is_heard_better_by_a_head_of_its_own() {
    let Some(data) = recordings() else {
        println!("skipped: no recordings of fsdd; set TINYOPS_DATA");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::write(root.join("tinyops.toml"), project()).unwrap();
    for speaker in HEARD.into_iter().chain([TESTS]) {
        copy(&data, &root.join("voices"), speaker, OF_HEARD);
    }
    copy(&data, &root.join("labelled"), NEW, LABELLED);
    copy(&data, &root.join("counted"), NEW, COUNTED);
    let (labelled, counted) = (words(&root.join("labelled")), words(&root.join("counted")));
    assert_eq!((labelled.len(), counted.len()), (40, 300));

    let now = Timestamp(1_700_000_000_000);
    let workshop = Workshop {
        root: root.to_path_buf(),
        project: Project::load(root).unwrap(),
        db: Db::open("sqlite::memory:").await.unwrap(),
        artifacts: Artifacts::open("memory:").await.unwrap(),
        now: Arc::new(move || now),
    };
    let job = Job::Full { until: None };
    let quiet: tinyops_pipeline::Reporter = Arc::new(|_| {});
    let outcome = tinyops_pipeline::run(&workshop, &job, None, &quiet).await;
    let outcome = outcome.unwrap();
    let version = outcome
        .version
        .unwrap_or_else(|| panic!("{:?}", outcome.gates));

    let mut seed = 0;
    let keys = KeyFolder::new(&root.join("keys"))
        .make(1, 1, || {
            seed += 1;
            [seed; 32]
        })
        .unwrap();
    let fleet = |own_heads: bool| {
        let policy = Policy {
            own_heads,
            ..Policy::default()
        };
        let (db, artifacts) = (workshop.db.clone(), workshop.artifacts.clone());
        Fleet::new(db, artifacts, policy).with_keys(keys.clone())
    };
    let unasked = fleet(false);
    let new = NewDevice {
        board: BOARD.to_owned(),
        ..NewDevice::default()
    };
    let row = unasked.register(&new, Entropy([9; 40]), "test", now).await;
    let row = row.unwrap();
    let config = Config {
        device: row.id,
        key: row.key.clone(),
        first_uplink: 0,
        roots: keys.trust.roots,
        keys: keys.trust.keys,
        board: BOARD,
        sensor: Sensor {
            channel_count: 1,
            rate_hz: 8000.0,
            mounting: None,
            channels: &[],
        },
        reporting: Reporting {
            every_windows: 100,
            every_ms: 0,
            format: Format::M6H8,
        },
        privacy: Privacy::Plain,
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: BLOCK_BYTES,
        retry_after_ms: 1000,
        tries: 3,
        trial_windows: 1,
    };
    let mut field = Field {
        fleet: unasked,
        device: VirtualDevice::new(config, Room::LARGE, Arc::new([])),
        id: row.id,
        key: row.key,
        now,
        frames: Vec::new(),
    };
    field.run(Event::Boot).await;
    release(&field.fleet, &keys, "digits", version, now)
        .await
        .unwrap();
    let wish = Wish::of("digits", version);
    field.fleet.start_rollout(&wish, "test", now).await.unwrap();
    field.connect().await;
    field.run(Event::Tick).await;
    let (before, _) = field.accuracy(&counted).await;
    let confirmed = field.frames.iter().any(|frame| {
        matches!(Frame::decode(frame), Ok(Frame::Update(update)) if update.state == UpdateState::Confirmed)
    });
    assert!(confirmed, "the model has come over the air");
    field.connect().await;
    assert_eq!(
        field.device.own_head(),
        OwnHeadState::Off,
        "nobody has asked"
    );

    // The project asks for it; the speaker says what some words were.
    field.fleet = fleet(true);
    field.connect().await;
    assert_eq!(
        field.device.own_head(),
        OwnHeadState::Gathering { windows: 0 }
    );
    for (window, class) in &labelled {
        field.run(Event::Window(window)).await;
        let wish = LabelWish {
            class: &class.to_string(),
            windows: 1,
            within_ms: 3_600_000,
            why: "the speaker says so",
        };
        let now = field.now;
        field
            .fleet
            .label(field.id, &wish, "george", now)
            .await
            .unwrap();
        field.connect().await;
    }
    let OwnHeadState::Own(trial) = field.device.own_head() else {
        panic!("{:?}", field.device.own_head());
    };
    assert_eq!(trial.windows, 40);
    let up_before = field.device.traffic().up_bytes;
    let (after, is_own) = field.accuracy(&counted).await;
    assert!(is_own);
    println!(
        "{before:.3} of {} words before, {after:.3} after 40 labels; {trial:?}",
        counted.len()
    );
    assert!(after >= before + 0.15, "{before} before, {after} after");
    let up_bytes = field.device.traffic().up_bytes - up_before;
    assert!(
        up_bytes < 400,
        "{up_bytes} bytes: reports, and nothing of any window"
    );
    assert_eq!(field.device.traffic().raw_windows, 0);

    // It says so, and the server does.
    assert_eq!(field.flags().last(), Some(&true));
    let db = field.fleet.db.clone();
    assert!(answers_by_own_head(&db, field.id).await.unwrap());
    let view = field.fleet.cohort_view("default").await.unwrap().unwrap();
    assert_eq!(view.own_head_count, 1);

    // A reset changes nothing; a word of the server's takes it all back.
    field.run(Event::Boot).await;
    assert_eq!(field.accuracy(&counted).await, (after, true));
    let now = field.now;
    let taken = field
        .fleet
        .take_labels_back(field.id, "no more", "george", now);
    taken.await.unwrap();
    field.connect().await;
    assert_eq!(field.accuracy(&counted).await, (before, false));
    assert_eq!(field.flags().last(), Some(&false));
    field.fleet = fleet(false);
    field.connect().await;
    assert_eq!(field.device.own_head(), OwnHeadState::Off);
}
