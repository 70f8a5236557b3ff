use std::{collections::HashSet, sync::Arc, thread};

use serde::Serialize;
use tinyops_data::window::Windowing;
use tinyops_device::{BlockSource, Config, Event, Privacy, Reporting, Sensor};
use tinyops_fleet::{
    Event as FleetEvent, Fleet as Room, Keyring, Policy, Uplink,
    enrol::{Entropy, NewDevice},
    keys::Trust,
    sign::Unsigned,
};
use tinyops_pipeline::{Package, Project, Shelf};
use tinyops_store::{Artifacts, Db, DeviceId, Timestamp, drift::Scope, model};
use tinyops_train::{Target, Windows};
use tinyops_wire::summary::Format;

use crate::{
    context::{Context, store_failure},
    failure::{Exit, Failure},
    fan::Dice,
    virtual_device::{BLOCK_BYTES, Room as Board, VirtualDevice},
};

/// Simulate fleets
#[derive(Debug, clap::Args)]
pub(crate) struct Fleet {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Simulate(Simulate),
}

/// Run thousands of virtual devices in this process, from one seed
///
/// Every device is the real agent with the project's newest model. It meets recordings of the test split in an order of
/// its own; a share of the devices can be given a sensor whose gain drifts. Reports go through the fleet's own ingest,
/// in memory: nothing is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: tinyops fleet simulate --devices 2000 --drift-share 0.2")]
struct Simulate {
    /// How many devices
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    devices: u32,
    /// Windows that each scores
    #[arg(long, default_value_t = 720)]
    windows: u32,
    /// Windows between two reports
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..))]
    report_every: u32,
    /// The same seed gives the same fleet
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of the devices whose sensor drifts in the second half
    #[arg(long, default_value_t = 0.0)]
    drift_share: f32,
    /// What their readings are multiplied by then
    #[arg(long, default_value_t = 1.5)]
    drift_gain: f32,
}

/// `tinyops fleet simulate --json`
#[derive(Default, Serialize)]
struct View {
    model: String,
    devices: u32,
    windows: u64,
    right: u64,
    accuracy: Option<f64>,
    accuracy_drifted: Option<f64>,
    reports: u64,
    refused: u64,
    bytes_up_per_device: f64,
    raw_windows_sent: u64,
    alerts: u32,
    alerted_devices_steady: usize,
    alerted_devices_drifted: usize,
    seconds: f64,
}

pub(crate) async fn run(context: &Context, args: &Fleet) -> Result<(), Failure> {
    match &args.verb {
        Verb::Simulate(args) => simulate(context, args).await,
    }
}

async fn simulate(context: &Context, args: &Simulate) -> Result<(), Failure> {
    let begun = std::time::Instant::now();
    let workshop = context.workshop().await?;
    let name = workshop.project.project.name.clone();
    let newest = model::latest(&workshop.db, &name)
        .await
        .map_err(|error| store_failure(&error))?
        .ok_or_else(|| {
            Failure::question(format!("`{name}` has no registered model"))
                .hint("`tinyops run` makes one")
        })?;
    let packages: Vec<Package> =
        serde_json::from_value(newest.metrics["packages"].clone()).unwrap_or_default();
    let package = packages.first().ok_or_else(|| {
        Failure::question(format!(
            "`{name}@{}` was compiled for no board",
            newest.version
        ))
    })?;
    let payload = workshop
        .artifacts
        .get(&package.payload)
        .await
        .map_err(|error| store_failure(&error))?;
    let windows = test_windows(&workshop.root, &workshop.project)?;
    // A device knows its board for as long as the program runs, as firmware does.
    let board = package.board.clone().leak();
    let mut world = World::open(args, &name, newest.version, board, &payload).await?;
    world.boot(args, &windows)?;
    let mut view = world.live(context, args, &windows).await?;
    view.model = format!("{name}@{}", newest.version);
    view.seconds = begun.elapsed().as_secs_f64();
    context.terminal.answer(&view, || text(&view));
    Ok(())
}

