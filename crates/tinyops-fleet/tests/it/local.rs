//! Fleets without a helper: devices' own agents report under noise of their own, and a drift of all of them is seen.

use tinyops_device::{Budgets, Config, Local, Privacy, Reporting};
use tinyops_fleet::masked::{Mode, PrivacyPolicy};
use tinyops_fleet::{Event, FleetError, Policy, Refusal, Uplink};
use tinyops_store::alert;
use tinyops_store::capsule::{self, Capsule};
use tinyops_store::drift::Scope;
use tinyops_store::privacy;
use tinyops_store::round::{self, NewRound, RoundState};
use tinyops_store::{Digest, ModelId};
use tinyops_wire::frame::{Features, Flags, Frame};
use tinyops_wire::mask::{HelperKey, Task};
use tinyops_wire::masked::{MaskedReport, quantize};
use tinyops_wire::noise::NoiseKey;
use tinyops_wire::summary::Format;
use tinyops_wire::{Downlink, downlink};

use crate::fixture::{self, Bench, Recipe, blank_flash, model_of};
use crate::masked::hello_with;
use crate::world::{DAY, World};

const DAY_MS: u64 = 24 * 3_600_000;

fn policy(noise: f64) -> Policy {
    Policy {
        privacy: PrivacyPolicy {
            mode: Mode::Local,
            noise,
            ..PrivacyPolicy::default()
        },
        ..Policy::default()
    }
}

/// Devices that run the agent itself, each with a secret of its own.
struct Agents {
    world: World,
    benches: Vec<Bench>,
    /// Numbers for windows that scatter from day to day.
    day: u32,
}

impl Agents {
    async fn new(device_count: u64, noise: f64) -> Agents {
        let mut world = World::new(device_count, policy(noise)).await;
        let bytes = Recipe::default().capsule();
        let model = model_of(&bytes);
        let row = Capsule {
            manifest_digest: Digest::of(b"manifest"),
            id: model,
            model: "agent".to_owned(),
            version: 1,
            board: "esp-eye".to_owned(),
            digest: Digest::of(&bytes),
            bytes: bytes.len() as u32,
            payload: Digest::of(b"payload"),
            sequence: 99,
            baseline: fixture::baseline(true, false),
            detail: serde_json::json!({}),
            created_at: world.now,
        };
        let tx = world.fleet.db.begin("test").await.unwrap();
        capsule::add(&tx, &row).await.unwrap();
        tx.commit().await.unwrap();
        let mut benches = Vec::new();
        let mut hellos = Vec::new();
        for device in &mut world.devices {
            device.model = model;
            hellos.push(device.seal(&hello_with(Features::NOISES)));
            let id = device.row.id.0.to_le_bytes();
            let secret = core::array::from_fn(|index| id[index % 8] ^ index as u8);
            let config = Config {
                privacy: Privacy::Local(Local {
                    key: NoiseKey::new(secret, &device.row.key).unwrap(),
                    noise_tenths_min: (noise * 10.0) as u16,
                    // Thirty reports.
                    budgets: Budgets {
                        monitoring: 30 * (500_000.0 / (noise * noise)) as u32,
                        ..Budgets::default()
                    },
                }),
                reporting: Reporting {
                    every_windows: 8,
                    every_ms: 0,
                    format: Format::M6H8,
                },
                ..fixture::config()
            };
            benches.push(Bench::new(config, blank_flash(bytes.clone())));
        }
        world.send(&hellos).await;
        let mut agents = Agents {
            world,
            benches,
            day: 0,
        };
        // What is normal for each is learnt before anything is told.
        for _ in 0..14 {
            agents.windows(0.0);
        }
        agents
            .benches
            .iter_mut()
            .for_each(|bench| bench.reports.clear());
        agents.tell().await;
        agents
    }

    /// Every device reads what it is owed.
    async fn tell(&mut self) {
        let ids = self.world.ids();
        let owed = self.world.fleet.owed_many(&ids, self.world.now);
        for (id, messages) in owed.await.unwrap() {
            let index = ids.iter().position(|other| *other == id).unwrap();
            for message in messages {
                let message = self.world.devices[index].open(&message);
                assert!(matches!(message, Downlink::Task(_)), "{message:?}");
                self.benches[index].send(&message);
            }
        }
    }

    /// A day's windows of every device, which lie `shift` further on the first channel.
    fn windows(&mut self, shift: f32) {
        self.day += 1;
        for (index, bench) in self.benches.iter_mut().enumerate() {
            for window in 0..8_u8 {
                let x = f32::from(window % 4) / 4.0;
                let scatter = ((self.day as usize * 7 + index * 3) % 11) as f32 / 44.0;
                bench.window([x + scatter + shift, 1.0 - x, 0.5, 0.25]);
            }
        }
    }

