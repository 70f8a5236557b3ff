//! Records of who a device is: as written, as torn, and as anything.

use proptest::prelude::*;
use tinyops_wire::enrolment::{EnrolmentSecret, Proof, Received};
use tinyops_wire::provision::{
    Asking, CHANNELS_MAX, Credential, Factory, ProvisionError, RECORD_BYTES_MAX, Record,
};
use tinyops_wire::sensor::{Channel, Mounting, RATE_TOLERANCE_PPM, SensorContract, SensorSection};
use tinyops_wire::{DeviceId, KeySet};

use crate::samples;
use crate::samples::{enrolment, provision as sample};

/// Reads a record and writes it again.
#[track_caller]
fn again(bytes: &[u8]) -> Vec<u8> {
    let record = Record::decode(bytes).expect("a record");
    samples::write(|out| record.encode(out).expect("room"))
}

#[test]
fn a_record_is_read_as_it_was_written_whatever_lies_behind_it() {
    for (name, bytes) in sample::records() {
        assert!(bytes.len() <= RECORD_BYTES_MAX, "{name}");
        let mut page = bytes.clone();
        page.resize(4096, 0xff);
        assert_eq!(again(&page), bytes, "{name}");
        page[bytes.len()..].fill(0x55);
        assert_eq!(again(&page), bytes, "{name}");
    }
}

#[test]
fn the_factory_record_proves_what_its_maker_was_given() {
    for (name, bytes) in &sample::records()[..2] {
        let Ok(Record::Factory(factory)) = Record::decode(bytes) else {
            panic!("{name}");
        };
        let keys: KeySet = factory.keys().expect("a key set");
        assert_eq!(keys, samples::key_set(), "{name}");
        assert_eq!(factory.roots, samples::roots(2), "{name}");
        let request = factory.credential.prove(enrolment::request);
        let received = Received::parse(&request).expect("a request");
        let is_proven = match factory.credential {
            Credential::Token { .. } => received.is_by_token(&enrolment::token().key()),
            Credential::Claim { .. } => received.is_by_claimed_key(),
        };
        assert!(is_proven, "{name}");
        let shown = format!("{factory:?}");
        assert!(
            shown.contains("secret)"),
            "secrets are shown nowhere: {shown}"
        );
    }
}

#[test]
fn erased_flash_holds_no_record_and_a_later_version_is_named() {
    let erased = [0xff; 4096];
    assert!(matches!(Record::decode(&erased), Err(ProvisionError::None)));
    assert!(matches!(Record::decode(&[]), Err(ProvisionError::None)));
    for (at, expected) in [
        (4, ProvisionError::Version { found: 9 }),
        (5, ProvisionError::Kind { found: 9 }),
    ] {
        let (_, mut bytes) = sample::records().remove(2);
        bytes[at] = 9;
        mend(&mut bytes);
        assert_eq!(Record::decode(&bytes).unwrap_err(), expected);
    }
}

#[test]
fn a_torn_record_is_none_wherever_it_was_torn() {
    for (name, bytes) in sample::records() {
        for written in 0..bytes.len() {
            let mut page = vec![0xff; 4096];
            page[..written].copy_from_slice(&bytes[..written]);
            let is_whole = page.starts_with(&bytes);
            assert_eq!(
                Record::decode(&page).is_ok(),
                is_whole,
                "{name} at {written}"
            );
            assert!(
                Record::decode(&bytes[..written]).is_err(),
                "{name} at {written}"
            );
        }
    }
}

#[test]
fn what_is_too_long_is_not_written() {
    let (_, bytes) = sample::records().remove(0);
    let Ok(Record::Factory(factory)) = Record::decode(&bytes) else {
        panic!("a factory's record");
    };
    let mut out = [0; 2 * RECORD_BYTES_MAX];
    let long = "b".repeat(41);
    for board in ["", &long] {
        let record = Record::Factory(Factory { board, ..factory });
        assert_eq!(record.encode(&mut out), Err(ProvisionError::Length));
    }
    let record = Record::Factory(Factory {
        key_set: &[0; 400],
        ..factory
    });
    assert_eq!(record.encode(&mut out), Err(ProvisionError::Length));
    let asking = Record::Asking(Asking {
        secret: EnrolmentSecret::from_bytes([1; 32]),
        request: &[0; 424],
    });
    assert_eq!(asking.encode(&mut out), Err(ProvisionError::Length));
    let record = Record::Factory(factory);
    for room in 0..bytes.len() {
        assert_eq!(
            record.encode(&mut out[..room]),
            Err(ProvisionError::Length),
            "{room}"
        );
    }
    assert_eq!(factory.device, Some(DeviceId(7)));
}

