//! x86-64: AVX2, AVX2 with VNNI, and AVX-512.

mod avx2;
mod avx512;

use avx2::Avx2;
use avx512::Avx512;

use super::host::Task;
use crate::isa::Isa;

/// Whether this processor, and the system that runs on it, know the instructions.
pub(crate) fn has(isa: Isa) -> bool {
    use std::arch::is_x86_feature_detected as has;
    match isa {
        Isa::Avx2 => has!("avx2"),
        Isa::AvxVnni => has!("avx2") && has!("avxvnni"),
        Isa::Avx512 => {
            has!("avx512f")
                && has!("avx512bw")
                && has!("avx512vl")
                && has!("avx512vbmi")
                && has!("avx512vnni")
        }
        _ => false,
    }
}

/// Runs a task with these instructions, if the processor has them.
pub(crate) fn run(isa: Isa, task: &mut Task<'_>) -> bool {
    if !has(isa) {
        return false;
    }
    // SAFETY: the processor has what each function is compiled for.
    unsafe {
        match isa {
            Isa::Avx2 => avx2(task),
            Isa::AvxVnni => avx_vnni(task),
            Isa::Avx512 => avx512(task),
            _ => return false,
        }
    }
    true
}

#[target_feature(enable = "avx2")]
fn avx2(task: &mut Task<'_>) {
    // SAFETY: this function is called only where the processor has AVX2.
    task.run(unsafe { Avx2::<false>::new() });
}

#[target_feature(enable = "avx2,avxvnni")]
fn avx_vnni(task: &mut Task<'_>) {
    // SAFETY: this function is called only where the processor has AVX2 with VNNI.
    task.run(unsafe { Avx2::<true>::new() });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn avx512(task: &mut Task<'_>) {
    // SAFETY: this function is called only where the processor has these parts of AVX-512.
    task.run(unsafe { Avx512::new() });
}
