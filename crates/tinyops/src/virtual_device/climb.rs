//! New speakers come to a fleet that knows two others, and the server repairs it by itself, rung by rung: a round of sums
//! that is not enough, windows for an annotator, a full training. Recordings, pipeline, gates, rollouts, labels, sealed
//! windows and the annotator's commands are those of the product; the clock alone is the test's.

#![expect(
    clippy::print_stdout,
    reason = "it says what each rung was worth, and that it was skipped"
)]

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser as _;
use tinyops_data::{finding::Report, ingest::Listing, spec::DataSpec, window::Windowing};
use tinyops_device::{
    BlockSource, Config as DeviceConfig, Event, Privacy, Reporting, Sensor, annotate::Consent,
};
use tinyops_fleet::{
    Fleet, KeyFolder, Keyring, Policy,
    enrol::{Entropy, NewDevice},
    label::LabelWish,
    ladder::{End, Ladder, Phase, Rung},
    plan::Plan,
    repair::details,
    rollout::Wish,
    round::RoundPolicy,
};
use tinyops_pipeline::{Job, Project, Workshop};
use tinyops_server::{Config, Loops, release, serve};
use tinyops_store::rollout::{self, RolloutState};
use tinyops_store::{Artifacts, Db, DeviceId, Timestamp, annotation, audit, repair, trigger};
use tinyops_train::{Target, Windows};
use tinyops_wire::{DeviceKey, sealing::AnnotatorKey, summary::Format};

use super::{BLOCK_BYTES, Room, VirtualDevice, carried::carry};
use crate::cmd::{Cli, annotate::annotator_key, dispatch, serve::policy};
use crate::term::Terminal;

const BOARD: &str = "esp-eye";
const DATA: &str = "root = \"voices\"\nfiles = [\"{group}/{label}/*.wav\"]\n";
const WINDOW: &str = "ms = 1000\nshort = \"zeros\"\n";
const DEVICES: u8 = 16;
/// Words between two reports of a device, one a day.
const A_DAY: usize = 30;
const DAY_MS: i64 = 24 * 3_600_000;

/// Whom the factory has heard, who tests it, and who comes to the devices.
const HEARD: [&str; 2] = ["jackson", "nicolas"];
const TESTS: &str = "yweweler";
const NEW: [&str; 2] = ["george", "theo"];

/// Numbers, of each digit, of the recordings that a speaker of the factory gives, of those that devices hear of the same
/// speakers; of the new ones those that anything may be learnt from, and those that only judge.
const OF_FACTORY: Range<u32> = 5..25;
const OF_BEFORE: Range<u32> = 25..50;
const TO_LEARN: Range<u32> = 5..30;
const TO_JUDGE: Range<u32> = 30..50;

