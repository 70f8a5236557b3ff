//! Rounds of a fleet that tells its statistics under masks: what the helper opens is the sum of what devices hold, of
//! exactly those that told all of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tinyops_device::{Budgets, Config, Masked, Privacy};
use tinyops_fleet::helper::SumRequest;
use tinyops_fleet::label::LabelWish;
use tinyops_fleet::masked::{Mode, PrivacyPolicy};
use tinyops_fleet::round::RoundPolicy;
use tinyops_fleet::{Event, Policy};
use tinyops_nn::statistics::{ClassStatistics, cell_count};
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::round::{self, Round, RoundState};
use tinyops_store::{Digest, masked_update, privacy};
use tinyops_wire::Downlink;
use tinyops_wire::downlink::{Command, Label, MaskedRequest};
use tinyops_wire::mask::Task;
use tinyops_wire::masked::{
    Content, MaskedPart, PartHead, part_len, quantize, update_unit, update_value,
};

use crate::fixture::{self, Bench, Recipe, blank_flash, model_of};
use crate::masked::{Away, aided, hello};
use crate::world::{DAY, HOUR, World};

const CLASSES: usize = 2;
const WIDTH: usize = 4;

/// A fleet whose devices hold labelled statistics.
pub(crate) struct Labelled {
    pub(crate) world: World,
    helper: Arc<Away>,
    cells: Vec<Vec<i64>>,
    pub(crate) requests: Vec<Option<MaskedRequest>>,
    _folder: tempfile::TempDir,
}

impl Labelled {
    pub(crate) async fn new(device_count: u64, privacy: PrivacyPolicy, gather_ms: i64) -> Labelled {
        let policy = Policy {
            privacy: PrivacyPolicy {
                mode: Mode::Masked,
                ..privacy
            },
            round: RoundPolicy {
                gather_ms,
                frame_bytes: 40,
                open_on_alert: false,
                ..RoundPolicy::default()
            },
            ..Policy::default()
        };
        let (mut world, helper, folder) = aided(device_count, policy).await;
        let mut cells = Vec::new();
        for device in &mut world.devices {
            // Each has seen one class more than the other.
            let windows = 8 + (device.noise.uniform() * 8.0) as usize;
            let favourite = device.noise.uniform();
            let mut sums = vec![0; Content::Gram.len(CLASSES, WIDTH)];
            for _ in 0..windows {
                let class = usize::from(device.noise.uniform() > favourite);
                let centre = [60.0, -60.0][class];
                let embedding: Vec<i64> = (0..WIDTH)
                    .map(|_| (centre + 20.0 * device.noise.next()).clamp(-128.0, 127.0) as i64)
                    .collect();
                label(&mut sums, class, &embedding);
            }
            cells.push(sums);
        }
        Labelled {
            world,
            helper,
            cells,
            requests: vec![None; device_count as usize],
            _folder: folder,
        }
    }

    pub(crate) async fn open(&mut self) -> Round {
        let model = self.world.devices[0].model;
        let (fleet, now) = (&self.world.fleet, self.world.now);
        fleet
            .open_round(model, None, "test", "", now)
            .await
            .unwrap()
    }

