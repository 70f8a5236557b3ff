//! RAM between our statics and the stack, painted at the start so that its use can be seen.

use core::ptr::addr_of;

use crate::chip;

/// What unused RAM is painted with, word by word.
const PAINT: u32 = 0x5354_4b21;

/// Bytes at the top of RAM that [`take`] leaves to the stack at least.
const STACK_LEAST: usize = 3 * 1024;

/// Bytes below the stack pointer that [`paint`] leaves alone, since it may use them itself.
const OWN_STACK: usize = 256;

unsafe extern "C" {
    static mut __sdata: u32;
    static mut __sheap: u32;
    static _stack_start: u32;
}

/// Bytes of RAM that were taken.
static mut TAKEN: usize = 0;

fn bottom() -> usize {
    (addr_of!(__sheap) as usize).next_multiple_of(16)
}

fn top() -> usize {
    addr_of!(_stack_start) as usize
}

/// Paints all RAM that is free now. To be called first.
pub fn paint() {
    let end = cortex_m::register::msp::read() as usize - OWN_STACK;
    let mut at = bottom();
    while at + 4 <= end {
        // SAFETY: the linker puts nothing between `__sheap` and the stack, and nothing was taken yet.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += 4;
    }
}

/// Takes `bytes` of RAM from an address that is a multiple of 16; `None` if too little is left beside the stack, which
/// keeps what it was seen to need since it was painted.
pub fn take(bytes: usize) -> Option<&'static mut [u8]> {
    let stack = stack_high_water().max(STACK_LEAST);
    // SAFETY: one core, no interrupts: nobody else reads or writes the mark. What is handed out lies between the
    // statics and the stack's least room, and is never handed out again.
    unsafe {
        let start = bottom() + TAKEN;
        let end = start.checked_add(bytes)?;
        if end > top().saturating_sub(stack) {
            return None;
        }
        TAKEN = (end - bottom()).next_multiple_of(16);
        Some(core::slice::from_raw_parts_mut(start as *mut u8, bytes))
    }
}

/// Bytes that [`take`] can still hand out if so many are left to the stack.
pub fn free(stack: usize) -> usize {
    (top() - stack_end()).saturating_sub(stack.max(STACK_LEAST))
}

/// Bytes of RAM in use: our statics, what was taken, and the deepest stack since it was painted last.
pub fn in_use() -> usize {
    let statics = bottom() - addr_of!(__sdata) as usize;
    // SAFETY: one core, no interrupts.
    statics + unsafe { TAKEN } + stack_high_water()
}

/// Bytes of RAM that the linker was given.
pub fn total() -> usize {
    top() - addr_of!(__sdata) as usize
}

/// Takes RAM of the machine's that is apart from the linker's, painted, from a multiple of 16; `None` if there is not
/// so much of it.
pub fn take_more(bytes: usize) -> Option<&'static mut [u8]> {
    static mut TAKEN: usize = 0;
    // SAFETY: one core, no interrupts. The machine has memory there, beside all that the linker knows, and what is
    // handed out is never handed out again.
    unsafe {
        let start = TAKEN;
        let end = start.checked_add(bytes)?.checked_next_multiple_of(16)?;
        if end > chip::MORE_RAM_BYTES {
            return None;
        }
        TAKEN = end;
        for at in (start..end).step_by(4) {
            ((chip::MORE_RAM + at) as *mut u32).write_volatile(PAINT);
        }
        let first = (chip::MORE_RAM + start) as *mut u8;
        Some(core::slice::from_raw_parts_mut(first, bytes))
    }
}

/// Takes RAM of the board's piece with this index: the linker's, or some apart from it, once for each piece. `None` if
/// the piece is smaller, or the board has none.
pub fn take_piece(index: usize, bytes: usize) -> Option<&'static mut [u8]> {
    match *chip::PIECES.get(index)? {
        usize::MAX => take(bytes),
        most if bytes <= most => take_more(bytes),
        _ => None,
    }
}

/// Bytes up to the last of a block that was taken and is no longer as it was painted.
pub fn touched(block: &[u8]) -> usize {
    let paint = PAINT.to_le_bytes();
    let untouched = block.iter().enumerate().rev();
    block.len()
        - untouched
            .take_while(|(index, byte)| **byte == paint[index % 4])
            .count()
}

/// Paints the stack that is free now once more, and answers with what is in use of it, in bytes.
pub fn paint_stack() -> usize {
    let pointer = cortex_m::register::msp::read() as usize;
    let end = pointer - OWN_STACK;
    let mut at = stack_end();
    while at + 4 <= end {
        // SAFETY: below the stack pointer and above everything that was taken.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += 4;
    }
    top() - pointer
}

/// The deepest stack since it was painted last, in bytes.
pub fn stack_high_water() -> usize {
    let mut at = stack_end();
    // SAFETY: reads between what was taken and the top of RAM.
    while at < top() && unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += 4;
    }
    top() - at
}

/// Where the stack would meet what was taken.
fn stack_end() -> usize {
    // SAFETY: one core, no interrupts.
    bottom() + unsafe { TAKEN }
}

/// RAM as whole numbers, less the bytes that alignment costs.
pub fn as_numbers(ram: &mut [u8]) -> &mut [i32] {
    // SAFETY: every bit pattern is an `i32`, and `align_to_mut` hands out the aligned middle only.
    unsafe { ram.align_to_mut::<i32>().1 }
}

/// RAM as words of floating point, less the bytes that alignment costs.
pub fn as_words(ram: &mut [u8]) -> &mut [f32] {
    // SAFETY: every bit pattern is an `f32`, and `align_to_mut` hands out the aligned middle only.
    unsafe { ram.align_to_mut::<f32>().1 }
}
