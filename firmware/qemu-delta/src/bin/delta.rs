//! Makes the new image of the loaded delta piece by piece, and says what it took, line by line.
//!
//! ```text
//! tinyops-delta 1
//! instructions <to begin, and to make every piece>
//! made <bytes>
//! right <1 if the new image has the digest that the delta promised>
//! state <bytes of the decoder>
//! stack <bytes below the caller's>
//! end
//! ```
//! or, after the first line, `refused <reason>`.
#![no_std]
#![no_main]

use core::fmt::Write;
use cortex_m_rt::entry;
use qemu_delta::{DeltaFile, PIECE_BYTES_MAX};
use qemu_machine::{counter::Counter, memory, serial::Serial, slot, stop};
use tinyops_wire::delta::{Decoder, Header};
use tinyops_wire::id::DigestBuilder;

#[entry]
fn main() -> ! {
    memory::paint();
    let mut serial = Serial::start();
    let _ = writeln!(serial, "tinyops-delta 1");
    let _ = match measure(&mut serial) {
        Ok(()) => writeln!(serial, "end"),
        Err(reason) => writeln!(serial, "refused {reason}"),
    };
    stop()
}

fn measure(serial: &mut Serial) -> Result<(), &'static str> {
    let file = DeltaFile::parse(slot::loaded()).ok_or("no file was loaded")?;
    let mut counter = Counter::start().ok_or("no timer")?;
    let piece = memory::take(PIECE_BYTES_MAX).ok_or("no memory")?;
    let piece = &mut piece[..file.piece_bytes];
    let base = Header::base_of(file.base);
    let mut decoder = Decoder::IDLE;
    let own_stack = memory::paint_stack();
    let (header, begun) = counter.measure(|| begin(&mut decoder, &file, base));
    let header = header.ok_or("the delta is not one for this base")?;
    let long = "more instructions than the timer counts";
    let mut instructions = begun.ok_or(long)?;
    let mut made = 0;
    loop {
        let (count, taken) = counter.measure(|| fill(&mut decoder, &file, piece));
        let count = count.ok_or("the delta does not decode")?;
        instructions += taken.ok_or(long)?;
        made += count;
        if count < piece.len() {
            break;
        }
    }
    let stack = memory::stack_high_water() - own_stack;
    // The hash has a deeper stack than the decoder, and is not what is measured.
    begin(&mut decoder, &file, base);
    let mut hash = DigestBuilder::new();
    while let Some(count) = fill(&mut decoder, &file, piece) {
        hash.update(&piece[..count]);
        if count < piece.len() {
            break;
        }
    }
    let is_right = hash.finish().prefix() == header.result;
    let state = size_of::<Decoder>();
    let _ = writeln!(
        serial,
        "instructions {instructions}\nmade {made}\nright {}\nstate {state}\nstack {stack}",
        u8::from(is_right)
    );
    Ok(())
}

// Apart, so that their stack is not that of the caller.

#[inline(never)]
fn begin(decoder: &mut Decoder, file: &DeltaFile<'_>, base: [u8; 8]) -> Option<Header> {
    decoder.begin(file.delta, base).ok()
}

#[inline(never)]
fn fill(decoder: &mut Decoder, file: &DeltaFile<'_>, piece: &mut [u8]) -> Option<usize> {
    decoder.fill(file.delta, file.base, piece).ok()
}