    /// Every device reads what it is owed; how many were told to begin anew.
    pub(crate) async fn read(&mut self) -> usize {
        let ids = self.world.ids();
        let owed = self.world.fleet.owed_many(&ids, self.world.now);
        let mut forgotten = 0;
        for (id, messages) in owed.await.unwrap() {
            let index = ids.iter().position(|other| *other == id).unwrap();
            for message in messages {
                match self.world.devices[index].open(&message) {
                    Downlink::MaskedRequest(request) => self.requests[index] = Some(request),
                    Downlink::Command(Command::Forget) => forgotten += 1,
                    Downlink::Task(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        forgotten
    }

    /// What a device answers, part by part, as its agent does.
    pub(crate) fn answer(&mut self, index: usize) -> Vec<Vec<u8>> {
        self.answer_as(index, WIDTH, self.cells[index].clone())
    }

    fn answer_as(&mut self, index: usize, width: usize, cells: Vec<i64>) -> Vec<Vec<u8>> {
        let sequence = self.world.devices[index].sequence + 1;
        self.answer_from(index, sequence, width, cells)
    }

    /// The same, under the masks of the envelope with this number.
    fn answer_from(
        &mut self,
        index: usize,
        sequence: u32,
        width: usize,
        cells: Vec<i64>,
    ) -> Vec<Vec<u8>> {
        let request = self.requests[index].expect("it was asked");
        assert_eq!(request.content, Content::Gram);
        let device = &mut self.world.devices[index];
        let task = request.task;
        let per_part = part_len(request.frame_bytes.into(), task.ring_bits);
        let head = PartHead {
            task: task.number,
            ring_bits: task.ring_bits,
            part_count: cells.len().div_ceil(per_part) as u8,
            sequence,
            content: request.content,
            class_count: CLASSES as u8,
            width: width as u16,
        };
        let part = |part: u8| {
            let masks = self.helper.helper.mask_key(device.row.id);
            let masks = masks.masks(&task, sequence);
            let values = quantized(&task, width, &cells);
            let mut out = [0; 40];
            let len =
                MaskedPart::encode(head, part, per_part, &task, values, masks, &mut out).unwrap();
            device.seal(&out[..len])
        };
        (0..head.part_count).map(part).collect()
    }

    pub(crate) async fn turn(&self) -> Vec<Event> {
        self.world.fleet.turn(self.world.now).await.unwrap()
    }

    pub(crate) async fn round(&self, id: round::RoundId) -> Round {
        round::get(&self.world.fleet.db, id).await.unwrap().unwrap()
    }

    /// The values of the artifact that a round was closed with.
    pub(crate) async fn values(&self, events: &[Event]) -> Vec<i64> {
        let [Event::RoundClosed { round, .. }, Event::Triggered(wanted)] = events else {
            panic!("{events:?}");
        };
        assert_eq!(wanted.kind, "resolve-head");
        assert_eq!(wanted.payload, round.statistics);
        let digest = round.statistics.unwrap();
        let artifact = self.world.fleet.artifacts.get(&digest);
        let artifact: serde_json::Value = serde_json::from_slice(&artifact.await.unwrap()).unwrap();
        assert_eq!(artifact["devices"], round.device_count);
        assert_eq!(
            (&artifact["class_count"], &artifact["width"]),
            (&2.into(), &4.into())
        );
        let values = artifact["values"].as_array().unwrap();
        values.iter().map(|value| value.as_i64().unwrap()).collect()
    }

    /// The sum of what these devices hold, and how far rounding may move each number of it.
    fn plain(&self, devices: &[usize]) -> Vec<(i64, f64)> {
        let task = self.requests[devices[0]].unwrap().task;
        let len = self.cells[0].len();
        let steps = task.steps_per_unit(len).unwrap();
        let sum = |index: usize| {
            devices
                .iter()
                .map(|device| self.cells[*device][index])
                .sum()
        };
        let bound = |index: usize| {
            0.5 + devices.len() as f64 / 2.0 / steps * update_unit(index, CLASSES, WIDTH)
        };
        (0..len).map(|index| (sum(index), bound(index))).collect()
    }

    pub(crate) fn assert_is_sum(&self, values: &[i64], devices: &[usize]) {
        let plain = self.plain(devices);
        assert_eq!(values.len(), plain.len());
        for (index, (value, (expected, bound))) in values.iter().zip(plain).enumerate() {
            let off = (value - expected).abs() as f64;
            assert!(
                off <= bound,
                "number {index}: {value}, and {expected} ± {bound}"
            );
        }
    }
}

/// Adds a labelled embedding to a device's cells.
fn label(cells: &mut [i64], class: usize, embedding: &[i64]) {
    let width = embedding.len();
    cells[class] += 1;
    let mut at = CLASSES + CLASSES * width;
    for (row, value) in embedding.iter().enumerate() {
        cells[CLASSES + class * width + row] += value;
        for other in &embedding[row..] {
            cells[at] += value * other;
            at += 1;
        }
    }
}

fn quantized(task: &Task, width: usize, cells: &[i64]) -> impl Iterator<Item = i32> {
    let values = cells
        .iter()
        .enumerate()
        .map(|(index, cell)| update_value(index, *cell, CLASSES, width));
    let values: Vec<i32> = quantize(task, values).unwrap().collect();
    values.into_iter()
}

pub(crate) fn without_noise() -> PrivacyPolicy {
    PrivacyPolicy {
        noise: 0.0,
        ..PrivacyPolicy::default()
    }
}

fn with_noise(noise: f64) -> PrivacyPolicy {
    PrivacyPolicy {
        noise,
        ..PrivacyPolicy::default()
    }
}

#[tokio::test]
async fn a_round_under_masks_opens_to_the_sum_of_what_devices_hold() {
    let mut fleet = Labelled::new(22, without_noise(), 2 * DAY).await;
    let id = fleet.open().await.id;
    // A console that knows nothing of the project's privacy may have opened it.
    let db = fleet.world.fleet.db.clone();
    let tx = db.begin("test").await.unwrap();
    let mut of_console = fleet.round(id).await;
    of_console.device_count_min = 8;
    round::put(&tx, &mut of_console).await.unwrap();
    tx.commit().await.unwrap();
    // Cleared first, then asked: that is so under masks, too.
    assert_eq!(fleet.read().await, 22);
    assert!(fleet.requests.iter().all(Option::is_none));
    fleet.world.now = fleet.world.now.plus_ms(2 * DAY);
    fleet.turn().await;
    assert_eq!(fleet.round(id).await.device_count_min, 20);
    assert_eq!(fleet.read().await, 0);
    let mut sent = 0;
    for index in 0..22 {
        let mut parts = fleet.answer(index);
        assert!(parts.len() > 2);
        // In any order, and again.
        parts.rotate_left(index % 3);
        parts.push(parts[0].clone());
        sent += parts.len();
        fleet.world.send(&parts).await;
    }
    let sums = masked_update::of_round(&db, id).await.unwrap();
    assert_eq!((sums.len(), sums[0].device_count), (1, 22));
    assert_eq!(sums[0].numbers.len(), 4 * fleet.cells[0].len());
    let told = round::contributions(&db, id).await.unwrap();
    assert!(
        told.iter().all(|part| part.whole && part.bytes.len() == 53),
        "who told is kept, and nothing of what"
    );
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    fleet.assert_is_sum(&values, &(0..22).collect::<Vec<_>>());
    let Event::RoundClosed {
        round,
        window_count,
        bytes,
    } = &events[0]
    else {
        panic!("{events:?}");
    };
    assert_eq!(
        (round.device_count, *window_count),
        (22, 22 * 8),
        "as many as they have at least: nobody has counted them"
    );
    assert!(values[0] + values[1] > 22 * 8);
    assert_eq!(round.detail["windows_min"], 22 * 8);
    assert_eq!(round.detail["windows of class 0"], serde_json::Value::Null);
    let Event::Triggered(wanted) = &events[1] else {
        panic!("{events:?}");
    };
    assert_eq!(wanted.detail["window_count"], 22 * 8);
    let [episode] = fleet
        .world
        .fleet
        .episodes(9)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    let moments = episode.moments();
    let is_said = moments
        .iter()
        .any(|moment| moment.what.contains("over at least 176 labelled windows"));
    assert!(is_said, "{moments:?}");
    assert!(
        *bytes > 20 * sent as i64 && *bytes <= 40 * sent as i64,
        "{bytes}"
    );
    assert_eq!(round::contributions(&db, id).await.unwrap(), []);
    assert_eq!(masked_update::of_round(&db, id).await.unwrap(), []);
    let paid = privacy::paid(&db, fleet.world.devices[0].row.id);
    let paid = paid.await.unwrap();
    assert_eq!((&*paid[0].purpose, paid[0].micro_rho), ("update", 0));
}

#[tokio::test]
async fn a_device_that_lost_a_part_is_not_in_the_sum() {
    let mut fleet = Labelled::new(23, without_noise(), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    let lost = [4, 11];
    for index in 0..23 {
        let mut parts = fleet.answer(index);
        if lost.contains(&index) {
            parts.remove(index % 3);
        }
        fleet.world.send(&parts).await;
    }
    assert_eq!(fleet.turn().await, [], "two may still answer");
    assert_eq!(fleet.round(id).await.device_count, 21);
    // One of them is asked again, and tells all of it anew; the old part that comes late now changes nothing.
    fleet.world.now = fleet.world.now.plus_ms(HOUR / 2);
    let late = fleet.answer(4);
    fleet.read().await;
    let parts = fleet.answer(4);
    fleet.world.send(&parts[..2]).await;
    fleet.world.send(&late).await;
    fleet.world.send(&parts[2..]).await;
    fleet.world.now = fleet.world.now.plus_ms(HOUR);
    let values = fleet.turn().await;
    let values = fleet.values(&values).await;
    let told: Vec<usize> = (0..23).filter(|index| *index != 11).collect();
    fleet.assert_is_sum(&values, &told);
}

#[tokio::test]
async fn fewer_devices_than_a_sum_takes_are_never_asked_for() {
    let mut fleet = Labelled::new(24, without_noise(), 0).await;
    let opened = fleet.open().await;
    assert_eq!(opened.device_count_min, 20);
    fleet.read().await;
    for index in 0..24 {
        let parts = fleet.answer(index);
        // Five tell most of it.
        let told = if index < 19 {
            parts.len()
        } else {
            parts.len() - 1
        };
        fleet.world.send(&parts[..told]).await;
    }
    fleet.world.now = fleet.world.now.plus_ms(DAY);
    assert_eq!(fleet.turn().await, []);
    fleet.world.now = fleet.world.now.plus_ms(2 * DAY);
    let events = fleet.turn().await;
    assert!(
        matches!(&events[..], [Event::RoundAbandoned(_)]),
        "{events:?}"
    );
    assert_eq!(fleet.helper.asked_count.load(Ordering::Relaxed), 0);
    let db = &fleet.world.fleet.db;
    assert_eq!(masked_update::of_round(db, opened.id).await.unwrap(), []);
}

#[tokio::test]
async fn while_the_helper_is_away_the_round_waits_with_the_same_devices() {
    let mut fleet = Labelled::new(22, without_noise(), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    for index in 0..21 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    fleet.helper.is_away.store(true, Ordering::Relaxed);
    fleet.world.now = fleet.world.now.plus_ms(2 * HOUR);
    assert_eq!(fleet.turn().await, []);
    let waits = fleet.round(id).await;
    assert_eq!((waits.state, waits.device_count), (RoundState::Opening, 21));
    assert!(waits.detail["waits"].as_str().unwrap().contains("no route"));
    // One that comes now is not in it, nobody is asked any more, and the helper is left alone for a while.
    let late = fleet.answer(21);
    fleet.world.send(&late).await;
    fleet.requests = fleet.requests.iter().map(|_| None).collect();
    fleet.world.now = fleet.world.now.plus_ms(1);
    assert_eq!((fleet.read().await, fleet.turn().await), (0, vec![]));
    assert!(fleet.requests.iter().all(Option::is_none));
    assert_eq!(fleet.helper.asked_count.load(Ordering::Relaxed), 1);
    // Past the deadline it waits on: what devices have paid for is not lost.
    fleet.world.now = fleet.world.now.plus_ms(7 * DAY);
    fleet.helper.is_away.store(false, Ordering::Relaxed);
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    assert_eq!(
        fleet.round(id).await.detail["waits"],
        serde_json::Value::Null
    );
    let model = fleet.world.devices[0].model;
    let task = Task {
        number: id.0 as u16,
        ..task_of_round(&fleet.round(id).await)
    };
    assert_eq!(task.model, model);
    fleet.requests = vec![
        Some(MaskedRequest {
            task,
            content: Content::Gram,
            frame_bytes: 40,
            forget: false,
        });
        22
    ];
    fleet.assert_is_sum(&values, &(0..21).collect::<Vec<_>>());
}

fn task_of_round(round: &Round) -> Task {
    let hex = round.detail["task"].as_str().unwrap();
    let bytes: Vec<u8> = (0..16)
        .map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap())
        .collect();
    Task::decode(&bytes.try_into().unwrap()).unwrap()
}

#[tokio::test]
async fn a_helper_that_refuses_ends_the_round_and_says_why() {
    let mut fleet = Labelled::new(20, without_noise(), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    let mut first = 0;
    for index in 0..20 {
        first = fleet.world.devices[index].sequence + 1;
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    // The same reports are in another sum: the difference of the two could be of few devices.
    let request = SumRequest {
        task: fleet.requests[0].unwrap().task,
        value_count: 3,
        reports: fleet
            .world
            .ids()
            .into_iter()
            .map(|id| (id, first))
            .collect(),
    };
    fleet.helper.helper.sum(&request).unwrap();
    fleet.helper.is_away.store(true, Ordering::Relaxed);
    assert_eq!(fleet.turn().await, []);
    fleet.helper.is_away.store(false, Ordering::Relaxed);
    fleet.world.now = fleet.world.now.plus_ms(10_000);
    let events = fleet.turn().await;
    assert!(
        matches!(&events[..], [Event::RoundAbandoned(_)]),
        "{events:?}"
    );
    let why = fleet.round(id).await.detail["abandoned"].to_string();
    assert!(why.contains("another sum"), "{why}");
    let db = &fleet.world.fleet.db;
    assert_eq!(round::contributions(db, id).await.unwrap(), []);
    // It has answered: should it fall silent now, it is asked again as soon as one that was never silent.
    fleet.open().await;
    fleet.world.now = fleet.world.now.plus_ms(HOUR);
    fleet.read().await;
    for index in 0..20 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    fleet.helper.is_away.store(true, Ordering::Relaxed);
    for asked in [3, 4] {
        fleet.turn().await;
        assert_eq!(fleet.helper.asked_count.load(Ordering::Relaxed), asked);
        fleet.world.now = fleet.world.now.plus_ms(10_000);
    }
}

#[tokio::test]
async fn noise_moves_the_sum_by_as_much_as_it_says_and_costs_what_it_costs() {
    let mut fleet = Labelled::new(40, with_noise(2.0), 0).await;
    fleet.open().await;
    fleet.read().await;
    for index in 0..40 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    let task = fleet.requests[0].unwrap().task;
    assert_eq!(task.noise_tenths, 20);
    let sd = task.noise_sd() / task.steps_per_unit(values.len()).unwrap();
    let all: Vec<usize> = (0..40).collect();
    let mut worst = 0.0_f64;
    for (index, (value, (expected, rounding))) in values.iter().zip(fleet.plain(&all)).enumerate() {
        let unit = update_unit(index, CLASSES, WIDTH);
        let off = ((value - expected).abs() as f64 - rounding).max(0.0) / (sd * unit);
        worst = worst.max(off);
    }
    assert!((0.5..6.0).contains(&worst), "{worst} standard deviations");
    let paid = privacy::paid(&fleet.world.fleet.db, fleet.world.devices[7].row.id);
    assert_eq!(paid.await.unwrap()[0].micro_rho, 125_000);
}

#[tokio::test]
async fn noise_that_is_louder_than_the_fleet_makes_no_head() {
    // As many as could be heard if they held nothing but counts; they hold embeddings, too.
    let mut fleet = Labelled::new(21, with_noise(5.0), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    for index in 0..21 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    let events = fleet.turn().await;
    assert_eq!(fleet.helper.asked_count.load(Ordering::Relaxed), 1);
    assert!(
        matches!(&events[..], [Event::RoundAbandoned(_)]),
        "{events:?}"
    );
    let why = fleet.round(id).await.detail["abandoned"].to_string();
    assert!(why.contains("louder"), "{why}");
}

#[tokio::test]
async fn nobody_is_asked_for_what_so_few_devices_cannot_be_heard_with() {
    for (gather_ms, noise, opens) in [(0, 20.0, false), (DAY, 20.0, false), (DAY, 4.0, true)] {
        let mut fleet = Labelled::new(20, with_noise(noise), gather_ms).await;
        let id = fleet.open().await.id;
        fleet.read().await;
        fleet.world.now = fleet.world.now.plus_ms(gather_ms);
        fleet.turn().await;
        fleet.read().await;
        let round = fleet.round(id).await;
        assert_eq!(fleet.requests.iter().any(Option::is_some), opens, "{noise}");
        assert_eq!(round.state == RoundState::Gathering, opens);
        let why = round.detail["abandoned"].as_str().unwrap_or_default();
        assert_eq!(why.contains("fewer devices"), !opens, "{why}");
    }
}

#[tokio::test]
async fn a_device_that_was_asked_is_not_asked_to_pay_again_because_of_other_news() {
    let mut fleet = Labelled::new(22, without_noise(), 0).await;
    fleet.open().await;
    fleet.read().await;
    assert!(fleet.requests.iter().all(Option::is_some));
    let id = fleet.world.devices[0].row.id;
    let wish = LabelWish {
        class: "worn",
        windows: 4,
        within_ms: HOUR,
        why: "the bearing was changed",
    };
    let now = fleet.world.now;
    fleet
        .world
        .fleet
        .label(id, &wish, "ana", now)
        .await
        .unwrap();
    fleet.requests.fill(None);
    let news = fleet.world.fleet.owed_many(&[id], now).await.unwrap();
    let news = news.iter().flat_map(|(_, messages)| messages);
    let news: Vec<Downlink<'_>> = news
        .map(|message| fleet.world.devices[0].open(message))
        .collect();
    assert!(matches!(news[..], [Downlink::Label(_)]), "{news:?}");
    // Nor when it asks, which a device may do at every report.
    let asked = fleet.world.fleet.owed(id, now).await.unwrap();
    let is_request = |message: &Vec<u8>| {
        matches!(
            fleet.world.devices[0].open(message),
            Downlink::MaskedRequest(_)
        )
    };
    assert!(!asked.iter().any(is_request));
    // One that has not answered for a while may have missed it.
    let later = now.plus_ms(Policy::default().owed.again_after_ms);
    let asked = fleet.world.fleet.owed(id, later).await.unwrap();
    assert!(asked.iter().any(is_request));
}

#[tokio::test]
async fn a_device_of_another_width_keeps_nobody_out() {
    let mut fleet = Labelled::new(22, without_noise(), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    let cells = vec![3; Content::Gram.len(CLASSES, 3)];
    let other = fleet.answer_as(0, 3, cells);
    fleet.world.send(&other).await;
    for index in 1..22 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    let sums = masked_update::of_round(&fleet.world.fleet.db, id).await;
    assert_eq!(sums.unwrap().len(), 2);
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    fleet.assert_is_sum(&values, &(1..22).collect::<Vec<_>>());
}

#[tokio::test]
async fn devices_that_claim_four_other_widths_first_shut_nobody_out() {
    let mut fleet = Labelled::new(29, without_noise(), 0).await;
    let id = fleet.open().await.id;
    fleet.read().await;
    let tell_as = async |fleet: &mut Labelled, index: usize, width: usize| {
        let cells = match width {
            WIDTH => fleet.cells[index].clone(),
            _ => vec![3; Content::Gram.len(CLASSES, width)],
        };
        let parts = fleet.answer_as(index, width, cells);
        fleet.world.send(&parts).await;
    };
    for (index, width) in [(0, 2), (1, 3), (2, 5), (3, 6)] {
        tell_as(&mut fleet, index, width).await;
    }
    // The first of the model's own width is alone in its sum until the last of these, which makes it go again.
    for (index, width) in [(4, WIDTH), (5, 2), (6, 3), (7, 1), (8, 6)] {
        tell_as(&mut fleet, index, width).await;
    }
    for index in 9..29 {
        tell_as(&mut fleet, index, WIDTH).await;
    }
    let sums = masked_update::of_round(&fleet.world.fleet.db, id).await;
    let sums = sums.unwrap();
    let own = sums.iter().find(|sum| sum.width as usize == WIDTH).unwrap();
    assert_eq!((sums.len(), own.device_count), (4, 20));
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    fleet.assert_is_sum(&values, &(9..29).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_device_that_names_an_envelope_to_come_takes_no_part() {
    let mut fleet = Labelled::new(21, without_noise(), 0).await;
    for expected in [20, 21] {
        let id = fleet.open().await.id;
        fleet.read().await;
        for index in 0..21 {
            let parts = match (index, expected) {
                // A number that its envelopes never reach: the helper would add up nothing of it that is older.
                (0, 20) => fleet.answer_from(0, u32::MAX, WIDTH, fleet.cells[0].clone()),
                _ => fleet.answer(index),
            };
            fleet.world.send(&parts).await;
        }
        fleet.world.now = fleet.world.now.plus_ms(DAY);
        let events = fleet.turn().await;
        fleet.values(&events).await;
        assert_eq!(fleet.round(id).await.device_count, expected);
    }
}

/// Devices above the clip weigh the same, and the sum stands for as many windows as they have at least.
#[tokio::test]
async fn a_loud_device_weighs_no_more_than_the_clip() {
    let privacy = PrivacyPolicy {
        update_clip: 4.0,
        ..without_noise()
    };
    let mut fleet = Labelled::new(20, privacy, 0).await;
    fleet.open().await;
    fleet.read().await;
    // One has a thousand times as much of the first class, and nothing else.
    let embedding = [60, 60, 60, 60];
    let mut loud = vec![0; fleet.cells[0].len()];
    (0..10_000).for_each(|_| label(&mut loud, 0, &embedding));
    fleet.cells[0] = loud;
    for index in 0..20 {
        let parts = fleet.answer(index);
        fleet.world.send(&parts).await;
    }
    let events = fleet.turn().await;
    let values = fleet.values(&events).await;
    assert!((158..=162).contains(&(values[0] + values[1])), "{values:?}");
    assert!(values[1] > 40, "it does not drown the others: {values:?}");
    // The mean of a class is what it is, whatever the weights.
    let mean = values[CLASSES + WIDTH] as f64 / values[1] as f64;
    assert!((-70.0..-50.0).contains(&mean), "{mean}");
}

/// The agents themselves, from their labelled windows to the sum that a head is solved from.
#[tokio::test]
async fn what_agents_tell_opens_to_the_sum_of_their_labelled_embeddings() {
    const AGENTS: u64 = 20;
    let mut fleet = Labelled::new(AGENTS, without_noise(), 0).await;
    let capsule = Recipe::default().capsule();
    let model = model_of(&capsule);
    let baseline = fixture::baseline(true, false);
    let row = Capsule {
        manifest_digest: Digest::of(b"manifest"),
        id: model,
        model: "agent".to_owned(),
        version: 1,
        board: "esp-eye".to_owned(),
        digest: Digest::of(&capsule),
        bytes: capsule.len() as u32,
        payload: Digest::of(b"payload"),
        sequence: 99,
        baseline,
        detail: serde_json::json!({}),
        created_at: fleet.world.now,
    };
    let tx = fleet.world.fleet.db.begin("test").await.unwrap();
    capsule::add(&tx, &row).await.unwrap();
    tx.commit().await.unwrap();
    let mut cells = vec![0_i64; cell_count(fixture::CLASSES, fixture::WINDOW)];
    let (mut agents, mut hellos) = (Vec::new(), Vec::new());
    for device in &mut fleet.world.devices {
        device.model = model;
        hellos.push(device.seal(&hello()));
        let config = Config {
            privacy: Privacy::Masked(Masked {
                key: fleet.helper.helper.mask_key(device.row.id),
                noise_tenths_min: 0,
                budgets: Budgets::default(),
            }),
            ..fixture::config()
        };
        let mut bench = Bench::new(config, blank_flash(capsule.clone()));
        for labelled in 1..=8 + device.row.id.0 % 3 {
            let class = (device.noise.uniform() * 3.0) as u8;
            let window = [labelled as f32 / 8.0, f32::from(class), 0.5, 0.0];
            bench.window(window);
            let embedding = window.map(|x| (x * 16.0).round() as i8 as u8);
            ClassStatistics::new(fixture::CLASSES, fixture::WINDOW, &mut cells[..])
                .unwrap()
                .add(class.into(), &embedding, 0)
                .unwrap();
            bench.run(tinyops_device::Event::Label(Label {
                class,
                windows_back: 1,
            }));
        }
        bench.reports.clear();
        agents.push(bench);
    }
    fleet.world.send(&hellos).await;
    fleet.open().await;
    fleet.read().await;
    let task = fleet.requests[0].unwrap().task;
    for (index, bench) in agents.iter_mut().enumerate() {
        bench.send(&Downlink::MaskedRequest(fleet.requests[index].unwrap()));
        assert!(bench.reports.len() > 1, "it takes several parts");
        let device = &mut fleet.world.devices[index];
        let parts: Vec<Vec<u8>> = bench
            .reports
            .iter()
            .map(|report| device.seal(&report.body))
            .collect();
        fleet.world.send(&parts).await;
    }
    let events = fleet.turn().await;
    let [Event::RoundClosed { round, .. }, Event::Triggered(_)] = &events[..] else {
        panic!("{events:?}");
    };
    let digest = round.statistics.unwrap();
    let artifact = fleet.world.fleet.artifacts.get(&digest).await.unwrap();
    let artifact: serde_json::Value = serde_json::from_slice(&artifact).unwrap();
    let steps = task.steps_per_unit(cells.len()).unwrap();
    for (index, cell) in cells.iter().enumerate() {
        let value = artifact["values"][index].as_i64().unwrap();
        let unit = update_unit(index, fixture::CLASSES, fixture::WINDOW);
        let bound = 0.5 + AGENTS as f64 / 2.0 / steps * unit;
        let off = (value - cell).abs() as f64;
        assert!(
            off <= bound,
            "number {index}: {value}, and {cell} ± {bound}"
        );
    }
}
