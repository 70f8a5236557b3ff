//! The stories on somebody else's flash, which stops a test that writes what is not erased.

use core::ops::Range;
use std::sync::Arc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use embedded_storage_inmemory::MemFlash;
use tinyops_device::flash::Flash;

use super::explore::run_without_faults;
use super::flash::{Faulty, Struck};
use super::schedule::Fault;

const BYTES: usize = 2 * 1024 + 2 * 4096;

type Inner = MemFlash<BYTES, 1024, 4>;

/// Flash that has no faults; a reset is all that can happen to it.
struct Foreign {
    inner: Box<Inner>,
    factory: Arc<[u8]>,
    operations: u64,
    has_power: bool,
}

impl Clone for Foreign {
    fn clone(&self) -> Foreign {
        Foreign {
            inner: Box::new(MemFlash {
                mem: self.inner.mem,
            }),
            factory: Arc::clone(&self.factory),
            ..*self
        }
    }
}

impl ErrorType for Foreign {
    type Error = <Inner as ErrorType>::Error;
}

impl ReadNorFlash for Foreign {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        ReadNorFlash::read(&mut *self.inner, offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.inner.capacity()
    }
}

impl NorFlash for Foreign {
    const WRITE_SIZE: usize = <Inner as NorFlash>::WRITE_SIZE;
    const ERASE_SIZE: usize = <Inner as NorFlash>::ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.operations += 1;
        NorFlash::erase(&mut *self.inner, from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.operations += 1;
        NorFlash::write(&mut *self.inner, offset, bytes)
    }
}

impl Flash for Foreign {
    fn mapped(&self, range: Range<usize>) -> Option<&[u8]> {
        self.inner.mem.get(range)
    }

    fn factory(&self) -> &[u8] {
        &self.factory
    }
}

impl Faulty for Foreign {
    const NAME: &'static str = "embedded-storage-inmemory";

    fn blank(slot_bytes: usize, factory: Vec<u8>) -> Self {
        assert!(
            slot_bytes < 4096,
            "{slot_bytes} bytes and a statement fit a slot"
        );
        Foreign {
            inner: Box::default(),
            factory: factory.into(),
            operations: 0,
            has_power: true,
        }
    }
    fn set_tripwire(&mut self, _: &[u8]) {}
    fn arm(&mut self, _: &[Fault]) {}
    fn power_up(&mut self) {
        self.has_power = true;
    }
    fn cut(&mut self) {
        self.has_power = false;
    }
    fn has_power(&self) -> bool {
        self.has_power
    }
    fn has_decayed(&self) -> bool {
        false
    }
    fn operations(&self) -> u64 {
        self.operations
    }
    fn struck(&self) -> &[Struck] {
        &[]
    }
    fn misused(&self) -> Option<usize> {
        None
    }
    fn erases(&self) -> &[u32] {
        &[]
    }
}

#[test]
fn every_story_comes_true_on_another_flash() {
    // Nothing there stops a device when it reads a capsule.
    run_without_faults::<Foreign>(|story| story.name != "endless-check");
}
