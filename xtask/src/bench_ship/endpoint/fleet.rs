//! Devices of a measured endpoint: registered in its store, with keys of their own and a model to report on.

use std::path::{Path, PathBuf};
use tinyops_fleet::enrol::device_password;
use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Fleet, Intake, Policy, Signer};
use tinyops_sketch::{Baseline, ChannelBaseline, ChannelSummary, Source, Summary};
use tinyops_store::device::{self, Device, DeviceState};
use tinyops_store::model::{self, NewModel};
use tinyops_store::{Artifacts, Db, DeviceId, DeviceKey, Digest, ModelId, Timestamp};
use tinyops_wire::Envelope;
use tinyops_wire::envelope::{Direction, OVERHEAD};
use tinyops_wire::payload::{self, SectionId};
use tinyops_wire::summary::{Format, Header, SummaryFrame};

use crate::chance::Chance;

const BOARD: &str = "esp-eye";

/// A device that seals real reports.
#[derive(Clone)]
pub(crate) struct Reporter {
    /// Who it is.
    pub(crate) id: DeviceId,
    key: DeviceKey,
    model: ModelId,
    /// Number of its newest report.
    pub(crate) sequence: u32,
    chance: Chance,
}

/// The store of a project.
pub(crate) fn store(project: &Path) -> PathBuf {
    project.join(".tinyops/tinyops.db")
}

/// Registers `count` devices of one cohort, and a model with a baseline that their reports are judged by.
pub(crate) async fn register(project: &Path, count: usize) -> Result<Vec<Reporter>, String> {
    let db = open(project).await?;
    let artifacts = project.join(".tinyops/artifacts");
    let artifacts = Artifacts::open(&artifacts.display().to_string())
        .await
        .map_err(|error| error.to_string())?;
    let now = Timestamp(1_790_000_000_000);
    let model = release(&Fleet::new(db.clone(), artifacts, Policy::default()), now).await?;
    let devices: Vec<Device> = (1..=count as u64)
        .map(|number| registered(number, now))
        .collect();
    let fault = |error: tinyops_store::StoreError| error.to_string();
    let tx = db
        .begin("register the devices of a measurement")
        .await
        .map_err(fault)?;
    for device in &devices {
        device::add(&tx, device).await.map_err(fault)?;
    }
    tx.commit().await.map_err(fault)?;
    let reporter = |device: Device| Reporter {
        id: device.id,
        key: device.key,
        model,
        sequence: 0,
        chance: Chance(device.id.0),
    };
    Ok(devices.into_iter().map(reporter).collect())
}

/// Opens the store of a project whose server is not running.
pub(crate) async fn open(project: &Path) -> Result<Db, String> {
    let url = format!("sqlite:{}", store(project).display());
    Db::open(&url).await.map_err(|error| error.to_string())
}

/// Takes up what a killed server left in the intake log, as the next one does; answers how many envelopes that were.
pub(crate) async fn fold(db: &Db) -> Result<usize, String> {
    let fault = |error: tinyops_fleet::FleetError| error.to_string();
    let artifacts = Artifacts::open("memory:").await;
    let artifacts = artifacts.map_err(|error| error.to_string())?;
    let mut intake = Intake::new(Fleet::new(db.clone(), artifacts, Policy::default()));
    let waiting = intake.recover().await.map_err(fault)?;
    intake.fold().await.map_err(fault)?;
    Ok(waiting)
}

fn registered(number: u64, now: Timestamp) -> Device {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Device {
        id: DeviceId(number),
        key: DeviceKey(Digest::of(&key).0),
        board: BOARD.to_owned(),
        cohort: "hall".to_owned(),
        tags: Vec::new(),
        state: DeviceState::Active,
        enrolled_at: now,
        revision: 0,
    }
}

fn baseline() -> Result<Vec<u8>, String> {
    let channels = [
        ChannelBaseline::new(Source::Feature(0), 0.0, 1.0),
        ChannelBaseline::new(Source::Feature(1), 5.0, 2.0),
        ChannelBaseline::new(Source::Output, 0.9, 0.05),
    ];
    let baseline =
        Baseline::new(1_000, &channels, &[0.7, 0.3]).map_err(|error| error.to_string())?;
    let mut bytes = vec![0; baseline.encoded_len()];
    baseline
        .encode(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

async fn release(fleet: &Fleet, now: Timestamp) -> Result<ModelId, String> {
    let new = NewModel {
        name: "fan".to_owned(),
        project: "fan".to_owned(),
        digest: Digest::of(b"model"),
        run: None,
        parent: None,
        metrics: serde_json::json!({}),
    };
    let fault = |error: tinyops_store::StoreError| error.to_string();
    let tx = fleet.db.begin("register a model").await.map_err(fault)?;
    let version = model::add(&tx, &new, now).await.map_err(fault)?.version;
    tx.commit().await.map_err(fault)?;
    let baseline = baseline()?;
    let sections: [(SectionId, &[u8]); 2] = [
        (SectionId::Program, b"program"),
        (SectionId::Baseline, &baseline),
    ];
    let lengths = sections.iter().map(|(_, bytes)| bytes.len());
    let mut bytes = vec![0; payload::encoded_len(lengths)];
    payload::encode(&sections, &mut bytes).map_err(|error| error.to_string())?;
    let unsigned = Unsigned {
        model: "fan",
        version,
        board: BOARD,
        payload: &bytes,
        detail: serde_json::json!({}),
    };
    let signer = Signer::from_seed(&[7; 32]);
    let capsule = fleet.sign(&signer, &unsigned, now).await;
    capsule.map(|row| row.id).map_err(|error| error.to_string())
}

impl Reporter {
    /// What it shows when it connects.
    pub(crate) fn password(&self) -> String {
        device_password(&self.key, self.id)
    }

    /// Seals its next report: the summary of 288 windows of a steady world, 51 bytes in an envelope.
    pub(crate) fn report(&mut self) -> Vec<u8> {
        self.sequence += 1;
        let mut channel = || ChannelSummary {
            mean: 0.06 * self.noise() as f32,
            ln_sd: 0.04 * self.noise() as f32,
            shares: Some([0.125; 8]),
        };
        let channels = [channel(), channel(), channel()];
        let share = 0.7 + 0.02 * self.noise() as f32;
        let summary = Summary::new(288.0, &channels, &[share, 1.0 - share]);
        let header = Header {
            model: self.model.0 as u16,
            ..Header::default()
        };
        let mut frame = [0; 128];
        let dither = (self.key.dither_seed(), self.sequence);
        let len = SummaryFrame::encode(Format::M6H8, header, &summary, dither, &mut frame)
            .expect("the frame has room");
        let envelope = Envelope {
            direction: Direction::Up,
            device: self.id,
            model: self.model,
            sequence: self.sequence,
            body: &frame[..len],
        };
        let mut out = vec![0; len + OVERHEAD];
        envelope
            .seal(&self.key, &mut out)
            .expect("the envelope has room");
        out
    }

    /// Near enough to a normal of one standard deviation.
    fn noise(&mut self) -> f64 {
        self.chance.nearly_normal(4)
    }
}
