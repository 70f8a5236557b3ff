//! One-message secure sums: what a device adds to its numbers so that only a sum over many devices can be read.
//!
//! A device sends `y = q + m mod 2^b` for every number `q`, where the mask `m` comes from a key that it shares with a
//! *helper* and with nobody else. The server adds the `y` of many devices and asks the helper for the sum of their
//! masks; neither learns more than the sum. Specified in `docs/formats/masked.md`; what it protects, and from whom, is
//! in `docs/privacy.md`.
//!
//! # Source
//! The masks are those of Castelluccia, Mykletun and Tsudik, 2005, "Efficient aggregation of encrypted data in wireless
//! sensor networks"; the keystream is ChaCha20 (RFC 8439), the keys are HKDF-SHA-256 (RFC 5869).

use core::fmt;

use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::bytes::{Reader, Writer};
use crate::codes::codes;
use crate::{DeviceId, ModelId};

/// Bytes of a [`Task`].
pub const TASK_BYTES: usize = 16;

/// Narrowest and widest ring, in bits of a number on the air.
pub const RING_BITS: core::ops::RangeInclusive<u8> = 2..=32;

/// Room that a ring leaves for noise beside the greatest sum, in standard deviations of it: even if all devices said the
/// most that they can, one number in 10^9 would wrap around.
const NOISE_ROOM: f64 = 6.0;

codes! {
    /// What a device tells its numbers for; each has a budget of its own.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Purpose {
        /// Reports of what the model sees.
        Monitoring = 1, "monitoring";
        /// Sums that a new head is solved from.
        Update = 2, "update";
        /// Labelled windows for an annotator.
        Windows = 3, "windows";
    }
}

/// How numbers are made, masked and summed. A device's masks depend on every part of it, so a server that tells a
/// device one thing and the helper another gets noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// What the numbers are for.
    pub purpose: Purpose,
    /// Tells the tasks of a model apart.
    pub number: u16,
    /// The model that they are of.
    pub model: ModelId,
    /// Numbers are added modulo two to this power.
    pub ring_bits: u8,
    /// Euclidean length of a device's integers at most.
    pub norm_max: u16,
    /// Euclidean length that real numbers are cut down to, in their own unit.
    pub clip: f32,
    /// Standard deviation of the noise that the helper adds to a sum, in tenths of `norm_max`; 0 for none.
    pub noise_tenths: u16,
}

impl Task {
    /// The task whose ring is as narrow as the sum of so many devices, and the noise, allows.
    ///
    /// `None` if no ring is wide enough.
    pub fn with_least_ring(self, device_count: u32) -> Option<Task> {
        RING_BITS
            .map(|ring_bits| Task { ring_bits, ..self })
            .find(|task| task.holds(device_count))
    }

    /// The task whose integers are as fine as its ring allows for so many devices, and the noise.
    ///
    /// `None` if not even integers of length 1 fit.
    pub fn with_finest_norm(self, device_count: u32) -> Option<Task> {
        let per_step = f64::from(device_count) + NOISE_ROOM * self.noise_multiplier();
        let norm_max = ((self.half_ring() / per_step) as u64).min(u16::MAX.into()) as u16;
        (norm_max > 0).then_some(Task { norm_max, ..self })
    }

    /// Whether no sum of so many devices, noise and all, can leave the ring.
    pub fn holds(&self, device_count: u32) -> bool {
        let norm = f64::from(self.norm_max);
        let noise = NOISE_ROOM * self.noise_multiplier() * norm;
        norm * f64::from(device_count) + libm::ceil(noise) <= self.half_ring()
    }

    /// Standard deviation of the helper's noise over `norm_max`.
    pub fn noise_multiplier(&self) -> f64 {
        f64::from(self.noise_tenths) / 10.0
    }

    /// Standard deviation of the helper's noise in a sum, in steps.
    pub fn noise_sd(&self) -> f64 {
        self.noise_multiplier() * f64::from(self.norm_max)
    }

    /// What one report costs a device: zero-concentrated differential privacy in millionths of ρ, rounded up; 0
    /// without noise, where the sum alone protects.
    ///
    /// # Source
    /// ρ = Δ² / (2 σ²) of the discrete Gaussian: Canonne, Kamath and Steinke, 2020, "The discrete Gaussian for
    /// differential privacy", theorem 4; here Δ is `norm_max` and σ a multiple of it.
    pub fn cost(&self) -> u32 {
        if self.noise_tenths == 0 {
            return 0;
        }
        let noise = self.noise_multiplier();
        libm::ceil(1e6 / (2.0 * noise * noise)).min(f64::from(u32::MAX)) as u32
    }

    /// Steps that a unit of `count` real numbers is divided into, so that rounding them cannot make them longer than
    /// `norm_max`; `None` if the ring is too coarse for so many.
    pub fn steps_per_unit(&self, count: usize) -> Option<f64> {
        // Rounding moves each number by at most half a step.
        let rounding = libm::sqrt(count as f64) / 2.0;
        let steps = (f64::from(self.norm_max) - rounding) / f64::from(self.clip);
        (steps > 0.0 && steps.is_finite()).then_some(steps)
    }

