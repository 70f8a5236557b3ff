//! One board's records.

use tinyops_wire::enrolment::{Enrolled, Proof};
use tinyops_wire::provision::{Asking, Credential, Factory, Record};
use tinyops_wire::sensor::{Channel, RATE_TOLERANCE_PPM, SensorContract, SensorSection};
use tinyops_wire::{DeviceId, DeviceKey};

use super::{enrolment, key_set, root_keys, roots, signed_key_set, write};

/// Of a sensor whose three axes lie otherwise in its machine.
pub(crate) fn contract() -> Vec<u8> {
    let axis = |axis| Channel {
        axis,
        unit: "m/s2",
        full_scale: 39.2266,
    };
    let contract = SensorContract {
        rate_hz: 100.0,
        rate_tolerance_ppm: RATE_TOLERANCE_PPM,
        mounting: "y -x z".parse().ok(),
        channels: &["acc.x", "acc.y", "acc.z"].map(axis),
    };
    write(|out| contract.encode(out).expect("room"))
}

/// A factory's with a token and with a claim, a request's, an enrolled device's, a factory's that says all of the sensor.
pub(crate) fn records() -> Vec<(&'static str, Vec<u8>)> {
    let key_set = signed_key_set(&key_set(), &root_keys()[..2]);
    let (certificate, request) = (enrolment::claim(), enrolment::request(Proof::Operator));
    let token = enrolment::token();
    let contract = contract();
    let claim = Credential::Claim {
        certificate: &certificate,
        seed: [73; 32],
    };
    let with = |credential, sensor| {
        Record::Factory(Factory {
            roots: roots(2),
            key_set: &key_set,
            board: "esp-eye",
            channel_count: 3,
            rate_hz: 100.0,
            report_windows: 24,
            report_ms: 60_000,
            device: Some(DeviceId(7)),
            credential,
            sensor,
        })
    };
    let records = [
        (
            "factory-token",
            with(
                Credential::Token {
                    id: token.id,
                    secret: token.secret(),
                },
                None,
            ),
        ),
        ("factory-claim", with(claim, None)),
        (
            "asking",
            Record::Asking(Asking {
                secret: enrolment::device_secret(),
                request: &request,
            }),
        ),
        (
            "enrolled",
            Record::Enrolled(Enrolled {
                device: DeviceId(7),
                key: DeviceKey([9; 32]),
                first_uplink: 258,
            }),
        ),
        (
            "factory-sensor",
            with(claim, SensorSection::decode(&contract).ok()),
        ),
    ];
    let bytes = |record: Record<'_>| write(|out| record.encode(out).expect("room"));
    records.map(|(name, record)| (name, bytes(record))).into()
}
