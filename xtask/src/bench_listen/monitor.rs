//! What the monitor takes on a Cortex-M4F, emulated: RAM, and instructions a value.

use super::Row;
use super::simulation::{CHANNELS, CLASSES, Noise, baseline};
use tinyops_device::monitor::Monitor;
use tinyops_emulate::{
    EmulateError, Firmware, MONITOR_FEATURES, Machine, MonitorBench, MonitorWindow,
};
use tinyops_sketch::Observation;
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
    let baseline = baseline();
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
        })
        .collect();
    let measured = bench.run(&bytes, &windows).map_err(told)?;
    // The board must count what the host counts, or its figures say nothing.
    let mut monitor = Monitor::new();
    for window in &windows {
        let features: &[f32; MONITOR_FEATURES] = &window.features;
        let observation =
            Observation::of(&baseline, features).with_output(&baseline, window.output);
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
    ])
}
