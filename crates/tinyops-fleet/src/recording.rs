//! Recordings that a device sends by itself: whose, which of it, what is measured, and what its owner has agreed to
//! (`docs/formats/recording.md`).
//!
//! A device signs with the key that it alone shares with its server; what it counts rises, so that nothing is taken
//! twice; the payload is named by its digest, so that the head can be believed before the payload has come.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tinyops_store::device::{self, DeviceState};
use tinyops_store::{DeviceId, DeviceKey, Digest, Timestamp};

use crate::enrol::{hex, unhex};
use crate::{Fleet, FleetError};

/// The media type of an envelope.
pub const RECORDING_TYPE: &str = "application/x-tinyops-recording";
/// What an envelope begins with: the format's name and version.
pub const VERSION_LINE: &str = "tinyops-recording 1";
/// Bytes of everything before the payload at most.
pub const HEAD_BYTES_MAX: usize = 4096;

/// What a device says of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Who sends it: 16 hex digits.
    pub device: String,
    /// Rises from recording to recording of a device; gaps are fine. Milliseconds of a clock do.
    pub counter: u64,
    /// The SHA-256 of the payload: 64 hex digits.
    pub digest: String,
    /// Bytes of the payload.
    pub bytes: u64,
    /// What the file is called; its extension says what it is: `.wav`, `.csv`, `.json`, `.cbor`.
    pub name: String,
    /// `training`, `testing` or `anomaly`.
    pub category: String,
    /// What it shows, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The unit of each channel, in the order of the payload.
    pub units: Vec<String>,
    /// What its owner has agreed that it is used for.
    pub purpose: String,
    /// Until when, in Unix milliseconds, if the consent ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
}

/// Why a recording of a device is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unrecorded {
    /// The bytes are no envelope of this version.
    #[error("the bytes are no recording of version 1: {0}")]
    Malformed(String),
    /// The tag is not that of an active device over these bytes.
    #[error("the tag is not that of an active device of this server")]
    Tag,
    /// Nobody has agreed to its use.
    #[error("it names no purpose that its owner has agreed to")]
    NoConsent,
    /// The consent has ended.
    #[error("the consent that it names has ended")]
    Ended,
}

impl Unrecorded {
    /// A word that programs can match on.
    pub fn word(&self) -> &'static str {
        match self {
            Unrecorded::Malformed(_) => "malformed",
            Unrecorded::Tag => "tag",
            Unrecorded::NoConsent | Unrecorded::Ended => "consent",
        }
    }
}

/// An envelope up to its payload, not yet believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// What it says.
    pub head: Head,
    /// Bytes before the payload.
    pub head_bytes: usize,
    signed: Vec<u8>,
    tag: Vec<u8>,
}

impl Head {
    /// An envelope around a payload, whose digest and length are filled in.
    pub fn seal(&self, key: &DeviceKey, payload: &[u8]) -> Vec<u8> {
        let head = Head {
            digest: Digest::of(payload).to_string(),
            bytes: payload.len() as u64,
            ..self.clone()
        };
        let head = serde_json::to_string(&head).expect("a head has string keys");
        let mut bytes = format!("{VERSION_LINE}\n{head}\n").into_bytes();
        let tag = hex(&mac_of(key, &bytes).finalize().into_bytes());
        bytes.extend(tag.as_bytes());
        bytes.push(b'\n');
        bytes.extend(payload);
        bytes
    }
}

impl Claimed {
    /// Reads an envelope's first bytes; `None` while the payload has not begun.
    ///
    /// # Errors
    /// [`Unrecorded::Malformed`], also for a head longer than [`HEAD_BYTES_MAX`].
    pub fn parse(bytes: &[u8]) -> Result<Option<Claimed>, Unrecorded> {
        let wrong = |what: &str| Unrecorded::Malformed(what.to_owned());
        let version = [VERSION_LINE.as_bytes(), b"\n"].concat();
        let known = bytes.len().min(version.len());
        if bytes[..known] != version[..known] {
            return Err(wrong("the first line is not `tinyops-recording 1`"));
        }
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = ends.map(|(place, _)| place).take(3).collect();
        let [first, second, third] = ends[..] else {
            return match bytes.len() > HEAD_BYTES_MAX {
                true => Err(wrong("its head is longer than 4096 bytes")),
                false => Ok(None),
            };
        };
        if third >= HEAD_BYTES_MAX {
            return Err(wrong("its head is longer than 4096 bytes"));
        }
        let head: Head = serde_json::from_slice(&bytes[first + 1..second])
            .map_err(|error| wrong(&error.to_string()))?;
        let tag = std::str::from_utf8(&bytes[second + 1..third]).unwrap_or_default();
        if tag.len() != 64 || !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong("its third line is no tag of 64 hex digits"));
        }
        let of_digest: Result<Digest, _> = head.digest.parse();
        if of_digest.is_err() {
            return Err(wrong("its digest has not 64 hex digits"));
        }
        let _: DeviceId = head
            .device
            .parse()
            .map_err(|_| wrong("its device has not 16 hex digits"))?;
        Ok(Some(Claimed {
            head,
            head_bytes: third + 1,
            signed: bytes[..=second].to_vec(),
            tag: unhex(tag),
        }))
    }

    /// The device that it claims to be of.
    pub fn device(&self) -> DeviceId {
        self.head.device.parse().expect("it was parsed before")
    }

    /// The digest that its payload shall have.
    pub fn digest(&self) -> Digest {
        self.head.digest.parse().expect("it was parsed before")
    }

    /// Whether its tag is that of this key, and somebody has agreed to its use.
    ///
    /// # Errors
    /// [`Unrecorded`].
    pub fn check(&self, key: &DeviceKey, now: Timestamp) -> Result<(), Unrecorded> {
        if mac_of(key, &self.signed).verify_slice(&self.tag).is_err() {
            return Err(Unrecorded::Tag);
        }
        if self.head.purpose.trim().is_empty() {
            return Err(Unrecorded::NoConsent);
        }
        if self.head.until_ms.is_some_and(|until| until <= now.0) {
            return Err(Unrecorded::Ended);
        }
        Ok(())
    }
}

