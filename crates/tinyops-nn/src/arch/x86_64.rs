//! x86-64: AVX2, AVX2 with VNNI, and AVX-512.

mod avx2;
mod avx512;

use core::arch::x86_64::*;

use avx2::Avx2;
use avx512::Avx512;

use super::host::{Bundles, Lanes, Task};
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

/// The bundles of blocks that the kernels take, for one pixel or for several.
pub(crate) fn bundles(isa: Isa, is_one: bool) -> Bundles {
    match isa {
        Isa::Avx2 => Avx2::<false>::bundles(is_one),
        Isa::AvxVnni => Avx2::<true>::bundles(is_one),
        Isa::Avx512 => Avx512::bundles(is_one),
        _ => &[1],
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

/// Writes the first `count` bytes of sixteen.
///
/// # Safety
/// `count`, which is less than 16, bytes can be written.
#[inline(always)]
unsafe fn store_some(bytes: __m128i, mut to: *mut u8, count: usize) {
    let mut rest = bytes;
    // SAFETY: the caller's; every x86-64 has these instructions.
    unsafe {
        if count & 8 != 0 {
            _mm_storel_epi64(to.cast(), rest);
            rest = _mm_srli_si128::<8>(rest);
            to = to.add(8);
        }
        if count & 4 != 0 {
            to.cast::<i32>().write_unaligned(_mm_cvtsi128_si32(rest));
            rest = _mm_srli_si128::<4>(rest);
            to = to.add(4);
        }
        let mut last = _mm_cvtsi128_si32(rest);
        if count & 2 != 0 {
            to.cast::<i16>().write_unaligned(last as i16);
            last >>= 16;
            to = to.add(2);
        }
        if count & 1 != 0 {
            to.write(last as u8);
        }
    }
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
