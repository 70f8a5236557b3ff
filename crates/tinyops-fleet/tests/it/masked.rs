//! Reports under masks: who asks for which sums, what the helper refuses, and what happens while it is away.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tinyops_fleet::helper::{Denied, Helper, SumRequest, mask_key};
use tinyops_fleet::masked::{Answer, Mode, NoSum, PrivacyPolicy, SumHelper};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::{Event, Policy, Refusal, Uplink};
use tinyops_store::drift::{self, Scope};
use tinyops_store::{DeviceId, ModelId, privacy};
use tinyops_wire::Downlink;
use tinyops_wire::frame::{Alarm, Features, Flags, Frame, Hello, Trust};
use tinyops_wire::mask::{Purpose, Task};
use tinyops_wire::masked::{MaskedReport, quantize};

use crate::world::{DAY, HOUR, Shift, World};

/// A helper that can be away.
#[derive(Debug)]
pub(crate) struct Away {
    pub(crate) helper: Helper,
    pub(crate) is_away: AtomicBool,
    pub(crate) asked_count: AtomicUsize,
}

impl Away {
    /// One that is there, over a folder of its own.
    pub(crate) fn new(folder: &std::path::Path) -> Arc<Away> {
        Arc::new(Away {
            helper: Helper::open(folder, &[5; 32], 0).unwrap(),
            is_away: AtomicBool::new(false),
            asked_count: AtomicUsize::new(0),
        })
    }
}

impl SumHelper for Away {
    fn sum<'a>(&'a self, request: &'a SumRequest) -> Answer<'a> {
        self.asked_count.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Box::pin(std::future::ready(Err(NoSum::Down("no route".to_owned()))));
        }
        SumHelper::sum(&self.helper, request)
    }
}

/// A fleet with a helper, which lives in the folder; its devices run a release and have said hello.
pub(crate) async fn aided(
    device_count: u64,
    policy: Policy,
) -> (World, Arc<Away>, tempfile::TempDir) {
    let mut world = World::new(device_count, policy).await;
    let folder = tempfile::tempdir().unwrap();
    let helper = Away::new(folder.path());
    world.fleet = world.fleet.clone().with_helper(Some(helper.clone()));
    let capsule = world.release().await;
    let mut hellos = Vec::new();
    for device in &mut world.devices {
        device.model = capsule.id;
        hellos.push(device.seal(&hello()));
    }
    world.send(&hellos).await;
    (world, helper, folder)
}

struct Hall {
    world: World,
    helper: Arc<Away>,
    tasks: Vec<Option<Task>>,
    _folder: tempfile::TempDir,
}

impl Hall {
    async fn new(device_count: u64, noise: f64) -> Hall {
        let policy = Policy {
            privacy: PrivacyPolicy {
                noise,
                ..PrivacyPolicy::default()
            },
            ..Policy::default()
        };
        let (world, helper, folder) = aided(device_count, policy).await;
        let tasks = vec![None; device_count as usize];
        let mut hall = Hall {
            world,
            helper,
            tasks,
            _folder: folder,
        };
        hall.tell().await;
        hall
    }

    /// Every device reads what it is owed.
    async fn tell(&mut self) {
        let ids = self.world.ids();
        for (id, messages) in self
            .world
            .fleet
            .owed_many(&ids, self.world.now)
            .await
            .unwrap()
        {
            let index = ids.iter().position(|other| *other == id).unwrap();
            for message in messages {
                if let Downlink::Task(task) = self.world.devices[index].open(&message) {
                    self.tasks[index] = Some(task);
                }
            }
        }
    }

    /// A day's report of a device whose first channel has moved.
    fn report(&mut self, index: usize, shift: f64) -> Vec<u8> {
        self.report_with(index, shift, Flags::default())
    }

    fn report_with(&mut self, index: usize, shift: f64, flags: Flags) -> Vec<u8> {
        let task = self.tasks[index].expect("it was told");
        let device = &mut self.world.devices[index];
        let values: Vec<f64> = (0..8)
            .map(|value| f64::from(u8::from(value == 0)) * shift + 0.1 * device.noise.next())
            .collect();
        let masks = self
            .helper
            .helper
            .mask_key(device.row.id)
            .masks(&task, device.sequence + 1);
        let values = quantize(&task, values.into_iter()).unwrap();
        let mut out = [0; 64];
        let flags = flags.with_privacy_class(3);
        let len = MaskedReport::encode(&task, flags, values, masks, &mut out).unwrap();
        device.seal(&out[..len])
    }

