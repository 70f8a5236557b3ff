//! The file that the emulator loads for the programs that measure, and what these share.
#![no_std]
#![forbid(unsafe_code)]

use core::fmt::Write;
use qemu_machine::{memory, serial::Serial, slot, stop};
use tinyops_nn::{Arena, Plan};

/// Why a program gives no figures.
pub enum Fault {
    /// The file, its plan or the machine.
    Refused(&'static str),
    /// So many bytes of arena are more than there are.
    Lacks(usize),
}

impl From<&'static str> for Fault {
    fn from(reason: &'static str) -> Fault {
        Fault::Refused(reason)
    }
}

/// Says the program's name, does its work over the loaded file, says how it ended, and stops.
pub fn program(name: &str, work: fn(&BenchFile, &mut Serial) -> Result<(), Fault>) -> ! {
    memory::paint();
    let mut serial = Serial::start();
    let _ = writeln!(serial, "tinyops-{name} 1");
    let file = BenchFile::parse(slot::loaded()).ok_or(Fault::Refused("no file was loaded"));
    let _ = match file.and_then(|file| work(&file, &mut serial)) {
        Ok(()) => writeln!(serial, "end"),
        Err(Fault::Refused(reason)) => writeln!(serial, "refused {reason}"),
        Err(Fault::Lacks(bytes)) => writeln!(serial, "lacks {bytes} RAM"),
    };
    stop()
}

/// A plan and its cases.
///
/// ```text
/// plan_bytes u32 · case_count u32 · is_stream u32 · 4 reserved · plan · to a multiple of 16 · case_count × (input, output)
/// ```
pub struct BenchFile {
    /// The bytes of the plan.
    pub plan: &'static [u8],
    /// How many cases follow.
    pub case_count: usize,
    /// Each case goes on where the one before ended.
    is_stream: bool,
    cases: &'static [u8],
}

impl BenchFile {
    /// The file, if its plan lies inside what was loaded.
    pub fn parse(bytes: &'static [u8]) -> Option<BenchFile> {
        let (header, rest) = bytes.split_first_chunk::<16>()?;
        let word = |at: usize| {
            usize::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let plan_bytes = word(0);
        Some(BenchFile {
            plan: rest.get(..plan_bytes)?,
            case_count: word(4),
            is_stream: word(8) != 0,
            cases: rest.get(plan_bytes.checked_next_multiple_of(16)?..)?,
        })
    }

    /// Input and output of a case.
    pub fn case(
        &self,
        index: usize,
        input_len: usize,
        output_len: usize,
    ) -> Option<(&'static [u8], &'static [u8])> {
        let at = index.checked_mul(input_len + output_len)?;
        let (input, rest) = self.cases.get(at..)?.split_at_checked(input_len)?;
        Some((input, rest.get(..output_len)?))
    }

    /// Puts a case's inputs into the arena; what the plan remembers is forgotten first, unless the
    /// case goes on where the one before ended.
    pub fn begin<A: Arena + ?Sized>(
        &self,
        index: usize,
        plan: &Plan<'_>,
        arena: &mut A,
        mut inputs: &[u8],
    ) -> Result<(), Fault> {
        if index == 0 || !self.is_stream {
            plan.reset(arena).map_err(|_| "the plan does not run")?;
        }
        for view in plan.inputs() {
            let one;
            (one, inputs) = inputs.split_at(view.bytes());
            let place = arena.bytes_mut(plan, view.range());
            place
                .map_err(|_| "the plan does not run")?
                .copy_from_slice(one);
        }
        Ok(())
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    qemu_machine::stop()
}