    /// What every device has told of a day reaches the server, which turns a day later.
    async fn day(&mut self, shift: f32) -> Vec<Event> {
        self.windows(shift);
        let mut sealed = Vec::new();
        for (bench, device) in self.benches.iter_mut().zip(&mut self.world.devices) {
            bench.now_ms += DAY_MS;
            let told = bench.reports.drain(..);
            sealed.extend(told.map(|report| device.seal(&report.body)));
        }
        self.world.send(&sealed).await;
        self.world.now = self.world.now.plus_ms(DAY);
        self.tell().await;
        self.world.fleet.turn(self.world.now).await.unwrap()
    }
}

fn raised(events: &[Event]) -> Vec<&alert::Alert> {
    let alerts = events.iter().filter_map(|event| match event {
        Event::AlertRaised(alert) => Some(alert),
        _ => None,
    });
    alerts.collect()
}

#[tokio::test]
async fn a_drift_of_all_is_seen_through_the_noise_of_each_and_a_stable_fleet_is_let_be() {
    const DEVICES: u64 = 100;
    for shift in [0.0, 1.0] {
        let mut agents = Agents::new(DEVICES, 4.0).await;
        for day in 0..14 {
            let events = agents.day(0.0).await;
            let [
                Event::SumJudged {
                    device_count,
                    score,
                    ..
                },
            ] = events[..]
            else {
                panic!("day {day}: {events:?}");
            };
            assert_eq!((device_count, score), (DEVICES as u32, 0.0));
        }
        let mut seen = None;
        for day in 1..=14 {
            let events = agents.day(shift).await;
            let alerts = raised(&events);
            if let [alert] = alerts[..] {
                let model = agents.world.devices[0].model;
                assert_eq!(alert.scope, Scope::Cohort(format!("hall@{model}")));
                assert_ne!(alert.advice, "sensor-fault");
                seen = Some(day);
                break;
            }
        }
        match shift {
            0.0 => assert_eq!(seen, None),
            _ => assert!(seen.is_some_and(|day| day <= 5), "{seen:?}"),
        }
        // Nothing of one device is kept once it is added up, and what it paid is known.
        let db = &agents.world.fleet.db;
        assert!(privacy::waiting(db).await.unwrap().is_empty());
        let device = agents.world.devices[3].row.id;
        let [paid] = privacy::paid(db, device).await.unwrap().try_into().unwrap();
        assert_eq!(paid.purpose, "monitoring");
        assert_eq!(
            paid.micro_rho,
            31_250 * i64::from(14 + seen.unwrap_or(14)),
            "ρ = 1 / (2 z²) a report"
        );
    }
}

#[tokio::test]
async fn a_budget_that_is_spent_ends_in_heartbeats_and_the_server_knows() {
    let mut agents = Agents::new(20, 20.0).await;
    for day in 0..12 {
        // Three reports a day.
        agents.windows(0.0);
        agents.windows(0.0);
        let is_noised = |agents: &Agents| {
            let told = &agents.benches[0].reports;
            let kinds = told.iter().map(|report| Frame::decode(&report.body));
            kinds
                .filter(|kind| matches!(kind, Ok(Frame::NoisedReport(_))))
                .count()
        };
        assert_eq!(is_noised(&agents), if day < 10 { 2 } else { 0 }, "{day}");
        let events = agents.day(0.0).await;
        assert!(raised(&events).is_empty());
        let db = &agents.world.fleet.db;
        let device = agents.world.devices[0].row.id;
        let [paid] = privacy::paid(db, device).await.unwrap().try_into().unwrap();
        let reports = 3 * (day + 1).min(10);
        assert_eq!(paid.micro_rho, 1_250 * i64::from(reports));
        // What is left: half or more, less, not one more report.
        let class = match reports {
            0..=15 => 3,
            16..30 => 2,
            _ => 1,
        };
        assert_eq!(paid.budget_class, class, "{day}");
    }
}

#[tokio::test]
async fn too_few_devices_are_never_judged() {
    let mut agents = Agents::new(19, 5.0).await;
    for _ in 0..6 {
        assert_eq!(agents.day(0.0).await, []);
    }
    let dropped = agents.day(0.0).await;
    let [Event::SumDropped { device_count, .. }] = dropped[..] else {
        panic!("{dropped:?}");
    };
    assert_eq!(device_count, 19);
}

