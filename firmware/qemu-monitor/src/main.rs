//! Counts the windows of the loaded file into the device's monitor, and says what it took, line by line.
//!
//! ```text
//! tinyops-monitor 1
//! windows <that were counted>
//! instructions <of all of them>
//! embedding <instructions of how far all their embeddings lie from the factory's>
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
use tinyops_nn::EmbeddingDistance;
use tinyops_sketch::{Baseline, Observation};
use tinyops_wire::summary::{Format, Header, SummaryFrame};

/// Features of a window in the file; its output and its class come after them.
const FEATURES: usize = 8;
/// Values of its embedding, behind these.
const EMBEDDING: usize = 32;
/// Bytes of a window in the file.
const WINDOW_BYTES: usize = 4 * (FEATURES + 2) + EMBEDDING;
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
/// baseline_bytes u32 · embedding_bytes u32 · window_count u32 · baseline · where embeddings lie
/// · windows of FEATURES + 1 f32, a class u32 and EMBEDDING bytes
/// ```
fn measure(serial: &mut Serial) -> Result<(), &'static str> {
    let whole = "the file is not whole";
    let (header, rest) = slot::loaded().split_first_chunk::<12>().ok_or(whole)?;
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    };
    let (baseline, rest) = rest.split_at_checked(word(0)).ok_or(whole)?;
    let baseline = Baseline::decode(baseline).map_err(|_| "the baseline is not one")?;
    let (embedding, rest) = rest.split_at_checked(word(4)).ok_or(whole)?;
    EmbeddingDistance::decode(embedding).map_err(|_| "nothing says where embeddings lie")?;
    let windows = rest.get(..word(8) * WINDOW_BYTES).ok_or(whole)?;
    let (windows, _) = windows.as_chunks::<WINDOW_BYTES>();
    let (learned, counted) = windows.split_at_checked(WARM_UP).ok_or(whole)?;
    let mut counter = Counter::start().ok_or("no timer")?;
    let mut monitor = Monitor::new();
    let too_many = "more instructions than the timer counts";
    // In turns, for which numbers are read beforehand: a device has them, and does not take them out of a file.
    let mut read = [Window::default(); WARM_UP];
    let (mut instructions, mut of_embeddings) = (0_u64, 0_u64);
    let turns = core::iter::once(learned).chain(counted.chunks(WARM_UP));
    for (turn, bytes) in turns.enumerate() {
        let windows = &mut read[..bytes.len()];
        for (window, bytes) in windows.iter_mut().zip(bytes) {
            *window = Window::read(bytes);
        }
        let (_, taken) = counter.measure(|| measure_embeddings(embedding, bytes, windows));
        let embeddings = taken.ok_or(too_many)?;
        let (_, taken) = counter.measure(|| count(&mut monitor, &baseline, windows));
        let taken = taken.ok_or(too_many)?;
        if turn > 0 {
            instructions += taken;
            of_embeddings += embeddings;
        }
    }
    let (state, reference) = (size_of::<Monitor>(), size_of::<Baseline>());
    let _ = writeln!(
        serial,
        "windows {}\ninstructions {instructions}\nembedding {of_embeddings}\nmonitor {state}\nreference {reference}",
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

/// A window as a device has it once it is scored.
#[derive(Clone, Copy, Default)]
struct Window {
    features: [f32; FEATURES],
    output: f32,
    class: u8,
    distance: f32,
}

impl Window {
    fn read(bytes: &[u8; WINDOW_BYTES]) -> Window {
        let (words, _) = bytes.as_chunks::<4>();
        Window {
            features: core::array::from_fn(|at| f32::from_le_bytes(words[at])),
            output: f32::from_le_bytes(words[FEATURES]),
            class: words[FEATURES + 1][0],
            distance: f32::NAN,
        }
    }
}

/// Apart, so that what is counted is what a device does, window by window.
#[inline(never)]
fn count(monitor: &mut Monitor, baseline: &Baseline, windows: &[Window]) {
    for window in windows {
        let observation = Observation::of(baseline, &window.features)
            .with_output(baseline, window.output)
            .with_embedding(baseline, window.distance);
        monitor.push(baseline, &observation, window.output, Some(window.class));
    }
}

/// Apart as well: what a device does of an embedding once it has its class, reading what says where they lie each time.
#[inline(never)]
fn measure_embeddings(embedding: &[u8], bytes: &[[u8; WINDOW_BYTES]], windows: &mut [Window]) {
    for (bytes, window) in bytes.iter().zip(windows) {
        let values = &bytes[WINDOW_BYTES - EMBEDDING..];
        window.distance = EmbeddingDistance::decode(embedding)
            .ok()
            .and_then(|distance| distance.octaves(usize::from(window.class), values))
            .unwrap_or(f32::NAN);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    stop()
}
