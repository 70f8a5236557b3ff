//! Counts the windows of the loaded file into the device's monitor, and says what it took, line by line.
//!
//! ```text
//! tinyops-monitor 1
//! windows <that were counted>
//! instructions <of all of them>
//! monitor <bytes of its state>
//! reference <bytes of what it compares with>
//! report <the frame of 51 bytes, in hex>
//! end
//! ```
//! or, after the first line, `refused <reason>`.
#![no_std]
#![no_main]

use core::fmt::Write;
use cortex_m_rt::entry;
use qemu_machine::{counter::Counter, memory, serial::Serial, slot, stop};
use tinyops_device::monitor::Monitor;
use tinyops_sketch::{Baseline, Observation};
use tinyops_wire::summary::{Format, Header, SummaryFrame};

/// Features of a window in the file; its output and its class come after them.
const FEATURES: usize = 8;
/// Bytes of a window in the file.
const WINDOW_BYTES: usize = 4 * (FEATURES + 2);
/// Windows that are counted before the counting of instructions begins: the monitor learns what is normal here first.
const WARM_UP: usize = 128;

#[entry]
fn main() -> ! {
    memory::paint();
    let mut serial = Serial::start();
    let _ = writeln!(serial, "tinyops-monitor 1");
    let _ = match measure(&mut serial) {
        Ok(()) => writeln!(serial, "end"),
        Err(reason) => writeln!(serial, "refused {reason}"),
    };
    stop()
}

/// ```text
/// baseline_bytes u32 · window_count u32 · baseline · windows of FEATURES + 1 f32 and a class u32
/// ```
fn measure(serial: &mut Serial) -> Result<(), &'static str> {
    let whole = "the file is not whole";
    let (header, rest) = slot::loaded().split_first_chunk::<8>().ok_or(whole)?;
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    };
    let (baseline, rest) = rest.split_at_checked(word(0)).ok_or(whole)?;
    let baseline = Baseline::decode(baseline).map_err(|_| "the baseline is not one")?;
    let windows = rest.get(..word(4) * WINDOW_BYTES).ok_or(whole)?;
    let (windows, _) = windows.as_chunks::<WINDOW_BYTES>();
    let (learned, counted) = windows.split_at_checked(WARM_UP).ok_or(whole)?;
    let mut counter = Counter::start().ok_or("no timer")?;
    let mut monitor = Monitor::new();
    count(&mut monitor, &baseline, learned);
    let (_, taken) = counter.measure(|| count(&mut monitor, &baseline, counted));
    let instructions = taken.ok_or("more instructions than the timer counts")?;
    let (state, reference) = (size_of::<Monitor>(), size_of::<Baseline>());
    let _ = writeln!(
        serial,
        "windows {}\ninstructions {instructions}\nmonitor {state}\nreference {reference}",
        counted.len()
    );
    let mut frame = [0; 64];
    let summary = monitor.summary(&baseline);
    let header = Header::default();
    let len = SummaryFrame::encode(Format::M6H8, header, &summary, (0, 0), &mut frame)
        .map_err(|_| "no frame")?;
    let _ = write!(serial, "report ");
    for byte in &frame[..len] {
        let _ = write!(serial, "{byte:02x}");
    }
    let _ = writeln!(serial);
    Ok(())
}

/// Apart, so that what is counted is what a device does, window by window.
#[inline(never)]
fn count(monitor: &mut Monitor, baseline: &Baseline, windows: &[[u8; WINDOW_BYTES]]) {
    for window in windows {
        let (words, _) = window.as_chunks::<4>();
        let mut features = [0.0; FEATURES];
        for (feature, word) in features.iter_mut().zip(words) {
            *feature = f32::from_le_bytes(*word);
        }
        let output = f32::from_le_bytes(words[FEATURES]);
        let class = words[FEATURES + 1][0];
        let observation = Observation::of(baseline, &features).with_output(baseline, output);
        monitor.push(baseline, &observation, output, Some(class));
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}
