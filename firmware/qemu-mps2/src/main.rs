//! The self test of a capsule on an emulated Cortex-M board.
//!
//! The emulator puts a capsule's payload into flash. This program loads it with the device's own
//! code, runs every golden vector, and reports bytes, instructions and memory over the serial
//! port in the lines that `tinyops-emulate` reads. It links with the memory of the board it
//! stands for, so that what does not fit there does not build or is refused here.
#![no_std]
#![no_main]

mod machine;

use core::fmt::Write;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use machine::{Counter, Serial};
use tinyops_device::{Model, Verdict, Workspace};
use tinyops_wire::payload::Payload;

/// RAM kept for the stack, in bytes; the report says how much of it was used.
const STACK_BYTES: usize = 16 * 1024;

#[entry]
fn main() -> ! {
    machine::paint_stack(STACK_BYTES);
    let mut serial = Serial::new();
    let _ = writeln!(serial, "tinyops-smoke 1");
    if let Err(reason) = test(&mut serial) {
        let _ = writeln!(serial, "refused {reason}");
    }
    machine::stop()
}

/// Runs every golden vector of the payload in flash.
fn test(serial: &mut Serial) -> Result<(), &'static str> {
    let bytes = machine::payload().ok_or("no payload in flash")?;
    let payload = Payload::parse(bytes).map_err(|_| "the payload is not one")?;
    let model = Model::load(&payload).map_err(|refusal| refusal.as_str())?;
    let mut timer = Counter::new(cortex_m::Peripherals::take().ok_or("no timer")?.SYST);
    let arena_bytes = model.program.arena_bytes();
    let mut workspace = lend(machine::free_ram(STACK_BYTES), &model).ok_or("too little RAM")?;
    let _ = writeln!(serial, "arena {arena_bytes}");
    for index in 0..model.golden.count() {
        let (verdict, instructions) = timer.measure(|| model.golden_case(index, &mut workspace));
        let _ = match verdict.ok_or("a golden vector is missing")? {
            Verdict::Equal => writeln!(serial, "case {index} equal {instructions}"),
            Verdict::Differs { element, expected, actual } => writeln!(
                serial,
                "case {index} differs {instructions} {element} {expected} {actual}"
            ),
        };
    }
    let _ = writeln!(serial, "stack {}\nend", machine::stack_high_water(STACK_BYTES));
    Ok(())
}

/// Cuts the free RAM into what the model needs; `None` if it needs more.
fn lend<'m>(ram: &'m mut [u8], model: &Model<'_>) -> Option<Workspace<'m>> {
    // The plan's tensors are aligned to 16 from the arena's start.
    let skew = ram.as_ptr().align_offset(16);
    let ram = ram.get_mut(skew..)?;
    let arena_bytes = model.program.arena_bytes().next_multiple_of(16);
    let (arena, rest) = ram.split_at_mut_checked(arena_bytes)?;
    let front_end = &model.front_end;
    let rest = machine::as_words(rest);
    let (window, rest) = rest.split_at_mut_checked(front_end.reading_count())?;
    let (features, rest) = rest.split_at_mut_checked(front_end.feature_count())?;
    let scratch = rest.get_mut(..front_end.scratch_len())?;
    Some(Workspace { arena, window, features, scratch })
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(Serial::new(), "refused panic: {}", info.message());
    machine::stop()
}