#[test]
fn a_factory_says_all_of_the_sensor_where_it_knows_it() {
    let (_, bytes) = sample::records().remove(4);
    assert_eq!(bytes[4], 2, "in version 2");
    let Ok(Record::Factory(factory)) = Record::decode(&bytes) else {
        panic!("a factory's record");
    };
    let sensor = factory.sensor.expect("it says the sensor");
    assert_eq!(sensor.bytes(), sample::contract());
    assert_eq!(sensor.mounting(), "y -x z".parse().ok());
    // What is known of the board besides is read as in version 1.
    let (_, plain) = sample::records().remove(1);
    assert_eq!(plain[4], 1);
    let Ok(Record::Factory(plain)) = Record::decode(&plain) else {
        panic!("a factory's record");
    };
    assert!(plain.sensor.is_none());
    let without = Factory {
        sensor: None,
        ..factory
    };
    assert_eq!(format!("{without:?}"), format!("{plain:?}"));
    // A contract of another sensor is none of this one.
    let mut out = [0; RECORD_BYTES_MAX];
    for other in [
        Factory {
            channel_count: 2,
            ..factory
        },
        Factory {
            rate_hz: 104.0,
            ..factory
        },
    ] {
        let refused = Record::Factory(other).encode(&mut out);
        assert_eq!(refused, Err(ProvisionError::Sensor));
    }
    // Only a factory says it.
    for kind in [2, 3] {
        let (_, mut bytes) = sample::records().remove(kind);
        bytes[4] = 2;
        mend(&mut bytes);
        let refused = Record::decode(&bytes).unwrap_err();
        assert_eq!(refused, ProvisionError::Version { found: 2 });
    }
}

/// Makes the CRC right for what is there.
fn mend(bytes: &mut [u8]) {
    let checked = bytes.len() - 4;
    let crc = tinyops_wire::crc::crc32(&bytes[..checked]);
    bytes[checked..].copy_from_slice(&crc.to_le_bytes());
}

/// Any sensor of a few channels.
fn sensors() -> impl Strategy<Value = (f32, Option<Mounting>, Vec<(String, String, f32)>)> {
    let text = || "[a-z./²]{0,7}";
    let channel = (text(), text(), 0.0_f32..1e6);
    let mounting = any::<u8>().prop_map(Mounting::from_code);
    let channels = proptest::collection::vec(channel, 0..=CHANNELS_MAX);
    (0.0_f32..1e6, mounting, channels)
}

proptest! {
    /// What a factory says of a sensor is what the device reads of it.
    #[test]
    fn every_sensor_comes_back((rate_hz, mounting, said) in sensors()) {
        let channels: Vec<Channel<'_>> = said
            .iter()
            .map(|(axis, unit, full_scale)| Channel { axis, unit, full_scale: *full_scale })
            .collect();
        let contract = SensorContract {
            rate_hz,
            rate_tolerance_ppm: RATE_TOLERANCE_PPM,
            mounting,
            channels: &channels,
        };
        let contract = samples::write(|out| contract.encode(out).expect("room"));
        let (_, bytes) = sample::records().remove(1);
        let Ok(Record::Factory(factory)) = Record::decode(&bytes) else {
            panic!("a factory's record");
        };
        let record = Record::Factory(Factory {
            channel_count: channels.len() as u16,
            rate_hz,
            sensor: SensorSection::decode(&contract).ok(),
            ..factory
        });
        let mut out = [0; RECORD_BYTES_MAX];
        let written = record.encode(&mut out).expect("the longest fits");
        let Ok(Record::Factory(read)) = Record::decode(&out[..written]) else {
            panic!("a factory's record");
        };
        let sensor = read.sensor.expect("it says the sensor");
        prop_assert_eq!(sensor.channels().collect::<Vec<_>>(), channels);
        prop_assert_eq!(sensor.mounting(), mounting);
        prop_assert_eq!(read.rate_hz, rate_hz);
    }

    /// A mended CRC lets anything through to the parser.
    #[test]
    fn no_bytes_make_it_panic(
        kind in 0_usize..5,
        changes in proptest::collection::vec((0_usize..600, any::<u8>()), 1..6),
        cut in 0_usize..600,
    ) {
        let (_, mut bytes) = sample::records().remove(kind);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut % 40).max(12));
        let body = (bytes.len() - 12) as u16;
        bytes[..4].copy_from_slice(b"TOPB");
        bytes[6..8].copy_from_slice(&body.to_le_bytes());
        mend(&mut bytes);
        if let Ok(record) = Record::decode(&bytes) {
            let mut out = [0; RECORD_BYTES_MAX];
            if let Ok(written) = record.encode(&mut out) {
                prop_assert!(Record::decode(&out[..written]).is_ok());
            }
            if let Record::Factory(factory) = record {
                let _ = factory.keys();
                let _ = factory.credential.prove(|proof| matches!(proof, Proof::Operator));
            }
        }
    }
}