    /// Every device reports once a day later, and the fleet turns.
    async fn day(&mut self, shift: f64) -> Vec<Event> {
        let reports: Vec<Vec<u8>> = (0..self.tasks.len())
            .map(|index| self.report(index, shift))
            .collect();
        self.world.now = self.world.now.plus_ms(DAY);
        self.world.send(&reports).await;
        self.world.fleet.turn(self.world.now).await.unwrap()
    }
}

pub(crate) fn hello() -> Vec<u8> {
    hello_with(Features::MASKS)
}

pub(crate) fn hello_with(features: Features) -> Vec<u8> {
    let hello = Hello {
        boot_count: 1,
        sequence: 1,
        arena_bytes: 64,
        slot_bytes: 4096,
        board: "esp-eye",
        trust: Some(Trust {
            key_set: 1,
            features: Features::STATEMENTS.with(features),
        }),
    };
    let mut out = vec![0; 64];
    let len = Frame::Hello(hello).encode(&mut out).unwrap();
    out.truncate(len);
    out
}

fn judged(events: &[Event]) -> Vec<u32> {
    let counts = events.iter().filter_map(|event| match event {
        Event::SumJudged { device_count, .. } => Some(*device_count),
        _ => None,
    });
    counts.collect()
}

#[tokio::test]
async fn a_fleet_that_moves_is_seen_in_sums_alone() {
    let mut hall = Hall::new(25, 0.0).await;
    for day in 0..20 {
        let events = hall.day(0.0).await;
        // A sum closes when a device comes a second time.
        assert_eq!(
            judged(&events),
            if day == 0 { vec![] } else { vec![25] },
            "day {day}"
        );
        assert!(
            !events
                .iter()
                .any(|event| matches!(event, Event::AlertRaised(_))),
            "day {day}"
        );
    }
    let mut delay = 0;
    loop {
        delay += 1;
        assert!(delay < 4, "it is seen within three days");
        let events = hall.day(0.3).await;
        if events
            .iter()
            .any(|event| matches!(event, Event::AlertRaised(_)))
        {
            break;
        }
    }
    let device = hall.world.devices[3].row.id;
    let paid = privacy::paid(&hall.world.fleet.db, device).await.unwrap();
    assert_eq!(
        (paid[0].purpose.as_str(), paid[0].micro_rho),
        ("monitoring", 0)
    );
    assert_eq!(paid[0].budget_class, 3);
}

#[tokio::test]
async fn a_sensor_at_fault_is_said_under_masks_too_and_falls_with_a_sound_report() {
    let mut hall = Hall::new(20, 0.0).await;
    let scope = Scope::Device(hall.world.devices[3].row.id);
    let broken = Flags::NOT_FINITE;
    let mut raised = Vec::new();
    let mut states = Vec::new();
    for flags in [Flags::default(), broken, broken, Flags::default(), broken] {
        let report = hall.report_with(3, 0.0, flags);
        let (_, events) = hall.world.send(&[report]).await;
        for event in &events {
            let Event::AlertRaised(alert) = event else {
                panic!("{event:?}");
            };
            assert_eq!((&alert.scope, &*alert.advice), (&scope, "sensor-fault"));
            let resolved = hall
                .world
                .fleet
                .resolve(alert.id, "seen", "ana", hall.world.now);
            resolved.await.unwrap();
        }
        raised.push(events.len());
        // Whether its sums are judged or not, it is known after its first report.
        let state = drift::get(&hall.world.fleet.db, &scope).await.unwrap();
        states.push(state.unwrap().alarmed);
    }
    assert_eq!(raised, [0, 1, 0, 0, 1]);
    assert_eq!(states, [false, true, true, false, true]);
    // A heartbeat is in a report's place.
    let mut out = [0; 3];
    let flags = Flags::default().with_privacy_class(1);
    let frame = Frame::Alarm(Alarm { flags, moved: None });
    frame.encode(&mut out).unwrap();
    let heartbeat = hall.world.devices[3].seal(&out);
    hall.world.send(&[heartbeat]).await;
    let state = drift::get(&hall.world.fleet.db, &scope).await.unwrap();
    assert!(!state.unwrap().alarmed);
}

