//! Windows sealed for an annotator: nobody between the device and the annotator can read them, the server neither.
//!
//! Hybrid public key encryption in base mode, with X25519, HKDF-SHA-256 and ChaCha20-Poly1305. One encapsulation serves
//! all windows of an order. What is sealed lies in one row, the *parcel*:
//!
//! ```text
//!  0           32    encapsulated key
//! 32    count × n    windows, all of one length, each followed by its 16-byte tag
//! ```
//! Associated data of each window: device u64, model u32, order u32, its place u8, how many u8. Specified in
//! `docs/formats/annotation.md`.
//!
//! # Source
//! RFC 9180, "Hybrid Public Key Encryption": mode 0x00, KEM 0x0020, KDF 0x0001, AEAD 0x0003.

use core::convert::Infallible;
use core::fmt;

use hkdf::Hkdf;
use hpke::aead::{AeadCtxR, AeadCtxS, AeadTag, ChaCha20Poly1305};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable as _, Kem, OpModeR, OpModeS, Serializable as _};
use sha2::Sha256;

use crate::{DeviceId, Digest, KeyId, ModelId};

/// Bytes of an encapsulated key, which a parcel begins with.
pub const ENCAPSULATED_BYTES: usize = 32;
/// Bytes of the tag behind each window.
pub const TAG_BYTES: usize = 16;

const INFO: &[u8] = b"tinyops windows 1";
const HEDGE: &[u8] = b"tinyops windows hedge 1";
const BOUND_BYTES: usize = 18;

type Scheme = X25519HkdfSha256;
type Sending = AeadCtxS<ChaCha20Poly1305, HkdfSha256, Scheme>;
type Receiving = AeadCtxR<ChaCha20Poly1305, HkdfSha256, Scheme>;

/// The public half of an annotator's pair: windows are sealed for whoever has the other half.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AnnotatorKey(pub [u8; 32]);

impl AnnotatorKey {
    /// What an order calls it: the first four bytes of its SHA-256. It tells keys apart and proves nothing.
    pub fn id(&self) -> KeyId {
        KeyId(Digest::of(&self.0).prefix())
    }
}

impl fmt::Debug for AnnotatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnnotatorKey({})", self.id())
    }
}

/// The private half of an annotator's pair. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct AnnotatorSecret(pub [u8; 32]);

impl AnnotatorSecret {
    /// The pair that grows from 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> AnnotatorSecret {
        let (secret, _) = Scheme::derive_keypair(seed);
        AnnotatorSecret(secret.to_bytes().into())
    }

    /// Its public half.
    pub fn key(&self) -> AnnotatorKey {
        // Any 32 bytes are a private key of X25519.
        let key = <Scheme as Kem>::PrivateKey::from_bytes(&self.0)
            .map(|secret| Scheme::sk_to_pk(&secret).to_bytes().into());
        AnnotatorKey(key.unwrap_or_default())
    }
}

impl fmt::Debug for AnnotatorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnnotatorSecret(secret)")
    }
}

/// What windows are of: the seals of another device, model or order do not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Whose windows.
    pub device: DeviceId,
    /// The model that ran when they were chosen.
    pub model: ModelId,
    /// Number of the order.
    pub order: u32,
    /// How many windows there are.
    pub count: u8,
}

impl Bound {
    fn of_window(&self, place: u8) -> [u8; BOUND_BYTES] {
        let mut out = [0; BOUND_BYTES];
        out[..8].copy_from_slice(&self.device.0.to_le_bytes());
        out[8..12].copy_from_slice(&self.model.0.to_le_bytes());
        out[12..16].copy_from_slice(&self.order.to_le_bytes());
        out[16..].copy_from_slice(&[place, self.count]);
        out
    }
}

/// Why windows cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealError {
    /// The annotator's key, or the encapsulated one, is a point of small order, which shares no secret.
    Key,
    /// The parcel is too short, or not as long as so many windows of one length are.
    Length,
    /// It was sealed for another annotator, by another device, for another order, or has changed since.
    Tag,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SealError::Key => "the key is a point of small order, which shares no secret",
            SealError::Length => "the bytes are not so many windows of one length",
            SealError::Tag => {
                "the windows were sealed for another annotator or another order, or have changed since"
            }
        })
    }
}

impl core::error::Error for SealError {}

/// Seals the windows in a parcel where they lie, and writes the encapsulated key before them.
///
/// Each window has [`TAG_BYTES`] of room behind it. `entropy` is 32 bytes that nobody else knows or can guess, used for
/// this parcel and never again.
///
/// # Errors
/// [`SealError::Length`], [`SealError::Key`]; the windows are unreadable or as they were then.
pub fn seal(
    key: &AnnotatorKey,
    bound: &Bound,
    entropy: &[u8; 32],
    parcel: &mut [u8],
) -> Result<(), SealError> {
    let (encapsulated, windows, stride) = split(bound, parcel)?;
    let (sent, mut sending) = sender(key, INFO, entropy)?;
    encapsulated.copy_from_slice(&sent);
    for (window, place) in windows.chunks_exact_mut(stride).zip(0..) {
        let (window, tag) = window.split_at_mut(stride - TAG_BYTES);
        let sealed = sending.seal_inout_detached(window.into(), &bound.of_window(place));
        tag.copy_from_slice(&sealed.map_err(|_| SealError::Length)?.to_bytes());
    }
    Ok(())
}

