//! How many devices a minute the fleet carries through a rollout, with its records in SQLite.

use std::time::Instant;

use tinyops_fleet::plan::{Plan, Strategy};
use tinyops_fleet::rollout::Wish;
use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Event, Fleet, Policy, Signer, Uplink};
use tinyops_sketch::{Baseline, ChannelBaseline, Source};
use tinyops_store::device::{self, Device, DeviceState};
use tinyops_store::model::{self, NewModel};
use tinyops_store::rollout::{self, Delivery};
use tinyops_store::{Artifacts, Db, DeviceId, DeviceKey, Digest, ModelId, Timestamp};
use tinyops_wire::Envelope;
use tinyops_wire::envelope::{Direction, OVERHEAD};
use tinyops_wire::frame::{Frame, Reason, Update, UpdateState};
use tinyops_wire::payload::{self, SectionId};

use super::Row;

const DEVICES: u64 = 10_000;

/// Envelopes taken in at once, as the server's listeners gather them.
const BATCH: usize = 500;

/// From the start of a rollout to the last device's confirmation: every device is chosen, told, heard and judged.
pub(super) fn decisions() -> Result<Vec<Row>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let (seconds, cpu_seconds) = runtime
        .block_on(carry_out())
        .map_err(|error| error.to_string())?;
    let per_minute = DEVICES as f64 / seconds * 60.0;
    Ok(vec![Row {
        name: "rollout of 10,000 devices in SQLite: devices a minute",
        goal: "10,000 at least, two cores".to_owned(),
        own: format!(
            "{per_minute:.0} ({:.0} µs CPU a device)",
            cpu_seconds / DEVICES as f64 * 1e6
        ),
        peer: "AWS Jobs: 1,000 (its documented limit)".to_owned(),
        holds: per_minute >= 10_000.0,
    }])
}

async fn carry_out() -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let folder = tempfile::TempDir::new()?;
    let db = Db::open(&format!(
        "sqlite:{}",
        folder.path().join("fleet.db").display()
    ))
    .await?;
    let artifacts = Artifacts::open("memory:").await?;
    let fleet = Fleet::new(db, artifacts, Policy::default());
    let mut now = Timestamp(1_795_996_800_000);
    let devices = register(&fleet, now).await?;
    let capsule = release(&fleet, now).await?;
    let plan = Plan {
        reports: 0,
        ..Plan::default()
    }
    .with(Strategy::Staged {
        waves: vec![0.01, 0.1, 0.3, 0.6, 1.0],
    });
    let wish = Wish {
        plan: Some(plan),
        ..Wish::of("fan", 1)
    };
    let ids: Vec<DeviceId> = devices.iter().map(|device| device.id).collect();
    let (begun, cpu_begun) = (Instant::now(), cpu_seconds()?);
    let (started, _) = fleet.start_rollout(&wish, "bench", now).await?;
    for _ in 0..60 {
        now = now.plus_ms(60_000);
        let told = fleet.owed_many(&ids, now).await?;
        let confirmations: Vec<Vec<u8>> = told
            .iter()
            .filter_map(|(id, _)| devices.iter().find(|device| device.id == *id))
            .map(|device| confirmation(device, capsule))
            .collect();
        for batch in confirmations.chunks(BATCH) {
            let uplinks: Vec<Uplink<'_>> = batch
                .iter()
                .map(|bytes| Uplink { from: None, bytes })
                .collect();
            fleet.ingest_many(&uplinks, now).await?;
            let events = fleet.turn(now).await?;
            if events
                .iter()
                .any(|event| matches!(event, Event::RolloutDone(_)))
            {
                let spent = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu_begun);
                let tally = rollout::tally(&fleet.db, started.id).await?;
                assert_eq!(tally, [(Delivery::Confirmed, DEVICES as i64)]);
                return Ok(spent);
            }
        }
    }
    Err("the rollout did not end".into())
}

async fn register(
    fleet: &Fleet,
    now: Timestamp,
) -> Result<Vec<Device>, Box<dyn std::error::Error>> {
    let tx = fleet.db.begin("register").await?;
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        let new = Device {
            id: DeviceId(number),
            key: DeviceKey([number as u8; 32]),
            board: "esp-eye".to_owned(),
            cohort: format!("hall-{}", number % 7),
            tags: Vec::new(),
            state: DeviceState::Active,
            enrolled_at: now,
            revision: 0,
        };
        device::add(&tx, &new).await?;
        devices.push(new);
    }
    tx.commit().await?;
    Ok(devices)
}

async fn release(fleet: &Fleet, now: Timestamp) -> Result<ModelId, Box<dyn std::error::Error>> {
    let tx = fleet.db.begin("register a model").await?;
    let new = NewModel {
        name: "fan".to_owned(),
        project: "fan".to_owned(),
        digest: Digest::of(b"model"),
        run: None,
        parent: None,
        metrics: serde_json::json!({}),
    };
    model::add(&tx, &new, now).await?;
    tx.commit().await?;
    let channels = [ChannelBaseline::new(Source::Output, 0.9, 0.05)];
    let baseline =
        Baseline::new(1_000, &channels, &[0.7, 0.3]).map_err(|error| format!("{error:?}"))?;
    let mut bytes = vec![0; baseline.encoded_len()];
    baseline
        .encode(&mut bytes)
        .map_err(|error| format!("{error:?}"))?;
    let sections: [(SectionId, &[u8]); 2] = [
        (SectionId::Program, b"program"),
        (SectionId::Baseline, &bytes),
    ];
    let mut packed = vec![0; payload::encoded_len(sections.iter().map(|(_, bytes)| bytes.len()))];
    payload::encode(&sections, &mut packed).map_err(|error| format!("{error:?}"))?;
    let unsigned = Unsigned {
        model: "fan",
        version: 1,
        board: "esp-eye",
        payload: &packed,
        detail: serde_json::json!({}),
    };
    let signer = Signer::from_seed(&[7; 32]);
    Ok(fleet.sign(&signer, &unsigned, now).await?.id)
}

fn confirmation(device: &Device, capsule: ModelId) -> Vec<u8> {
    let frame = Frame::Update(Update {
        state: UpdateState::Confirmed,
        reason: Reason::None,
        model: capsule,
        sequence: 1,
        detail: 0,
    });
    let mut body = [0; 64];
    let len = frame.encode(&mut body).unwrap_or(0);
    let envelope = Envelope {
        direction: Direction::Up,
        device: device.id,
        model: capsule,
        sequence: 1,
        body: &body[..len],
    };
    let mut out = vec![0; len + OVERHEAD];
    let sealed = envelope.seal(&device.key, &mut out).unwrap_or(0);
    out.truncate(sealed);
    out
}

/// CPU time that this process has used.
fn cpu_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>);
    // Linux counts in hundredths of a second on every machine that we run on.
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}
