//! What the monitor takes on a Cortex-M4F, emulated: RAM, and instructions a value.

use super::Row;
use super::simulation::{CHANNELS, CLASSES, Noise, baseline};
use tinyops_device::monitor::Monitor;
use tinyops_emulate::{
    EmulateError, Firmware, MONITOR_EMBEDDING, MONITOR_FEATURES, Machine, MonitorBench,
    MonitorWindow,
};
use tinyops_nn::EmbeddingDistance;
use tinyops_sketch::{Baseline, Observation, Source};
use tinyops_wire::summary::{Format, Header, SummaryFrame};

/// Windows that are counted, the 128 that teach the monitor what is normal among them.
const WINDOWS: usize = 128 + 2_000;

/// RAM and instructions; skipped where no firmware can be built or run.
pub(super) fn on_device() -> Result<Vec<Row>, String> {
    let told = |error: EmulateError| error.to_string();
    let machine = Machine::named("m4f").ok_or("no machine `m4f`")?;
    let firmware = Firmware::find().map_err(told)?;
    let bench = match MonitorBench::build(&firmware, machine) {
        Err(error @ EmulateError::Missing { .. }) => {
            return Ok(vec![Row::skipped(
                "monitor on a device",
                &error.to_string(),
            )]);
        }
        bench => bench.map_err(told)?,
    };
    let (baseline, embedding) = watched()?;
    let mut bytes = vec![0; baseline.encoded_len()];
    baseline
        .encode(&mut bytes)
        .map_err(|error| error.to_string())?;
    let mut noise = Noise::new(5);
    let windows: Vec<MonitorWindow> = (0..WINDOWS)
        .map(|index| MonitorWindow {
            features: std::array::from_fn(|_| noise.normal() as f32),
            output: noise.normal() as f32,
            class: (index % CLASSES) as u8,
            embedding: std::array::from_fn(|_| (20.0 * noise.normal()) as i8 as u8),
        })
        .collect();
    let measured = bench.run(&bytes, &embedding, &windows).map_err(told)?;
    // The board must count what the host counts, or its figures say nothing.
    let mut monitor = Monitor::new();
    let distance = EmbeddingDistance::decode(&embedding).map_err(|error| error.to_string())?;
    for window in &windows {
        let features: &[f32; MONITOR_FEATURES] = &window.features;
        let octaves = distance.octaves(usize::from(window.class), &window.embedding);
        let observation = Observation::of(&baseline, features)
            .with_output(&baseline, window.output)
            .with_embedding(&baseline, octaves.ok_or("an embedding of another shape")?);
        monitor.push(&baseline, &observation, window.output, Some(window.class));
    }
    let mut frame = [0; 64];
    let summary = monitor.summary(&baseline);
    let header = Header::default();
    let len = SummaryFrame::encode(Format::M6H8, header, &summary, (0, 0), &mut frame)
        .map_err(|error| error.to_string())?;
    let own: String = frame[..len]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if measured.report != own {
        return Err("the board reports other bytes than the host".to_owned());
    }
    let values = u64::from(measured.window_count) * CHANNELS as u64;
    let ram = u64::from(measured.monitor_bytes);
    let row = |name, most, own| Row::at_most(name, most, own, String::new());
    Ok(vec![
        row(
            "monitor of 9 channels, state, bytes of RAM",
            Some(1024),
            ram,
        ),
        row(
            "the same with its copy of the capsule's baseline",
            None,
            ram + u64::from(measured.reference_bytes),
        ),
        row(
            "monitor, instructions a value, Cortex-M4F",
            Some(100),
            measured.instructions.div_ceil(values),
        ),
        row(
            "distance of an embedding of 32 values, instructions a value",
            Some(100),
            measured
                .embedding_instructions
                .div_ceil(u64::from(measured.window_count) * MONITOR_EMBEDDING as u64),
        ),
        row(
            "where embeddings of 32 values and 4 classes lie, bytes of a capsule",
            None,
            embedding.len() as u64,
        ),
    ])
}

/// A baseline of seven features, the distance of the embedding and the output, and where embeddings lie.
fn watched() -> Result<(Baseline, Vec<u8>), String> {
    let told = |error: tinyops_sketch::BaselineError| error.to_string();
    let plain = baseline();
    let mut channels = plain.channels().to_vec();
    channels[CHANNELS - 2].source = Source::Embedding;
    let baseline = Baseline::new(plain.window_count, &channels, plain.class_prior());
    let len = MONITOR_EMBEDDING;
    // A factor without a zero, so that nothing is cheaper than in a trained one.
    let factor: Vec<f64> = (0..len * (len + 1) / 2)
        .map(|at| 0.02 + 0.001 * (at % 7) as f64)
        .collect();
    let means: Vec<f64> = (0..CLASSES * len).map(|at| (at % 11) as f64).collect();
    let mut bytes = vec![0; EmbeddingDistance::encoded_len(CLASSES, len)];
    EmbeddingDistance::encode(&means, &factor, &[0.5; CLASSES], &mut bytes)
        .map_err(|error| error.to_string())?;
    Ok((baseline.map_err(told)?, bytes))
}