/// Whether bytes are none that a generator of random numbers gives: one byte over and over, bytes that rise in equal steps,
/// one half twice. It finds a driver that hands in nothing; that others are good it does not prove.
pub fn is_guessable(entropy: &[u8; 32]) -> bool {
    let (first, second) = entropy.split_at(16);
    first == second
        || (1..32).all(|at| {
            entropy[at].wrapping_sub(entropy[at - 1]) == entropy[1].wrapping_sub(entropy[0])
        })
}

/// Bytes to seal a parcel with that differ from parcel to parcel even where `entropy` does not: drawn from it, from a
/// `secret` of the device, from what the parcel is of and from the windows that lie in it, which nobody else has seen.
///
/// # Source
/// Hedging against a bad generator: RFC 8937, "Randomness improvements for security protocols"; HKDF is RFC 5869.
pub fn hedged(entropy: &[u8; 32], secret: &[u8; 32], bound: &Bound, parcel: &[u8]) -> [u8; 32] {
    let windows = parcel.get(ENCAPSULATED_BYTES..).unwrap_or_default();
    let hkdf = Hkdf::<Sha256>::new(Some(secret), entropy);
    let mut out = [0; 32];
    let context = [HEDGE, &bound.of_window(0), &Digest::of(windows).0];
    // 32 bytes are far below what it can give.
    let _ = hkdf.expand_multi_info(&context, &mut out);
    out
}

/// Opens the windows of a parcel where they lie; answers the bytes of each, without its tag.
///
/// # Errors
/// [`SealError`]; what is in the parcel is nothing then.
pub fn open(
    secret: &AnnotatorSecret,
    bound: &Bound,
    parcel: &mut [u8],
) -> Result<usize, SealError> {
    let (encapsulated, windows, stride) = split(bound, parcel)?;
    let mut receiving = receiver(secret, INFO, encapsulated)?;
    for (window, place) in windows.chunks_exact_mut(stride).zip(0..) {
        let (window, tag) = window.split_at_mut(stride - TAG_BYTES);
        let tag = AeadTag::from_bytes(tag).map_err(|_| SealError::Length)?;
        receiving
            .open_inout_detached(window.into(), &bound.of_window(place), &tag)
            .map_err(|_| SealError::Tag)?;
    }
    Ok(stride - TAG_BYTES)
}

/// The encapsulated key, the windows, and how far they are apart.
fn split<'p>(
    bound: &Bound,
    parcel: &'p mut [u8],
) -> Result<(&'p mut [u8], &'p mut [u8], usize), SealError> {
    let count = usize::from(bound.count);
    let (encapsulated, windows) = parcel
        .split_at_mut_checked(ENCAPSULATED_BYTES)
        .ok_or(SealError::Length)?;
    let stride = windows.len().checked_div(count).unwrap_or(0);
    if stride <= TAG_BYTES || stride * count != windows.len() {
        return Err(SealError::Length);
    }
    Ok((encapsulated, windows, stride))
}

fn sender(
    key: &AnnotatorKey,
    info: &[u8],
    entropy: &[u8; 32],
) -> Result<([u8; ENCAPSULATED_BYTES], Sending), SealError> {
    let key = <Scheme as Kem>::PublicKey::from_bytes(&key.0).map_err(|_| SealError::Key)?;
    let mut lent = Lent(entropy);
    let set_up = hpke::setup_sender_with_rng::<_, _, Scheme>(&OpModeS::Base, &key, info, &mut lent);
    let (sent, sending) = set_up.map_err(|_| SealError::Key)?;
    Ok((sent.to_bytes().into(), sending))
}

fn receiver(
    secret: &AnnotatorSecret,
    info: &[u8],
    encapsulated: &[u8],
) -> Result<Receiving, SealError> {
    let secret = <Scheme as Kem>::PrivateKey::from_bytes(&secret.0).map_err(|_| SealError::Key)?;
    let encapsulated =
        <Scheme as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| SealError::Key)?;
    hpke::setup_receiver(&OpModeR::Base, &secret, &encapsulated, info).map_err(|_| SealError::Key)
}

/// The caller's 32 bytes, for a scheme that asks for just so many to make one pair of keys from.
struct Lent<'e>(&'e [u8; 32]);

impl TryRng for Lent<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        assert_eq!(out.len(), 32, "one pair of keys is made from 32 bytes");
        out.copy_from_slice(self.0);
        Ok(())
    }
}

