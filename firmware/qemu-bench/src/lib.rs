//! The file that the emulator loads for the programs that measure.
#![no_std]
#![forbid(unsafe_code)]

/// A plan and its cases.
///
/// ```text
/// plan_bytes u32 · case_count u32 · 8 reserved · plan · to a multiple of 16 · case_count × (input, output)
/// ```
pub struct BenchFile {
    /// The bytes of the plan.
    pub plan: &'static [u8],
    /// How many cases follow.
    pub case_count: usize,
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
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    qemu_machine::stop()
}