fn project(annotator: AnnotatorKey) -> String {
    let annotator = tinyops_store::Digest(annotator.0);
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
validation = 0.0

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
annotator = "{annotator}"
windows = 8
windows_of = 100
device_bytes_max = 400000
labelled_min = 120
verdict_windows = 192
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

/// Copies some recordings of a speaker to where a source of these patterns finds them.
fn copy(from: &Path, to: &Path, speaker: &str, numbers: Range<u32>) {
    for digit in 0..10 {
        let folder = to.join(speaker).join(digit.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        for number in numbers.clone() {
            let name = format!("{digit}_{speaker}_{number}.wav");
            std::fs::copy(from.join(name), folder.join(format!("{number}.wav"))).unwrap();
        }
    }
}

/// A word as a device's microphone would hand it in, with its class.
type Word = (Vec<f32>, u16);

/// Words below a folder; `files` says where.
fn words(folder: &Path, files: Vec<String>) -> Vec<Word> {
    let spec = format!("[[source]]\n{DATA}[window]\n{WINDOW}");
    let data: DataSpec = toml::from_str(&spec).unwrap();
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

/// Words of some speakers.
fn words_of(data: &Path, place: &Path, speakers: [&str; 2], numbers: Range<u32>) -> Vec<Word> {
    let mut files = Vec::new();
    for speaker in speakers {
        copy(data, place, speaker, numbers.clone());
        for digit in 0..10 {
            files.extend(
                numbers
                    .clone()
                    .map(|number| format!("{speaker}/{digit}/{number}.wav")),
            );
        }
    }
    words(place, files)
}

/// One device, and what it was told of.
struct Unit {
    device: VirtualDevice,
    id: DeviceId,
    key: DeviceKey,
}

/// The fleet in the field, its server, and the time.
struct Field {
    fleet: Fleet,
    units: Vec<Unit>,
    clock: Arc<AtomicI64>,
    dice: u64,
}

impl Field {
    fn now(&self) -> Timestamp {
        Timestamp(self.clock.load(Ordering::Acquire))
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Ordering::AcqRel);
    }

    fn draw<'w>(&mut self, words: &'w [Word]) -> &'w Word {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        &words[(self.dice >> 33) as usize % words.len()]
    }

    /// Hands in an event, and carries envelopes both ways until neither side has more to say.
    async fn run(&mut self, index: usize, event: Event<'_>) -> Option<u8> {
        let now = self.now();
        let unit = &mut self.units[index];
        let said = carry(
            &self.fleet,
            &mut unit.device,
            (&unit.key, now),
            event,
            |_| (),
        )
        .await;
        said.and_then(|said| said.answer.class())
    }

    /// Every device connects, and hears what it is owed.
    async fn connect(&mut self) {
        self.pass(120_000);
        for index in 0..self.units.len() {
            let owed = self
                .fleet
                .owed(self.units[index].id, self.now())
                .await
                .unwrap();
            for message in owed {
                self.run(index, Event::Downlink(&message)).await;
            }
            self.run(index, Event::Tick).await;
        }
    }

    /// A day: every device hears words and reports, connects, and the server looks at it. The share that was right.
    async fn day(&mut self, words: &[Word]) -> f64 {
        let mut right = 0;
        for index in 0..self.units.len() {
            for _ in 0..A_DAY {
                let (window, class) = self.draw(words);
                let said = self.run(index, Event::Window(window)).await;
                right += usize::from(said.map(u16::from) == Some(*class));
            }
        }
        self.connect().await;
        self.pass(DAY_MS);
        self.turn().await;
        right as f64 / (self.units.len() * A_DAY) as f64
    }

    async fn turn(&self) {
        match self.fleet.turn(self.now()).await {
            Ok(_) => {}
            // The server's own turn was there first.
            Err(tinyops_fleet::FleetError::Store(error)) if error.is_conflict() => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Somebody says of each device's newest word what it was, so many times. The same words in every run, however many
    /// days the server took before.
    async fn label(&mut self, words: &[Word], each: usize) {
        self.dice = each as u64;
        for _ in 0..each {
            for index in 0..self.units.len() {
                let (window, class) = self.draw(words);
                self.run(index, Event::Window(window)).await;
                let wish = LabelWish {
                    class: &class.to_string(),
                    windows: 1,
                    within_ms: 3_600_000,
                    why: "the speaker says so",
                };
                let (id, now) = (self.units[index].id, self.now());
                self.fleet.label(id, &wish, "speaker", now).await.unwrap();
            }
            self.connect().await;
        }
    }

    async fn ladder(&self) -> Option<Ladder> {
        let newest = repair::list(&self.fleet.db, 1).await.unwrap();
        newest.first().map(|newest| details(newest).unwrap())
    }

    /// Lets the server work, without devices, until the repair is so far.
    async fn until(&self, holds: impl Fn(&Ladder) -> bool) -> Ladder {
        let begun = Instant::now();
        loop {
            self.turn().await;
            let ladder = self.ladder().await.expect("a repair");
            if holds(&ladder) {
                return ladder;
            }
            assert!(begun.elapsed() < Duration::from_secs(400), "{ladder:#?}");
            self.pass(60_000);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Days of the field until the repair is so far.
    async fn days(&mut self, words: &[Word], holds: impl Fn(&Ladder) -> bool) -> Ladder {
        for _ in 0..40 {
            if let Some(ladder) = self.ladder().await.filter(&holds) {
                return ladder;
            }
            self.day(words).await;
        }
        panic!("{:#?}", self.ladder().await);
    }
}

/// What a person types, in the project's folder.
async fn tinyops(root: &Path, args: &[&str]) {
    let place = root.display().to_string();
    let typed = [&["tinyops", "--quiet", "--project", &place], args].concat();
    let cli = Cli::try_parse_from(typed).unwrap();
    let terminal = Terminal::new(cli.output);
    if let Err(failure) = dispatch(cli, terminal).await {
        panic!("{args:?}: {}", failure.render(false));
    }
}

/// The digit that an annotator hears in an opened window: that of the word which it is.
fn heard(file: &Path, words: &[Word]) -> u16 {
    let folder = file.parent().unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    // As any recording of the project is read, under a name that says nothing.
    let listened = folder.join("listened/0");
    std::fs::create_dir_all(&listened).unwrap();
    std::fs::copy(file, listened.join(name)).unwrap();
    let opened = words_in(folder, name);
    let distance = |word: &&Word| {
        let both = word.0.iter().zip(&opened);
        both.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    let nearest = words
        .iter()
        .min_by(|a, b| distance(a).total_cmp(&distance(b)));
    let nearest = nearest.unwrap();
    assert!(
        distance(&nearest) < 1e-2,
        "a word that no device has heard: {}",
        distance(&nearest)
    );
    nearest.1
}

fn words_in(folder: &Path, name: &str) -> Vec<f32> {
    let read = words(folder, vec![format!("listened/0/{name}")]);
    read.into_iter().next().expect("a window").0
}

async fn workshop(root: &Path, clock: &Arc<AtomicI64>) -> Workshop {
    let store = root.join(".tinyops");
    let url = format!("sqlite:{}", store.join("tinyops.db").display());
    let artifacts = store.join("artifacts").display().to_string();
    let clock = Arc::clone(clock);
    Workshop {
        root: root.to_path_buf(),
        project: Project::load(root).unwrap(),
        db: Db::open(&url).await.unwrap(),
        artifacts: Artifacts::open(&artifacts).await.unwrap(),
        now: Arc::new(move || Timestamp(clock.load(Ordering::Acquire))),
    }
}

/// As the project says, in rounds of few devices and rollouts of few days.
fn policy_of(project: &Project) -> Policy {
    Policy {
        round: RoundPolicy {
            total_window_count_min: 80,
            ..RoundPolicy::default()
        },
        rollout: Plan {
            reports: 1,
            ..Plan::default()
        },
        ..policy(project)
    }
}

async fn units(
    fleet: &Fleet,
    keys: &Keyring,
    annotator: AnnotatorKey,
    now: Timestamp,
) -> Vec<Unit> {
    let mut units = Vec::new();
    for number in 0..DEVICES {
        let new = NewDevice {
            board: BOARD.to_owned(),
            cohort: "hall".to_owned(),
            ..NewDevice::default()
        };
        let entropy = Entropy([number + 1; 40]);
        let row = fleet.register(&new, entropy, "test", now).await.unwrap();
        let config = DeviceConfig {
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
                every_windows: A_DAY as u32,
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
        let mut device = VirtualDevice::new(config, Room::LARGE, Arc::new([]));
        device.set_link_room(usize::from(BLOCK_BYTES));
        device.agent().give_consent(Consent {
            annotator,
            windows_per_month: 16,
        });
        units.push(Unit {
            device,
            id: row.id,
            key: row.key,
        });
    }
    units
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_voices_are_learnt_rung_by_rung() {
    let Some(data) = recordings() else {
        println!("skipped: no recordings of fsdd; set TINYOPS_DATA");
        return;
    };
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::write(root.join("tinyops.toml"), "").unwrap();
    tinyops(root, &["annotate", "keys", "new"]).await;
    let public = root.join(".tinyops/annotator.key.pub");
    let annotator = annotator_key(&public.display().to_string()).unwrap();
    std::fs::write(root.join("tinyops.toml"), project(annotator)).unwrap();
    for speaker in HEARD.into_iter().chain([TESTS]) {
        copy(&data, &root.join("voices"), speaker, OF_FACTORY);
    }
    let before = words_of(&data, &root.join("before"), HEARD, OF_BEFORE);
    let to_learn = words_of(&data, &root.join("to-learn"), NEW, TO_LEARN);
    let to_judge = words_of(&data, &root.join("to-judge"), NEW, TO_JUDGE);

    let clock = Arc::new(AtomicI64::new(1_700_000_000_000));
    let workshop = workshop(root, &clock).await;
    let quiet: tinyops_pipeline::Reporter = Arc::new(|_| {});
    let job = Job::Full { until: None };
    let outcome = tinyops_pipeline::run(&workshop, &job, None, &quiet)
        .await
        .unwrap();
    let version = outcome
        .version
        .unwrap_or_else(|| panic!("{:?}", outcome.gates));
    let mut seed = 0;
    let make = || {
        seed += 1;
        [seed; 32]
    };
    let keys = KeyFolder::new(&root.join("keys")).make(1, 1, make).unwrap();
    let how = policy_of(&workshop.project);
    let (db, artifacts) = (workshop.db.clone(), workshop.artifacts.clone());
    let fleet = Fleet::new(db, artifacts, how.clone()).with_keys(keys.clone());
    let running = serve(Config {
        http: ([127, 0, 0, 1], 0).into(),
        mqtt: None,
        workshop: workshop.clone(),
        policy: how,
        keys: keys.clone(),
        key_folder: None,
        admin_token: root.join("admin.token"),
        tls: None,
        helper: None,
        loops: Loops {
            enabled: true,
            tick: Duration::from_millis(50),
        },
    })
    .await
    .unwrap();
    let units = units(
        &fleet,
        &keys,
        annotator,
        Timestamp(clock.load(Ordering::Acquire)),
    )
    .await;
    let mut field = Field {
        fleet,
        units,
        clock,
        dice: 7,
    };
    for index in 0..field.units.len() {
        field.run(index, Event::Boot).await;
    }
    release(&field.fleet, &keys, "digits", version, field.now())
        .await
        .unwrap();
    let (wish, now) = (Wish::of("digits", version), field.now());
    field.fleet.start_rollout(&wish, "test", now).await.unwrap();

    // The speakers whom it knows, and labels of some of their words.
    let mut known = 0.0;
    for _ in 0..20 {
        known = field.day(&before).await;
    }
    assert!(
        field.ladder().await.is_none(),
        "{:#?}",
        field.ladder().await
    );
    field.label(&before, 12).await;
    // Whoever comes next does so later: the first report of them may be an alert, and labels of before it are of before.
    field.pass(60_000);

    // Others come.
    let drifted = field.day(&to_learn).await;
    let ladder = field
        .days(&to_learn, |ladder| ladder.rung() == Some(Rung::Round))
        .await;
    let target = ladder.target.expect("labels say how right it was");
    println!("right about {known:.3}, and {target:.3} by labels; of new voices {drifted:.3}");
    assert!(target >= 0.9 && drifted < target - 0.1);

    // A round: what they have is of before; labels come; sums go up.
    field.connect().await;
    field.label(&to_learn, 8).await;
    let is_summed = |ladder: &Ladder| !matches!(ladder.phase, Phase::Gathering { .. });
    field.days(&to_learn, is_summed).await;
    let ladder = field
        .until(|ladder| !matches!(ladder.phase, Phase::Running { .. }))
        .await;
    let sums = ladder.device_bytes;
    println!(
        "a round cost {sums} bytes a device: {}",
        ladder.steps.last().unwrap().what
    );
    assert!(sums > 0);
    let mut by_round = None;
    if matches!(ladder.phase, Phase::Shipping { .. }) {
        field
            .days(&to_learn, |ladder| {
                matches!(ladder.phase, Phase::Judging { .. })
            })
            .await;
        field.label(&to_judge, 12).await;
        field.pass(60_000);
        let ladder = field
            .until(|ladder| !matches!(ladder.phase, Phase::Judging { .. }))
            .await;
        by_round = ladder.best;
        println!(
            "{}",
            ladder
                .steps
                .iter()
                .rfind(|step| step.what.contains("later labels"))
                .unwrap()
                .what
        );
    }
    // It was not enough, or a gate said no: windows are ordered, of devices that are back if it was taken back.
    let is_ordered =
        |ladder: &Ladder| ladder.end().is_some() || matches!(ladder.phase, Phase::Labelling { .. });
    let ladder = field.days(&to_learn, is_ordered).await;
    assert_eq!(ladder.end(), None, "{ladder:#?}");
    field.dice = 1;
    for _ in 0..8 {
        field.day(&to_learn).await;
        field.pass(120_000);
        field.connect().await;
    }
    let orders = annotation::list(&field.fleet.db, 99).await.unwrap();
    let whole = orders.iter().filter(|order| order.parcel.is_some()).count();
    assert_eq!(whole, usize::from(DEVICES), "{orders:#?}");

    // The annotator opens them, listens, and says what each is.
    let folder = root.join("to-label");
    let shown = folder.display().to_string();
    tinyops(root, &["annotate", "open", &shown]).await;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 8 * usize::from(DEVICES));
    for file in &files {
        let label = heard(file, &to_learn).to_string();
        let name = file.file_name().unwrap().to_str().unwrap();
        let group = format!("device-{}", name.split('-').next().unwrap());
        let shown = file.display().to_string();
        tinyops(
            root,
            &["data", "add", &shown, "--label", &label, "--group", &group],
        )
        .await;
    }
    let ladder = field
        .until(|ladder| {
            !matches!(
                ladder.phase,
                Phase::Labelling { .. } | Phase::Running { .. }
            )
        })
        .await;
    assert!(
        matches!(ladder.phase, Phase::Shipping { .. }),
        "{ladder:#?}"
    );
    field
        .days(&to_judge, |ladder| {
            matches!(ladder.phase, Phase::Judging { .. })
        })
        .await;
    field.label(&to_judge, 12).await;
    field.pass(60_000);
    let ladder = field.until(|ladder| ladder.end().is_some()).await;
    let after = field.day(&to_judge).await;
    for step in &ladder.steps {
        println!(
            "level {}: {}",
            step.rung
                .map_or("-".to_owned(), |rung| rung.level().to_string()),
            step.what
        );
    }
    println!(
        "new voices: {drifted:.3} before, {by_round:?} by the round, {after:.3} after; {} bytes a device",
        ladder.device_bytes
    );
    // Whatever the verdict, it is what labels say.
    let best = ladder.best.expect("a version was kept");
    let is_enough = best >= target - 0.02;
    let end = if is_enough {
        End::Repaired
    } else {
        End::Unrepaired
    };
    assert_eq!(ladder.end(), Some(end));
    let is_kept = ladder.kept.iter().any(|(rung, _)| *rung == Rung::Windows);
    assert_eq!(
        is_kept,
        by_round.is_none_or(|round| best > round),
        "{ladder:#?}"
    );
    let rollouts = rollout::of_model(&field.fleet.db, "digits").await.unwrap();
    let newest = rollouts.iter().max_by_key(|rollout| rollout.id).unwrap();
    assert_eq!(
        newest.state == RolloutState::Halted,
        !is_kept,
        "{newest:#?}"
    );
    assert!(after > drifted + 0.1, "{drifted} before, {after} after");
    assert!(ladder.device_bytes > 8 * 32_000 && ladder.device_bytes < 400_000);
    // All of it is in the records, and nothing of a window was sent in the clear.
    let triggers = trigger::list(&field.fleet.db, 9).await.unwrap();
    let kinds: Vec<&str> = triggers
        .iter()
        .rev()
        .map(|asked| asked.kind.as_str())
        .collect();
    assert_eq!(kinds, ["resolve-head", "train"]);
    assert!(
        triggers.iter().all(|asked| asked.detail["repair"] == 1),
        "{triggers:#?}"
    );
    let log = audit::list(&field.fleet.db, 10_000).await.unwrap();
    let steps = log
        .iter()
        .filter(|entry| entry.action == "repair.step")
        .count();
    assert!(steps + 1 >= ladder.steps.len() - 1, "{steps}");
    assert!(
        field
            .units
            .iter()
            .all(|unit| unit.device.traffic().raw_windows == 0)
    );
    running.stop().await;
}