#[tokio::test]
async fn what_devices_pay_is_mirrored() {
    let mut hall = Hall::new(20, 20.0).await;
    assert_eq!(hall.tasks[0].unwrap().cost(), 1_250);
    for _ in 0..3 {
        hall.day(0.0).await;
    }
    let device = hall.world.devices[3].row.id;
    let paid = privacy::paid(&hall.world.fleet.db, device).await.unwrap();
    assert_eq!(paid[0].micro_rho, 3 * 1_250);
    // What the device itself says of its budget counts, whatever the server has added up.
    let spent = Alarm {
        flags: Flags::default().with_privacy_class(1),
        moved: None,
    };
    let mut out = [0; 3];
    Frame::Alarm(spent).encode(&mut out).unwrap();
    let heartbeat = hall.world.devices[3].seal(&out);
    hall.world.send(&[heartbeat]).await;
    let paid = privacy::paid(&hall.world.fleet.db, device).await.unwrap();
    assert_eq!((paid[0].budget_class, paid[0].micro_rho), (1, 3 * 1_250));
    // A new period begins anew.
    hall.world.now = hall.world.now.plus_ms(30 * DAY);
    hall.day(0.0).await;
    let paid = privacy::paid(&hall.world.fleet.db, device).await.unwrap();
    assert_eq!(paid[0].micro_rho, 1_250);
}