#[tokio::test]
async fn what_is_in_the_clear_or_under_masks_is_not_taken() {
    let mut world = World::new(20, policy(20.0)).await;
    let model = world.release().await.id;
    let mut hellos = Vec::new();
    for device in &mut world.devices {
        device.model = model;
        hellos.push(device.seal(&hello_with(Features::MASKS)));
    }
    world.send(&hellos).await;
    let clear = world.devices[0].report(crate::world::Shift::default());
    let clear = [Uplink {
        from: None,
        bytes: &clear,
    }];
    let taken = world.fleet.ingest_many(&clear, world.now).await;
    let (verdicts, _) = taken.unwrap();
    assert_eq!(verdicts[0].refusal, Some(Refusal::Clear));
    // No helper would open it, so no device is told to report so, and what comes all the same is not kept.
    let ids = world.ids();
    assert_eq!(world.fleet.owed_many(&ids, world.now).await.unwrap(), []);
    for mode in [Mode::Local, Mode::Masked] {
        let task = Task {
            ring_bits: 13,
            ..task_of(model)
        };
        let masks = HelperKey([3; 32]).mask_key(ids[0]).masks(&task, 9);
        let values = quantize(&task, [0.1; 8].into_iter()).unwrap();
        let mut out = [0; 64];
        let len = MaskedReport::encode(&task, Flags::default(), values, masks, &mut out).unwrap();
        // The kind alone tells the two apart.
        out[0] = if mode == Mode::Local {
            out[0]
        } else {
            14 | 1 << 4
        };
        let mut policy = policy(20.0);
        policy.privacy.mode = mode;
        let (db, artifacts) = (world.fleet.db.clone(), world.fleet.artifacts.clone());
        world.fleet = tinyops_fleet::Fleet::new(db, artifacts, policy);
        let report = world.devices[0].seal(&out[..len]);
        world.send(&[report]).await;
        assert!(privacy::waiting(&world.fleet.db).await.unwrap().is_empty());
    }
}

/// What a device of a local fleet is told.
fn task_of(model: ModelId) -> Task {
    Task {
        purpose: tinyops_wire::mask::Purpose::Monitoring,
        number: 0,
        model,
        ring_bits: 13,
        norm_max: 33,
        clip: 0.58,
        noise_tenths: 200,
    }
}

#[tokio::test]
async fn devices_are_told_one_task_each_by_how_they_report() {
    // A project that has not said how: each is told what it can do.
    let mut world = World::new(2, Policy::default()).await;
    let model = world.release().await.id;
    let mut hellos = Vec::new();
    for (device, feature) in world
        .devices
        .iter_mut()
        .zip([Features::MASKS, Features::NOISES])
    {
        device.model = model;
        hellos.push(device.seal(&hello_with(feature)));
    }
    world.send(&hellos).await;
    let mut tasks = Vec::new();
    for (index, (_, messages)) in world
        .fleet
        .owed_many(&world.ids(), world.now)
        .await
        .unwrap()
        .into_iter()
        .enumerate()
    {
        let [message] = &messages[..] else {
            panic!("{messages:?}");
        };
        let Downlink::Task(task) = world.devices[index].open(message) else {
            panic!("a task");
        };
        tasks.push(task);
    }
    assert!(tasks[0].holds(100) && !tasks[1].holds(100), "{tasks:?}");
    assert_eq!(
        Task {
            number: 0,
            ..tasks[1]
        },
        task_of(model)
    );
}

#[tokio::test]
async fn no_round_is_opened_and_one_that_was_is_abandoned_with_its_reason() {
    let mut world = World::new(20, policy(20.0)).await;
    let model = world.release().await.id;
    for device in &mut world.devices {
        device.model = model;
    }
    let refused = world
        .fleet
        .open_round(model, None, "ana", "", world.now)
        .await;
    let Err(refused @ FleetError::NoStatistics) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        refused.to_string().contains("mode = \"local\""),
        "{refused}"
    );
    assert_eq!(round::list(&world.fleet.db, 9).await.unwrap(), []);
    // By a console that knows nothing of the project's privacy.
    let tx = world.fleet.db.begin("test").await.unwrap();
    let new = NewRound {
        model,
        cohort: None,
        device_count_min: 8,
        gather_at: world.now.plus_ms(2 * DAY),
        deadline: world.now.plus_ms(4 * DAY),
        detail: serde_json::json!({}),
    };
    let id = round::add(&tx, &new, world.now).await.unwrap().id;
    tx.commit().await.unwrap();
    let events = world.fleet.turn(world.now).await.unwrap();
    assert!(
        matches!(events[..], [Event::RoundAbandoned(_)]),
        "{events:?}"
    );
    let round = round::get(&world.fleet.db, id).await.unwrap().unwrap();
    assert_eq!(round.state, RoundState::Abandoned);
    let why = round.detail["abandoned"].as_str().unwrap();
    assert!(why.contains("tell no statistics"), "{why}");
    let is_request = |message: &Downlink<'_>| {
        matches!(
            message,
            Downlink::StatisticsRequest(_) | Downlink::Command(downlink::Command::Forget)
        )
    };
    let owed = world
        .fleet
        .owed_many(&world.ids(), world.now)
        .await
        .unwrap();
    for (index, (_, messages)) in owed.iter().enumerate() {
        let mut opened = messages
            .iter()
            .map(|message| world.devices[index].open(message));
        assert!(!opened.any(|message| is_request(&message)));
    }
}
