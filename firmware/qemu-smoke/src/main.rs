//! The self test of a capsule on an emulated Cortex-M board.
//!
//! The emulator puts a capsule's payload into flash. This program loads it with the device's own
//! code, runs every golden vector, and reports bytes, instructions and memory over the serial
//! port in the lines that `tinyops-emulate` reads. It links with the memory of the board it
//! stands for, so that what does not fit there does not build or is refused here.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use qemu_machine::{counter::Counter, memory, serial::Serial, stop};
use tinyops_device::{Model, Verdict, Workspace};
use tinyops_wire::payload::Payload;

#[entry]
fn main() -> ! {
    memory::paint();
    let mut serial = Serial::start();
    let _ = writeln!(serial, "tinyops-smoke 2");
    let _ = match test(&mut serial) {
        Ok(()) => writeln!(serial, "end"),
        Err(Fault::Refused(reason)) => writeln!(serial, "refused {reason}"),
        Err(Fault::Lacks(bytes)) => writeln!(serial, "lacks {bytes} RAM"),
    };
    stop()
}

enum Fault {
    Refused(&'static str),
    /// So many bytes for the model are more than there are.
    Lacks(usize),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Fault {
        Fault::Refused(reason)
    }
}

/// Runs every golden vector of the payload in flash.
fn test(serial: &mut Serial) -> Result<(), Fault> {
    let bytes = payload().ok_or("no payload in flash")?;
    let payload = Payload::parse(bytes).map_err(|_| "the payload is not one")?;
    let model = Model::load(&payload).map_err(|refusal| refusal.as_str())?;
    let install_stack = memory::stack_high_water();
    let mut counter = Counter::start().ok_or("no timer")?;
    let mut workspace = lend(&model).map_err(Fault::Lacks)?;
    memory::paint_stack();
    for index in 0..model.golden.count() {
        let (verdict, instructions) = counter.measure(|| model.golden_case(index, &mut workspace));
        let instructions = instructions.ok_or("more instructions than the timer counts")?;
        let _ = match verdict.ok_or("a golden vector is missing")? {
            Verdict::Equal => writeln!(serial, "case {index} equal {instructions}"),
            Verdict::Differs {
                element,
                expected,
                actual,
            } => writeln!(
                serial,
                "case {index} differs {instructions} {element} {expected} {actual}"
            ),
        };
    }
    let _ = writeln!(
        serial,
        "arena {} {}\nstack {install_stack} {}",
        workspace.arena.len(),
        memory::touched(workspace.arena),
        memory::stack_high_water()
    );
    Ok(())
}

/// What the loader put into flash: a length of four bytes, and so many.
fn payload() -> Option<&'static [u8]> {
    let (length, bytes) = memory::loaded().split_first_chunk::<4>()?;
    bytes.get(..u32::from_le_bytes(*length) as usize)
}

/// Takes what the model needs of the free RAM, or says how many bytes that would be.
fn lend(model: &Model<'_>) -> Result<Workspace<'static>, usize> {
    let front_end = &model.front_end;
    let arena_bytes = model.program.arena_bytes();
    let counts = [
        front_end.reading_count(),
        front_end.feature_count(),
        front_end.scratch_len(),
    ];
    let needed = arena_bytes + 4 * counts.iter().sum::<usize>();
    let [window, features, scratch] =
        counts.map(|count| memory::take(4 * count).map(memory::as_words).ok_or(needed));
    Ok(Workspace {
        arena: memory::take(arena_bytes).ok_or(needed)?,
        window: window?,
        features: features?,
        scratch: scratch?,
    })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Serial::start(), "refused panic: {}", info.message());
    stop()
}