/// Windows of the test split, with the class that each is of.
fn test_windows(root: &std::path::Path, project: &Project) -> Result<Windows, Failure> {
    let wrong = |error: &(dyn std::error::Error + 'static)| Failure::of(Exit::Question, error);
    let shelf = Shelf::list(root, &project.data).map_err(|error| wrong(&error))?;
    let (dataset, _) = shelf.decoded();
    let mut report = tinyops_data::finding::Report::new();
    let split = tinyops_data::split::split(dataset, &project.data.split, &mut report);
    let windowing = Windowing::new(&project.data.window, dataset).map_err(|error| wrong(&error))?;
    let windows = Windows::cut(dataset, &split.test, &windowing).map_err(|error| wrong(&error))?;
    if windows.count() == 0 {
        return Err(Failure::question("the test split has no windows"));
    }
    Ok(windows)
}

/// A fleet in memory.
struct World {
    fleet: Room,
    capsule: Arc<[u8]>,
    board: &'static str,
    trust: Trust,
    devices: Vec<Citizen>,
}

struct Citizen {
    id: DeviceId,
    key: tinyops_wire::DeviceKey,
    device: Option<VirtualDevice>,
    dice: Dice,
    drifts: bool,
    windows: u64,
    right: u64,
    drifted_windows: u64,
    drifted_right: u64,
}

impl World {
    async fn open(
        args: &Simulate,
        name: &str,
        version: u32,
        board: &'static str,
        payload: &[u8],
    ) -> Result<Self, Failure> {
        let failed =
            |error: &(dyn std::error::Error + 'static)| Failure::of(Exit::Environment, error);
        let db = Db::open("sqlite::memory:")
            .await
            .map_err(|error| failed(&error))?;
        let artifacts = Artifacts::open("memory:")
            .await
            .map_err(|error| failed(&error))?;
        let keys = Keyring::from_seed(&[7; 32]);
        let fleet = Room::new(db, artifacts, Policy::default()).with_keys(keys.clone());
        let unsigned = Unsigned {
            model: name,
            version,
            board,
            payload,
            detail: serde_json::Value::Null,
        };
        let start = Timestamp(0);
        let capsule = fleet
            .sign(keys.release()?, &unsigned, start)
            .await
            .map_err(|error| failed(&error))?;
        let capsule: Arc<[u8]> = fleet
            .artifacts
            .get(&capsule.digest)
            .await
            .map_err(|error| failed(&error))?
            .into();
        let mut devices = Vec::new();
        for index in 0..args.devices {
            let mut dice = Dice::new(args.seed, u64::from(index) + 1);
            // Keys too come from the seed: a simulated fleet protects nothing.
            let mut bytes = [0; 40];
            for part in bytes.chunks_exact_mut(8) {
                part.copy_from_slice(&dice.roll().to_le_bytes());
            }
            let new = NewDevice {
                id: Some(DeviceId(u64::from(index) + 1)),
                board: board.to_owned(),
                ..NewDevice::default()
            };
            let row = fleet
                .register(&new, Entropy(bytes), "simulate", start)
                .await
                .map_err(|error| failed(&error))?;
            let drifts = dice.chance(args.drift_share);
            devices.push(Citizen {
                id: row.id,
                key: row.key,
                device: None,
                dice,
                drifts,
                windows: 0,
                right: 0,
                drifted_windows: 0,
                drifted_right: 0,
            });
        }
        Ok(Self {
            fleet,
            capsule,
            board,
            trust: keys.trust,
            devices,
        })
    }

    fn boot(&mut self, args: &Simulate, windows: &Windows) -> Result<(), Failure> {
        for citizen in &mut self.devices {
            let config = Config {
                device: citizen.id,
                key: citizen.key.clone(),
                first_uplink: 0,
                roots: self.trust.roots,
                keys: self.trust.keys,
                board: self.board,
                sensor: Sensor {
                    channel_count: windows.channel_count,
                    rate_hz: windows.rate_hz,
                    mounting: None,
                    channels: &[],
                },
                reporting: Reporting {
                    every_windows: args.report_every,
                    every_ms: 0,
                    format: Format::M6H8,
                },
                privacy: Privacy::Plain,
                hop: 0,
                blocks: BlockSource::Server,
                block_bytes: BLOCK_BYTES,
                retry_after_ms: 3_600_000,
                tries: 3,
                trial_windows: 4,
            };
            let room = Board {
                // The capsule is the factory's: no update comes, so the slots hold nothing.
                slot_bytes: 4096,
                ..Board::SMALL
            };
            let mut device = VirtualDevice::new(config, room, Arc::clone(&self.capsule));
            device.handle(0, Event::Boot);
            if device.model().is_none() {
                return Err(
                    Failure::no("the model does not run on a small virtual board")
                        .because("its arena, features or scratch are larger than the board's"),
                );
            }
            citizen.device = Some(device);
        }
        Ok(())
    }

    /// Window after window, report after report; devices in parallel, ingest in their order.
    async fn live(
        &mut self,
        context: &Context,
        args: &Simulate,
        windows: &Windows,
    ) -> Result<View, Failure> {
        let mut view = View {
            devices: args.devices,
            ..View::default()
        };
        let mut alerted = HashSet::new();
        let rounds = args.windows.div_ceil(args.report_every);
        for round in 0..rounds {
            let now_ms = (u64::from(round) + 1) * 24 * 3_600_000;
            let drifted = 2 * round >= rounds;
            let uplinks = live_a_round(&mut self.devices, args, windows, now_ms, drifted);
            let now = Timestamp(i64::try_from(now_ms).unwrap_or(i64::MAX));
            for batch in uplinks.chunks(512) {
                let batch: Vec<Uplink<'_>> = batch
                    .iter()
                    .map(|(device, bytes)| Uplink {
                        from: Some(*device),
                        bytes,
                    })
                    .collect();
                view.reports += batch.len() as u64;
                let (verdicts, events) = self
                    .fleet
                    .ingest_many(&batch, now)
                    .await
                    .map_err(|error| Failure::of(Exit::Environment, &error))?;
                view.refused += verdicts.iter().filter(|v| v.refusal.is_some()).count() as u64;
                for event in events {
                    if let FleetEvent::AlertRaised(alert) = event {
                        view.alerts += 1;
                        if let Scope::Device(device) = alert.scope {
                            alerted.insert(device);
                        }
                    }
                }
            }
            context.terminal.note(format_args!(
                "report {} of {rounds}, {} alerts",
                round + 1,
                view.alerts
            ));
        }
        for citizen in &self.devices {
            view.windows += citizen.windows;
            view.right += citizen.right;
            let hit = alerted.contains(&citizen.id);
            view.alerted_devices_drifted += usize::from(hit && citizen.drifts);
            view.alerted_devices_steady += usize::from(hit && !citizen.drifts);
            if let Some(device) = &citizen.device {
                view.bytes_up_per_device +=
                    device.traffic().up_bytes as f64 / f64::from(args.devices);
                view.raw_windows_sent += device.traffic().raw_windows;
            }
        }
        let share = |right: u64, all: u64| (all > 0).then(|| right as f64 / all as f64);
        view.accuracy = share(view.right, view.windows);
        view.accuracy_drifted = share(
            self.devices
                .iter()
                .map(|citizen| citizen.drifted_right)
                .sum(),
            self.devices
                .iter()
                .map(|citizen| citizen.drifted_windows)
                .sum(),
        );
        Ok(view)
    }
}

/// One report period of all devices, spread over the cores; uplinks come in the order of the devices.
fn live_a_round(
    devices: &mut [Citizen],
    args: &Simulate,
    windows: &Windows,
    now_ms: u64,
    drifted: bool,
) -> Vec<(DeviceId, Vec<u8>)> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = devices.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let handles: Vec<_> = devices
            .chunks_mut(part)
            .map(|citizens| {
                scope.spawn(move || {
                    citizens
                        .iter_mut()
                        .flat_map(|citizen| citizen.live(args, windows, now_ms, drifted))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().expect("a device does not panic"))
            .collect()
    })
}

impl Citizen {
    fn live(
        &mut self,
        args: &Simulate,
        windows: &Windows,
        now_ms: u64,
        drifted: bool,
    ) -> Vec<(DeviceId, Vec<u8>)> {
        let mut uplinks = Vec::new();
        let Some(device) = &mut self.device else {
            return uplinks;
        };
        let drifted = drifted && self.drifts;
        for _ in 0..args.report_every {
            let index = self.dice.below(windows.count());
            let mut readings = windows.window(index).to_vec();
            if drifted {
                readings
                    .iter_mut()
                    .for_each(|value| *value *= args.drift_gain);
            }
            let response = device.handle(now_ms, Event::Window(&readings));
            for prediction in response.predictions {
                let said = prediction.answer.class();
                let right = matches!(
                    (windows.targets[index], said),
                    (Target::Class(class), Some(said)) if class == u16::from(said)
                );
                self.windows += 1;
                self.right += u64::from(right);
                if drifted {
                    self.drifted_windows += 1;
                    self.drifted_right += u64::from(right);
                }
            }
            uplinks.extend(response.uplinks.into_iter().map(|bytes| (self.id, bytes)));
        }
        uplinks
    }
}

fn text(view: &View) -> String {
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", 100.0 * share))
    };
    format!(
        "{} on {} devices: {} windows, accuracy {} (drifted devices: {})\n\
         {} reports, {} refused, {:.0} bytes up per device, raw windows sent: {}\n\
         {} alerts, on {} drifted and {} steady devices; {:.1} s\n",
        view.model,
        view.devices,
        view.windows,
        percent(view.accuracy),
        percent(view.accuracy_drifted),
        view.reports,
        view.refused,
        view.bytes_up_per_device,
        view.raw_windows_sent,
        view.alerts,
        view.alerted_devices_drifted,
        view.alerted_devices_steady,
        view.seconds
    )
}
