//! Files of the machine that QEMU runs on, through Arm's semihosting.
//!
//! Every call here has ended on the host before the next instruction runs: what was written before an emulator is
//! killed is in the file, and what was not is not.
//!
//! # Source
//! Arm, "Semihosting for AArch32 and AArch64", 2.0, chapter 5.

use core::arch::asm;

const OPEN: usize = 0x01;
const WRITE: usize = 0x05;
const READ: usize = 0x06;
const SEEK: usize = 0x0a;
const LENGTH: usize = 0x0c;
const COMMAND_LINE: usize = 0x15;

/// To be read, and to be read and written, as C's `fopen` has them.
const READING: usize = 1;
const WRITING: usize = 3;

/// Longest name of a file, with the zero behind it.
const NAME_BYTES_MAX: usize = 1024;

/// An open file.
pub struct HostFile(usize);

impl HostFile {
    /// Opens a file that is there, to read and to write it.
    pub fn open(name: &str) -> Option<HostFile> {
        HostFile::open_for(name, WRITING)
    }

    /// Opens a file that is there, to read it.
    pub fn open_to_read(name: &str) -> Option<HostFile> {
        HostFile::open_for(name, READING)
    }

    fn open_for(name: &str, mode: usize) -> Option<HostFile> {
        let mut ended = [0; NAME_BYTES_MAX];
        ended
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        (ended.last() == Some(&0)).then_some(())?;
        let handle = call(OPEN, &mut [ended.as_ptr() as usize, mode, name.len()]);
        (handle != usize::MAX).then_some(HostFile(handle))
    }

    /// Bytes of the file.
    pub fn len(&self) -> Option<usize> {
        let bytes = call(LENGTH, &mut [self.0]);
        (bytes != usize::MAX).then_some(bytes)
    }

    /// Reads bytes that begin there; `None` if there are not so many.
    pub fn read(&mut self, at: usize, bytes: &mut [u8]) -> Option<()> {
        self.seek(at)?;
        self.read_on(bytes)
    }

    /// Reads the bytes that come next, of a file that has no places.
    pub fn read_on(&mut self, bytes: &mut [u8]) -> Option<()> {
        let missing = call(
            READ,
            &mut [self.0, bytes.as_mut_ptr() as usize, bytes.len()],
        );
        (missing == 0).then_some(())
    }

    /// Writes bytes that begin there.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        self.seek(at)?;
        let missing = call(WRITE, &mut [self.0, bytes.as_ptr() as usize, bytes.len()]);
        (missing == 0).then_some(())
    }

    fn seek(&mut self, at: usize) -> Option<()> {
        (call(SEEK, &mut [self.0, at]) == 0).then_some(())
    }
}

/// What the program was started with: the words of `-semihosting-config arg=…`, with blanks between.
pub fn command_line(room: &mut [u8]) -> Option<&str> {
    let mut block = [room.as_mut_ptr() as usize, room.len()];
    if call(COMMAND_LINE, &mut block) != 0 {
        return None;
    }
    let text = core::str::from_utf8(room.get(..block[1])?).ok()?;
    Some(text.trim_end_matches('\0'))
}

/// Bytes that nobody can guess: those of the host, for the machine has no source of its own.
pub fn random(bytes: &mut [u8]) -> Option<()> {
    HostFile::open_to_read("/dev/urandom")?.read_on(bytes)
}

/// Asks the host; the block is read, and for some calls written, by it.
fn call(operation: usize, block: &mut [usize]) -> usize {
    let answer;
    // SAFETY: the emulator is started with semihosting on. It reads and writes the block, and the buffer that a block
    // names with its length: those of the callers above, which they have borrowed.
    unsafe {
        asm!("bkpt 0xab", inout("r0") operation => answer, in("r1") block.as_mut_ptr(), options(nostack));
    }
    answer
}