#[tokio::test]
async fn while_the_helper_is_away_reports_wait_and_none_is_lost() {
    let mut hall = Hall::new(22, 0.0).await;
    hall.helper.is_away.store(true, Ordering::Relaxed);
    for _ in 0..5 {
        assert!(judged(&hall.day(0.0).await).is_empty());
    }
    let open = privacy::open_sums(&hall.world.fleet.db).await.unwrap();
    assert_eq!(open.len(), 4);
    assert!(
        open.iter().all(|sum| sum.problem.contains("no route")),
        "{open:?}"
    );
    // One that is silent is asked for one sum a turn, and then left alone for a while.
    let asked = || hall.helper.asked_count.load(Ordering::Relaxed);
    assert_eq!(asked(), 4);
    hall.helper.is_away.store(false, Ordering::Relaxed);
    let events = hall.world.fleet.turn(hall.world.now).await.unwrap();
    assert_eq!((judged(&events), asked()), (vec![], 4));
    hall.world.now = hall.world.now.plus_ms(HOUR);
    let events = hall.world.fleet.turn(hall.world.now).await.unwrap();
    assert_eq!((judged(&events), asked()), (vec![22; 4], 8));
    // The fifth day's reports are alone, and are closed by time.
    hall.world.now = hall.world.now.plus_ms(DAY + HOUR);
    let events = hall.world.fleet.turn(hall.world.now).await.unwrap();
    assert_eq!(judged(&events), [22]);
    assert!(
        privacy::waiting(&hall.world.fleet.db)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn without_a_helper_sums_wait_and_say_so() {
    let mut hall = Hall::new(20, 0.0).await;
    hall.world.fleet = hall.world.fleet.clone().with_helper(None);
    for _ in 0..3 {
        assert!(judged(&hall.day(0.0).await).is_empty());
    }
    let open = privacy::open_sums(&hall.world.fleet.db).await.unwrap();
    let problems: Vec<&str> = open.iter().map(|sum| sum.problem.as_str()).collect();
    assert_eq!(problems, ["no helper is configured"; 2]);
}

#[tokio::test]
async fn two_servers_over_one_store_close_a_sum_once() {
    let mut hall = Hall::new(22, 0.0).await;
    let fleet = hall.world.fleet.clone().with_helper(None);
    let reports: Vec<Vec<u8>> = (0..22).map(|index| hall.report(index, 0.0)).collect();
    hall.world.send(&reports).await;
    let due = hall.world.now.plus_ms(DAY);
    // Both see what waits before either closes it.
    let (first, second) = tokio::join!(fleet.turn(due), fleet.turn(due));
    assert_eq!((first.unwrap(), second.unwrap()), (vec![], vec![]));
    let open = privacy::open_sums(&fleet.db).await.unwrap();
    let counts: Vec<u32> = open.iter().map(|sum| sum.device_count).collect();
    assert_eq!(counts, [22]);
}

#[tokio::test]
async fn too_few_devices_are_never_asked_for() {
    let mut hall = Hall::new(19, 0.0).await;
    for _ in 0..6 {
        assert!(judged(&hall.day(0.0).await).is_empty());
    }
    assert!(
        privacy::open_sums(&hall.world.fleet.db)
            .await
            .unwrap()
            .is_empty()
    );
    let mut dropped = None;
    for _ in 0..3 {
        for event in hall.day(0.0).await {
            if let Event::SumDropped {
                device_count,
                device_count_min,
                ..
            } = event
            {
                dropped = Some((device_count, device_count_min));
            }
        }
    }
    assert_eq!(dropped, Some((19, 20)), "and it is said");
}

#[tokio::test]
async fn a_fleet_of_sums_turns_away_what_is_said_in_the_clear() {
    let mut policy = Policy::default();
    policy.privacy.mode = Mode::Masked;
    let mut world = World::new(1, policy).await;
    world.devices[0].model = world.release().await.id;
    let heartbeat = Alarm {
        flags: Flags::default(),
        moved: None,
    };
    let mut out = [0; 3];
    Frame::Alarm(heartbeat).encode(&mut out).unwrap();
    let told = [
        world.devices[0].report(Shift::default()),
        world.devices[0].outcome(0, &[3, 1]),
        world.devices[0].seal(&hello()),
        world.devices[0].seal(&out),
    ];
    let uplinks: Vec<Uplink<'_>> = told
        .iter()
        .map(|bytes| Uplink { from: None, bytes })
        .collect();
    let (verdicts, _) = world.fleet.ingest_many(&uplinks, world.now).await.unwrap();
    let refusals: Vec<_> = verdicts.iter().map(|verdict| verdict.refusal).collect();
    let clear = Some(Refusal::Clear);
    assert_eq!(refusals, [clear, clear, None, None]);
}

#[tokio::test]
async fn a_report_played_again_counts_once() {
    let mut hall = Hall::new(20, 0.0).await;
    let reports: Vec<Vec<u8>> = (0..20).map(|index| hall.report(index, 0.2)).collect();
    hall.world.send(&reports).await;
    hall.world.send(&reports).await;
    let waiting = privacy::waiting(&hall.world.fleet.db).await.unwrap();
    assert_eq!((waiting[0].report_count, waiting[0].device_count), (20, 20));
    // One of another shape, or by another task, is not taken.
    let task = Task {
        number: 1,
        ..hall.tasks[0].unwrap()
    };
    hall.tasks[0] = Some(task);
    let strange = hall.report(0, 0.0);
    hall.world.send(&[strange]).await;
    let waiting = privacy::waiting(&hall.world.fleet.db).await.unwrap();
    assert_eq!(waiting[0].report_count, 20);
}

/// A hall in which some devices are behind with everything: their task after a boot, a newer model, their sums.
async fn hall_that_is_behind() -> Hall {
    let mut hall = Hall::new(20, 0.0).await;
    for index in [2, 5, 8] {
        let boot = hall.world.devices[index].seal(&hello());
        hall.world.send(&[boot]).await;
    }
    let (fleet, now) = (&hall.world.fleet, hall.world.now);
    let model = hall.world.devices[0].model;
    fleet
        .open_round(model, Some("hall"), "test", "", now)
        .await
        .unwrap();
    hall.world.release().await;
    fleet
        .start_rollout(&Wish::of("fan", 2), "ann", now)
        .await
        .unwrap();
    fleet.turn(now).await.unwrap();
    hall
}

/// What messages to a device are.
fn kinds(hall: &Hall, index: usize, messages: &[Vec<u8>]) -> Vec<String> {
    let kind = |message: &Vec<u8>| {
        let said = format!("{:?}", hall.world.devices[index].open(message));
        said.split(['(', ' ']).next().unwrap().to_owned()
    };
    messages.iter().map(kind).collect()
}

/// One device that connects is looked up alone, and the fleet at a tick together: it is told the same.
#[tokio::test]
async fn one_device_is_owed_alone_what_it_is_owed_among_all() {
    let (hall, twin) = (hall_that_is_behind().await, hall_that_is_behind().await);
    let ids = hall.world.ids();
    let mut told = HashSet::new();
    let all = hall.world.fleet.owed_many(&ids, hall.world.now);
    for (id, messages) in all.await.unwrap() {
        let index = ids.iter().position(|other| *other == id).unwrap();
        let among_all = kinds(&hall, index, &messages);
        let alone = twin.world.fleet.owed(id, twin.world.now).await.unwrap();
        assert_eq!(kinds(&twin, index, &alone), among_all, "device {index}");
        told.insert(among_all);
    }
    let forget = || "Command".to_owned();
    assert!(told.contains(&vec![forget()]), "{told:?}");
    assert!(
        told.contains(&vec![forget(), "Task".to_owned()]),
        "{told:?}"
    );
    assert!(
        told.iter().any(|kinds| kinds[0] == "Offer"),
        "somebody is offered the newer model: {told:?}"
    );
}

#[tokio::test]
async fn a_device_that_has_booted_is_told_again() {
    let mut hall = Hall::new(20, 0.0).await;
    assert!(hall.tasks.iter().all(Option::is_some));
    hall.tasks = vec![None; 20];
    hall.tell().await;
    assert!(hall.tasks.iter().all(Option::is_none), "it was told");
    let again = hall.world.devices[7].seal(&hello());
    hall.world.send(&[again]).await;
    hall.world.now = hall.world.now.plus_ms(HOUR);
    hall.tell().await;
    let told: Vec<usize> = (0..20)
        .filter(|index| hall.tasks[*index].is_some())
        .collect();
    assert_eq!(told, [7]);
}

fn task(noise_tenths: u16) -> Task {
    Task {
        purpose: Purpose::Monitoring,
        number: 3,
        model: ModelId(9),
        ring_bits: 13,
        norm_max: 15,
        clip: 0.53,
        noise_tenths,
    }
}

fn request(devices: impl IntoIterator<Item = u64>, sequence: u32, noise_tenths: u16) -> SumRequest {
    SumRequest {
        task: task(noise_tenths),
        value_count: 22,
        reports: devices
            .into_iter()
            .map(|device| (DeviceId(device), sequence))
            .collect(),
    }
}

fn helper(folder: &std::path::Path) -> Helper {
    Helper::open(folder, &[5; 32], 0).unwrap()
}

#[test]
fn the_helper_tells_the_sum_of_masks() {
    let folder = tempfile::tempdir().unwrap();
    let helper = helper(folder.path());
    let sums = helper.sum(&request(0..30, 4, 0)).unwrap();
    let mut expected = vec![0_u32; 22];
    for device in 0..30 {
        let masks = helper.mask_key(DeviceId(device)).masks(&task(0), 4);
        for (sum, mask) in expected.iter_mut().zip(masks) {
            *sum = (*sum + mask) % (1 << 13);
        }
    }
    assert_eq!(sums, expected);
    // With noise it is another, by about twenty times the longest report.
    let noisy = helper.sum(&request(0..30, 5, 200)).unwrap();
    let mut exact = [0_u32; 22];
    for device in 0..30 {
        let masks = helper.mask_key(DeviceId(device)).masks(&task(200), 5);
        exact
            .iter_mut()
            .zip(masks)
            .for_each(|(sum, mask)| *sum = sum.wrapping_add(mask));
    }
    let noise: Vec<i64> = exact
        .iter()
        .zip(&noisy)
        .map(|(exact, noisy)| task(200).signed(exact.wrapping_sub(*noisy)))
        .collect();
    let spread = (noise.iter().map(|x| x * x).sum::<i64>() as f64 / 22.0).sqrt();
    assert!((150.0..500.0).contains(&spread), "{noise:?}");
}

#[test]
fn the_helper_refuses_what_would_come_down_to_few() {
    let folder = tempfile::tempdir().unwrap();
    let helper = helper(folder.path());
    assert_eq!(
        helper.sum(&request(0..19, 1, 0)),
        Err(Denied::TooFew { found: 19 })
    );
    let mut twice = request(0..20, 1, 0);
    twice.reports[7] = (DeviceId(3), 2);
    assert_eq!(helper.sum(&twice), Err(Denied::Twice(DeviceId(3))));
    let first = helper.sum(&request(0..40, 1, 200)).unwrap();
    // The same again, in another order: the answer may have been lost. Its noise is the same, too.
    let mut again = request(0..40, 1, 200);
    again.reports.reverse();
    assert_eq!(helper.sum(&again), Ok(first));
    // One fewer, one more, or twenty others: differences with the first are of few, or can be put together of many.
    for other in [
        request(0..39, 1, 200),
        request(0..41, 1, 200),
        request(20..60, 1, 200),
        request(0..40, 1, 0),
    ] {
        assert!(matches!(helper.sum(&other), Err(Denied::Answered { .. })));
    }
    // What is not in any sum yet may still come.
    helper.sum(&request(40..60, 1, 200)).unwrap();
    // An older report than one that is summed is lost.
    let mut late = request(100..120, 5, 200);
    helper.sum(&late).unwrap();
    late.reports
        .iter_mut()
        .for_each(|(_, sequence)| *sequence = 4);
    assert!(matches!(helper.sum(&late), Err(Denied::Answered { .. })));
}

/// Four sets of which any two differ by forty devices come down to one device: a rule for pairs alone is not enough.
#[test]
fn sums_that_differ_by_many_cannot_be_put_together() {
    let (a, b, c, d, victim) = (0..20, 20..40, 40..60, 60..80, 99_u64);
    let set = |parts: &[std::ops::Range<u64>], one: Option<u64>| -> HashSet<u64> {
        parts.iter().cloned().flatten().chain(one).collect()
    };
    let sets = [
        set(&[a.clone(), b.clone()], Some(victim)),
        set(&[a, c.clone()], None),
        set(&[c, d.clone()], None),
        set(&[d, b], None),
    ];
    for (index, one) in sets.iter().enumerate() {
        for other in &sets[index + 1..] {
            assert!(one.symmetric_difference(other).count() >= 20);
        }
    }
    let mut left = std::collections::BTreeMap::new();
    for (index, set) in sets.iter().enumerate() {
        for device in set {
            *left.entry(*device).or_insert(0) += if index % 2 == 0 { 1 } else { -1 };
        }
    }
    left.retain(|_, weight| *weight != 0);
    assert_eq!(left.into_iter().collect::<Vec<_>>(), [(victim, 1)]);
    let folder = tempfile::tempdir().unwrap();
    let helper = helper(folder.path());
    let answers = sets
        .iter()
        .map(|set| helper.sum(&request(set.iter().copied(), 1, 0)))
        .filter(Result::is_ok)
        .count();
    // The first, and the one that shares nothing with it.
    assert_eq!(answers, 2);
}

#[test]
fn a_ring_that_could_overflow_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let helper = helper(folder.path());
    let found = 160;
    assert_eq!(
        helper.sum(&request(0..160, 1, 200)),
        Err(Denied::Overflow {
            found,
            ring_bits: 13
        }),
    );
    assert!(helper.sum(&request(0..160, 1, 0)).is_ok());
}

#[test]
fn what_was_answered_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = helper(folder.path()).sum(&request(0..30, 7, 200)).unwrap();
    {
        let at_work = helper(folder.path());
        let error = Helper::open(folder.path(), &[5; 32], 0).unwrap_err();
        assert!(error.to_string().contains("another helper"), "{error}");
        // A device's key can be had all the same.
        let key = mask_key(folder.path(), DeviceId(4)).unwrap();
        assert_eq!(key, Some(at_work.mask_key(DeviceId(4))));
    }
    for _ in 0..3 {
        // The second time what it reads is what the first one came to.
        let helper = helper(folder.path());
        assert_eq!(helper.sum(&request(0..30, 7, 200)), Ok(first.clone()));
        assert!(matches!(
            helper.sum(&request(0..29, 7, 200)),
            Err(Denied::Answered { .. })
        ));
    }
    let path = folder.path().join("answers.log");
    let log = std::fs::read_to_string(&path).unwrap();
    // A line that a crash cut short was never answered; one that is none of the helper's stops it.
    std::fs::write(&path, format!("{log}answered 00")).unwrap();
    assert!(helper(folder.path()).sum(&request(0..30, 8, 200)).is_ok());
    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("nonsense\n{log}")).unwrap();
    let error = Helper::open(folder.path(), &[5; 32], 0).unwrap_err();
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn a_helper_has_a_floor_of_noise_and_a_key_that_others_may_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let helper = Helper::open(folder.path(), &[5; 32], 200).unwrap();
    assert_eq!(
        helper.sum(&request(0..30, 1, 199)),
        Err(Denied::TooLittleNoise {
            found: 199,
            least: 200
        })
    );
    assert!(helper.sum(&request(0..30, 1, 200)).is_ok());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.path().join("helper.key");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Helper::open(folder.path(), &[5; 32], 0).is_err());
    }
}