impl TryCryptoRng for Lent<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        assert_eq!(text.len(), 2 * N);
        core::array::from_fn(|at| u8::from_str_radix(&text[2 * at..][..2], 16).unwrap())
    }

    const BOUND: Bound = Bound {
        device: DeviceId(7),
        model: ModelId(8),
        order: 9,
        count: 3,
    };

    fn parcel() -> Vec<u8> {
        let mut parcel = vec![0; ENCAPSULATED_BYTES];
        for window in 0..3 {
            parcel.extend([window; 20]);
            parcel.extend([0; TAG_BYTES]);
        }
        parcel
    }

    /// RFC 9180, appendix A.2.1: keys, the first ciphertext.
    #[test]
    fn it_is_the_scheme_of_the_standard() {
        let info = b"Ode on a Grecian Urn";
        let secret = AnnotatorSecret::from_seed(&hex(
            "1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df",
        ));
        // Written clamped (section 7.1.2): its last byte is printed in the appendix as it was before, 0xfb.
        assert_eq!(
            secret.0,
            hex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e07b")
        );
        let key = AnnotatorKey(hex(
            "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a",
        ));
        assert_eq!(secret.key(), key);
        let entropy = hex("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let (sent, mut sending) = sender(&key, info, &entropy).unwrap();
        assert_eq!(
            sent,
            hex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a")
        );
        let mut text = *b"Beauty is truth, truth beauty";
        let tag = sending
            .seal_inout_detached(text.as_mut_slice().into(), b"Count-0")
            .unwrap();
        let sealed: [u8; 45] = hex(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        );
        assert_eq!(
            (&text[..], &tag.to_bytes()[..]),
            (&sealed[..29], &sealed[29..])
        );
        let mut receiving = receiver(&secret, info, &sent).unwrap();
        receiving
            .open_inout_detached(text.as_mut_slice().into(), b"Count-0", &tag)
            .unwrap();
        assert_eq!(&text, b"Beauty is truth, truth beauty");
    }

    #[test]
    fn windows_come_back_as_they_were() {
        let secret = AnnotatorSecret::from_seed(&[1; 32]);
        let mut sealed = parcel();
        seal(&secret.key(), &BOUND, &[2; 32], &mut sealed).unwrap();
        let was = parcel();
        for window in 0..3 {
            let at = ENCAPSULATED_BYTES + 36 * window;
            assert_ne!(sealed[at..][..20], was[at..][..20]);
        }
        let mut opened = sealed.clone();
        assert_eq!(open(&secret, &BOUND, &mut opened), Ok(20));
        for window in 0..3 {
            let at = ENCAPSULATED_BYTES + 36 * window;
            assert_eq!(opened[at..][..20], was[at..][..20]);
        }
        // Another parcel, with other entropy, has other bytes.
        let mut other = parcel();
        seal(&secret.key(), &BOUND, &[3; 32], &mut other).unwrap();
        assert_ne!(other[..68], sealed[..68]);
    }

    #[test]
    fn nothing_that_has_changed_opens() {
        let secret = AnnotatorSecret::from_seed(&[1; 32]);
        let mut sealed = parcel();
        seal(&secret.key(), &BOUND, &[2; 32], &mut sealed).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&secret, &BOUND, &mut changed).is_err(), "byte {at}");
        }
        let opened = |bound: Bound| open(&secret, &bound, &mut sealed.clone());
        let others = [
            Bound {
                device: DeviceId(1),
                ..BOUND
            },
            Bound {
                model: ModelId(1),
                ..BOUND
            },
            Bound { order: 1, ..BOUND },
        ];
        for bound in others {
            assert_eq!(opened(bound), Err(SealError::Tag));
        }
        assert_eq!(opened(Bound { count: 2, ..BOUND }), Err(SealError::Tag));
        assert_eq!(opened(Bound { count: 5, ..BOUND }), Err(SealError::Length));
        assert_eq!(opened(Bound { count: 0, ..BOUND }), Err(SealError::Length));
        let stranger = AnnotatorSecret::from_seed(&[9; 32]);
        assert_eq!(
            open(&stranger, &BOUND, &mut sealed.clone()),
            Err(SealError::Tag)
        );
        // Windows that change places.
        let mut swapped = sealed.clone();
        swapped.copy_within(32..68, 68);
        assert_eq!(open(&secret, &BOUND, &mut swapped), Err(SealError::Tag));
        for len in [0, 31, 32, 33, 80] {
            let mut short = sealed[..len].to_vec();
            assert_eq!(
                open(&secret, &BOUND, &mut short),
                Err(SealError::Length),
                "{len}"
            );
        }
    }

    #[test]
    fn a_key_that_shares_no_secret_is_refused() {
        let weak = AnnotatorKey([0; 32]);
        assert_eq!(
            seal(&weak, &BOUND, &[2; 32], &mut parcel()),
            Err(SealError::Key)
        );
    }
}
