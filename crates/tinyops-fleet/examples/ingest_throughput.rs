//! How many reports a second end up durable on SQLite: `cargo run --release -p tinyops-fleet --example
//! ingest_throughput [DEVICES] [REPORTS] [BATCH] [WRITERS]`.
//!
//! Real envelopes with frames of 51 bytes are checked, stored, judged and committed with an fsync per group.

use std::time::Instant;

use tinyops_fleet::enrol::{Entropy, NewDevice};
use tinyops_fleet::sign::Unsigned;
use tinyops_fleet::{Fleet, Keyring, Policy, Signer, Uplink};
use tinyops_sketch::{Baseline, ChannelBaseline, ChannelSummary, Source, Summary};
use tinyops_store::{Artifacts, Db, DeviceId, Timestamp, report};
use tinyops_wire::envelope::{Direction, OVERHEAD};
use tinyops_wire::payload::{self, SectionId};
use tinyops_wire::summary::{Format, Header, SummaryFrame};
use tinyops_wire::{DeviceKey, Envelope};

#[expect(clippy::print_stdout, reason = "an example answers on the terminal")]
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let argument = |index: usize, default: usize| -> usize {
        std::env::args()
            .nth(index)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (device_count, report_count) = (argument(1, 1_000), argument(2, 20));
    let (batch, writers) = (argument(3, 256), argument(4, 1));
    let folder = tempfile::TempDir::new_in(".").expect("a folder here");
    let db = Db::open(&format!("sqlite:{}/records.db", folder.path().display()))
        .await
        .expect("a store");
    let artifacts = Artifacts::open("memory:").await.expect("memory");
    let fleet =
        Fleet::new(db, artifacts, Policy::default()).with_keys(Keyring::from_seed(&[7; 32]));
    let now = Timestamp(1_700_000_000_000);
    let capsule = release(&fleet, now).await;
    let mut devices = Vec::new();
    for index in 0..device_count as u64 {
        let new = NewDevice {
            id: Some(DeviceId(index + 1)),
            board: "esp-eye".to_owned(),
            ..NewDevice::default()
        };
        let entropy = Entropy(std::array::from_fn(|byte| {
            (index as u8).wrapping_mul(7).wrapping_add(byte as u8)
        }));
        let device = fleet
            .register(&new, entropy, "bench", now)
            .await
            .expect("registered");
        devices.push((device.id, device.key));
    }
    let envelopes: Vec<Vec<u8>> = (1..=report_count as u32)
        .flat_map(|sequence| devices.iter().map(move |(id, key)| (sequence, id, key)))
        .map(|(sequence, id, key)| envelope(*id, key, capsule, sequence))
        .collect();
    let begun = Instant::now();
    let share = envelopes.len().div_ceil(writers);
    let tasks: Vec<_> = envelopes
        .chunks(share)
        .map(|part| {
            let (fleet, part) = (fleet.clone(), part.to_vec());
            tokio::spawn(async move {
                for batch in part.chunks(batch) {
                    let uplinks: Vec<Uplink<'_>> = batch
                        .iter()
                        .map(|bytes| Uplink { from: None, bytes })
                        .collect();
                    fleet.ingest_many(&uplinks, now).await.expect("ingested");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("done");
    }
    let seconds = begun.elapsed().as_secs_f64();
    let stored = report::count(&fleet.db).await.expect("counted");
    println!(
        "{stored} reports of {device_count} devices, batches of {batch}, {writers} writers: {seconds:.2} s, {:.0}/s durable",
        stored as f64 / seconds
    );
}

async fn release(fleet: &Fleet, now: Timestamp) -> tinyops_store::ModelId {
    let channels: Vec<ChannelBaseline> = (0..9)
        .map(|index| ChannelBaseline::new(Source::Feature(index), 0.0, 1.0))
        .collect();
    let baseline = Baseline::new(1_000, &channels, &[0.4, 0.3, 0.2, 0.1]).expect("a baseline");
    let mut baseline_bytes = vec![0; baseline.encoded_len()];
    baseline.encode(&mut baseline_bytes).expect("room");
    let sections: [(SectionId, &[u8]); 2] = [
        (SectionId::Program, b"program"),
        (SectionId::Baseline, &baseline_bytes),
    ];
    let mut bytes = vec![0; payload::encoded_len(sections.iter().map(|(_, bytes)| bytes.len()))];
    payload::encode(&sections, &mut bytes).expect("room");
    let detail = tinyops_store::Json::Null;
    let unsigned = Unsigned {
        model: "fan",
        version: 1,
        board: "esp-eye",
        payload: &bytes,
        detail,
    };
    fleet
        .sign(&Signer::from_seed(&[1; 32]), &unsigned, now)
        .await
        .expect("signed")
        .id
}

fn envelope(
    id: DeviceId,
    key: &DeviceKey,
    model: tinyops_store::ModelId,
    sequence: u32,
) -> Vec<u8> {
    let channels = [ChannelSummary {
        mean: 0.1,
        ln_sd: 0.0,
        shares: Some([0.125; 8]),
    }; 9];
    let summary = Summary::new(288.0, &channels, &[0.4, 0.3, 0.2, 0.1]);
    let mut frame = [0; 64];
    let dither = (key.dither_seed(), sequence);
    let len = SummaryFrame::encode(
        Format::M6H8,
        Header::default(),
        &summary,
        dither,
        &mut frame,
    )
    .expect("room");
    let envelope = Envelope {
        direction: Direction::Up,
        device: id,
        model,
        sequence,
        body: &frame[..len],
    };
    let mut out = vec![0; len + OVERHEAD];
    envelope.seal(key, &mut out).expect("room");
    out
}