    /// The sum of many devices as signed integers, out of one value of the ring.
    pub fn signed(&self, value: u32) -> i64 {
        let value = i64::from(value & self.ring_mask());
        if value > self.half_ring() as i64 {
            value - (1 << self.ring_bits)
        } else {
            value
        }
    }

    /// All ones of the ring.
    pub fn ring_mask(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.ring_bits).clamp(1, 32))
    }

    /// Largest value that is read as positive.
    fn half_ring(&self) -> f64 {
        f64::from(self.ring_mask() >> 1)
    }

    /// The task as bytes: purpose u8, number u16, model u32, ring bits u8, longest u16, clip f32, noise u16.
    pub fn encode(&self) -> [u8; TASK_BYTES] {
        let mut out = [0; TASK_BYTES];
        // Its length is the array's.
        let _ = self.write(&mut Writer::new(&mut out));
        out
    }

    /// The task of [`Task::encode`]'s bytes; `None` for others.
    pub fn decode(bytes: &[u8; TASK_BYTES]) -> Option<Task> {
        Task::read(&mut Reader::new(bytes))
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>) -> Option<()> {
        out.put(&[self.purpose as u8])?;
        out.put(&self.number.to_le_bytes())?;
        out.put(&self.model.0.to_le_bytes())?;
        out.put(&[self.ring_bits])?;
        out.put(&self.norm_max.to_le_bytes())?;
        out.put(&self.clip.to_le_bytes())?;
        out.put(&self.noise_tenths.to_le_bytes())
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Task> {
        let task = Task {
            purpose: Purpose::from_code(reader.u8()?)?,
            number: reader.u16()?,
            model: ModelId(reader.u32()?),
            ring_bits: reader.u8()?,
            norm_max: reader.u16()?,
            clip: reader.f32()?,
            noise_tenths: reader.u16()?,
        };
        let is_sound = RING_BITS.contains(&task.ring_bits)
            && task.norm_max > 0
            && task.clip > 0.0
            && task.clip.is_finite();
        is_sound.then_some(task)
    }
}

/// The helper's one secret, from which it derives the key of every device. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct HelperKey(pub [u8; 32]);

impl HelperKey {
    /// The key that a device shares with this helper.
    pub fn mask_key(&self, device: DeviceId) -> MaskKey {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(&[b"tinyops mask key 1", &device.0.to_le_bytes()], &mut key)
            .expect("32 bytes are few enough for HKDF");
        MaskKey(key)
    }

    /// A key for one of the helper's own needs; `name` says which.
    pub fn derive(&self, name: &str, about: &[u8]) -> [u8; 32] {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(&[b"tinyops helper 1 ", name.as_bytes(), about], &mut key)
            .expect("32 bytes are few enough for HKDF");
        key
    }
}

impl fmt::Debug for HelperKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HelperKey(secret)")
    }
}

/// The secret that a device shares with its helper, and not with its server. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct MaskKey(pub [u8; 32]);

impl MaskKey {
    /// The masks of one message: `sequence` is a number that the device never uses twice, its envelope's.
    pub fn masks(&self, task: &Task, sequence: u32) -> Masks {
        let mut key = [0; 32];
        // It is uniform already: HKDF's first step has been done.
        Hkdf::<Sha256>::from_prk(&self.0)
            .expect("a key is as long as the hash")
            .expand_multi_info(&[b"tinyops mask 1", &task.encode()], &mut key)
            .expect("32 bytes are few enough for HKDF");
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&sequence.to_le_bytes());
        Masks {
            cipher: chacha20::ChaCha20::new(&key.into(), &nonce.into()),
            ring_mask: task.ring_mask(),
        }
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(secret)")
    }
}

/// The masks of one message, in order: four bytes of keystream each, cut to the ring.
pub struct Masks {
    cipher: chacha20::ChaCha20,
    ring_mask: u32,
}

impl Masks {
    /// Goes on at the mask with this index.
    pub fn seek(&mut self, index: u32) {
        self.cipher.seek(u64::from(index) * 4);
    }
}

impl Iterator for Masks {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let mut bytes = [0; 4];
        self.cipher.try_apply_keystream(&mut bytes).ok()?;
        Some(u32::from_le_bytes(bytes) & self.ring_mask)
    }
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Masks(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, section 2.3.2 (its key stream block 1) by way of the crate that makes it: a changed cipher would make
    /// every device's masks noise.
    #[test]
    fn the_cipher_is_that_of_the_rfc() {
        let key: [u8; 32] = core::array::from_fn(|index| index as u8);
        let nonce = [0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0];
        let mut cipher = chacha20::ChaCha20::new(&key.into(), &nonce.into());
        cipher.seek(64_u32);
        let mut bytes = [0; 16];
        cipher.apply_keystream(&mut bytes);
        let expected = [
            0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20,
            0x71, 0xc4,
        ];
        assert_eq!(bytes, expected);
    }
}
