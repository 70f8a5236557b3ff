//! The self test of a capsule on an emulated Cortex-M board.
//!
//! This program receives a capsule's payload over the serial port and writes it to flash. It loads
//! it with the device's own code, runs every golden vector, and reports bytes, instructions and
//! memory over the same port in the lines that `tinyops-emulate` reads. It links with the memory of
//! the board it stands for, so that what does not fit there does not build or is refused here.
//!
//! ```text
//! "TOPU" · payload_bytes u32 · CRC-32 of the payload u32 · payload
//! ```
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use core::fmt::Write;
use core::panic::PanicInfo;
use cortex_m_rt::entry;
use qemu_machine::{counter::Counter, memory, serial::Serial, slot::Slot, stop};
use tinyops_device::{Model, Verdict, Workspace};
use tinyops_nn::record::REGIONS_MAX;
use tinyops_nn::{Program, Regions};
use tinyops_wire::{crc::crc32, payload::Payload};

#[entry]
fn main() -> ! {
    memory::paint();
    let mut serial = Serial::start();
    let _ = writeln!(serial, "tinyops-smoke 3");
    let _ = match test(&mut serial) {
        Ok(()) => writeln!(serial, "end"),
        Err(Fault::Refused(reason)) => writeln!(serial, "refused {reason}"),
        Err(Fault::Lacks(bytes, memory)) => writeln!(serial, "lacks {bytes} {memory}"),
    };
    stop()
}

enum Fault {
    Refused(&'static str),
    /// So many bytes of a memory are more than there are.
    Lacks(usize, &'static str),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Fault {
        Fault::Refused(reason)
    }
}

/// Receives a payload and runs every golden vector of it.
fn test(serial: &mut Serial) -> Result<(), Fault> {
    let bytes = receive(serial)?;
    let payload = Payload::parse(bytes).map_err(|_| "the payload is not one")?;
    let model = Model::load(&payload).map_err(|refusal| refusal.as_str())?;
    let mut counter = Counter::start().ok_or("no timer")?;
    let install_stack = memory::stack_high_water();
    let mut workspace = lend(&model).map_err(|bytes| Fault::Lacks(bytes, "RAM"))?;
    let own_stack = memory::paint_stack();
    for index in 0..model.golden.count() {
        let (verdict, instructions) = counter.measure(|| run(&model, index, &mut workspace));
        let instructions = instructions.ok_or("more instructions than the timer counts")?;
        let _ = match verdict.ok_or("a golden vector is missing")? {
            Verdict::Equal => writeln!(serial, "case {index} equal {instructions}"),
            Verdict::Differs {
                element,
                expected,
                actual,
            } => writeln!(
                serial,
                // By their bits: what writes decimals would take a twentieth of the smallest machine's flash.
                "case {index} differs {instructions} {element} {:08x} {:08x}",
                expected.to_bits(),
                actual.to_bits()
            ),
        };
    }
    for piece in workspace.arena.pieces() {
        if piece.is_empty() {
            continue;
        }
        let _ = writeln!(serial, "arena {} {}", piece.len(), memory::touched(piece));
    }
    let _ = writeln!(
        serial,
        "stack {install_stack} {}",
        memory::stack_high_water() - own_stack
    );
    Ok(())
}

/// Receives a payload into flash.
fn receive(serial: &mut Serial) -> Result<&'static [u8], Fault> {
    if word(serial) != *b"TOPU" {
        return Err("what came is no payload".into());
    }
    let length = u32::from_le_bytes(word(serial)) as usize;
    let crc = u32::from_le_bytes(word(serial));
    let mut slot = Slot::take().ok_or("the slot is taken")?;
    if length > slot.capacity() {
        return Err(Fault::Lacks(length, "flash"));
    }
    for _ in 0..length / 4 {
        slot.push(word(serial)).ok_or("the slot is full")?;
    }
    // What is left of the last word stays as if erased.
    let mut last = [0xff; 4];
    for byte in &mut last[..length % 4] {
        *byte = serial.receive();
    }
    if !length.is_multiple_of(4) {
        slot.push(last).ok_or("the slot is full")?;
    }
    let bytes = slot.finish().get(..length).unwrap_or_default();
    if crc32(bytes) != crc {
        return Err("the payload's CRC differs".into());
    }
    Ok(bytes)
}

/// One golden vector; apart, so that its stack is not that of the caller.
#[inline(never)]
fn run(model: &Model<'_>, index: usize, workspace: &mut Workspace<'_>) -> Option<Verdict> {
    model.golden_case(index, workspace)
}

fn word(serial: &mut Serial) -> [u8; 4] {
    [(); 4].map(|()| serial.receive())
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
    let mut pieces = [(); REGIONS_MAX].map(|()| &mut [][..]);
    if let Program::Plan(plan) = &model.program {
        for (index, (piece, part)) in pieces.iter_mut().zip(plan.regions()).enumerate() {
            *piece = memory::take_piece(index, part.len()).ok_or(needed)?;
        }
    }
    Ok(Workspace {
        arena: Regions::new(pieces),
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