fn mac_of(key: &DeviceKey, signed: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(signed);
    mac
}

impl Fleet {
    /// Whether a recording is of an active device of this fleet, and may be used.
    ///
    /// # Errors
    /// The store's; the inner ones are the device's.
    pub async fn admit_recording(
        &self,
        claimed: &Claimed,
        now: Timestamp,
    ) -> Result<Result<(), Unrecorded>, FleetError> {
        let device = device::get(&self.db, claimed.device()).await?;
        let active = device.filter(|device| device.state == DeviceState::Active);
        Ok(match active {
            Some(device) => claimed.check(&device.key, now),
            None => Err(Unrecorded::Tag),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: DeviceKey = DeviceKey([7; 32]);
    const NOW: Timestamp = Timestamp(1_795_374_849_000);
    /// Made by `hmac` and `hashlib` of Python 3: see `docs/formats/recording.md`.
    const GOLDEN: &[u8] = include_bytes!("../../../testdata/golden/recording/v1.bin");

    fn head() -> Head {
        Head {
            device: "00000000000004d2".to_owned(),
            counter: 17,
            digest: String::new(),
            bytes: 0,
            name: "idle.01.csv".to_owned(),
            category: "training".to_owned(),
            label: Some("idle".to_owned()),
            units: vec!["g".to_owned()],
            purpose: "training".to_owned(),
            until_ms: Some(1_900_000_000_000),
        }
    }

    const PAYLOAD: &[u8] = b"timestamp,x\n0,1.5\n10,2.5\n";

    #[test]
    fn the_golden_envelope_is_written_and_believed() {
        assert!(
            head().seal(&KEY, PAYLOAD) == GOLDEN,
            "{}",
            String::from_utf8_lossy(GOLDEN)
        );
        let claimed = Claimed::parse(GOLDEN).unwrap().unwrap();
        assert_eq!(claimed.check(&KEY, NOW), Ok(()));
        assert_eq!(&GOLDEN[claimed.head_bytes..], PAYLOAD);
        assert_eq!(claimed.digest(), Digest::of(PAYLOAD));
        assert_eq!((claimed.device().0, claimed.head.counter), (1234, 17));
        // Whoever has another key, and whoever changes one bit before the payload.
        assert_eq!(
            claimed.check(&DeviceKey([8; 32]), NOW),
            Err(Unrecorded::Tag)
        );
        for place in 0..claimed.head_bytes {
            for bit in 0..8 {
                let mut bytes = GOLDEN.to_vec();
                bytes[place] ^= 1 << bit;
                let believed = Claimed::parse(&bytes)
                    .is_ok_and(|found| found.is_some_and(|found| found.check(&KEY, NOW).is_ok()));
                // The case of a hex digit of the tag means nothing.
                let is_case = bytes[place].eq_ignore_ascii_case(&GOLDEN[place]);
                assert_eq!(believed, is_case && place >= 268, "byte {place}, bit {bit}");
            }
        }
        for end in 0..claimed.head_bytes {
            assert_eq!(Claimed::parse(&GOLDEN[..end]), Ok(None), "cut at {end}");
        }
    }

    #[test]
    fn consent_is_asked_for() {
        let of = |head: Head| {
            let bytes = head.seal(&KEY, PAYLOAD);
            let claimed = Claimed::parse(&bytes).unwrap().unwrap();
            claimed.check(&KEY, NOW)
        };
        let unasked = Head {
            purpose: " ".to_owned(),
            ..head()
        };
        assert_eq!(of(unasked), Err(Unrecorded::NoConsent));
        let over = Head {
            until_ms: Some(NOW.0),
            ..head()
        };
        assert_eq!(of(over), Err(Unrecorded::Ended));
        let endless = Head {
            until_ms: None,
            ..head()
        };
        assert_eq!(of(endless), Ok(()));
    }

    #[test]
    fn what_is_no_envelope() {
        let long = [b"tinyops-recording 1\n".as_slice(), &[b'x'; 5000]].concat();
        for bytes in [
            b"tinyops-recording 2\n{}\n\n".as_slice(),
            b"tinyops-recording 1\n{}\n\n",
            b"tinyops-recording 1\n[]\nx\n",
            b"RIFF",
            &long,
        ] {
            let found = Claimed::parse(bytes);
            assert!(matches!(found, Err(Unrecorded::Malformed(_))), "{found:?}");
        }
    }
}
