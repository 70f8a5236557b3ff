//! Biases, multipliers and shifts as the assembly reads them.

use core::mem::MaybeUninit;

use crate::quantize::Multiplier;

/// The most channels that a [`ChannelTable`] holds.
pub(crate) const TABLE_MAX: usize = 128;

/// Some channels of a convolution, three words each.
///
/// Channel `i` has its bias in word `3i`, its factor in word `3i + 2` and its doubled multiplier in
/// word `3i + 4`: so what ends one channel and begins the next lies together. A factor is
/// `-2^(32 + shift)` for a shift below 0, and the shift itself otherwise.
pub(crate) struct ChannelTable {
    words: [MaybeUninit<u32>; 3 * TABLE_MAX + 2],
    len: usize,
    is_low: bool,
}

impl ChannelTable {
    pub(crate) fn new() -> ChannelTable {
        ChannelTable {
            words: [const { MaybeUninit::uninit() }; 3 * TABLE_MAX + 2],
            len: 0,
            is_low: true,
        }
    }

    /// Holds these channels and no others, as many as there is place for.
    #[inline(always)]
    pub(crate) fn fill(&mut self, channels: impl Iterator<Item = (i32, Multiplier)>) {
        let mut last = 0;
        let mut len = 0;
        let mut is_low = true;
        let places = self.words.as_chunks_mut::<3>().0.iter_mut();
        for ([own_bias, last_multiplier, own_factor], (bias, multiplier)) in places.zip(channels) {
            let shift = i32::from(multiplier.shift);
            let factor = if shift < 0 {
                u32::MAX << (shift & 31)
            } else {
                is_low = false;
                shift as u32
            };
            own_bias.write(bias as u32);
            last_multiplier.write(last);
            own_factor.write(factor);
            last = (multiplier.value as u32) << 1;
            len += 1;
        }
        if let Some(last_multiplier) = self.words.get_mut(3 * len + 1) {
            last_multiplier.write(last);
        }
        self.len = len;
        self.is_low = is_low;
    }

    /// How many channels it holds.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether every shift is below 0, so that factors are below 1/2.
    pub(crate) fn is_low(&self) -> bool {
        self.is_low
    }

    /// The first channel's bias; five words of each of [`ChannelTable::len`] channels can be read,
    /// the next channel's bias among them, which may be no number yet.
    pub(super) fn as_ptr(&self) -> *const u32 {
        self.words.as_ptr().cast()
    }
}
