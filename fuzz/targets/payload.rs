//! Every section of a payload that parses is read without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::payload::{Payload, SectionId};
use tinyops_wire::section::{DecisionSection, GoldenSection, Labels, ScalerSection};

fuzz_target!(|bytes: &[u8]| {
    let Ok(payload) = Payload::parse(bytes) else {
        return;
    };
    if let Some(section) = payload.section(SectionId::Golden) {
        if let Ok(golden) = GoldenSection::decode(section) {
            assert_eq!(golden.vectors().count(), golden.count());
        }
    }
    if let Some(section) = payload.section(SectionId::Labels) {
        if let Ok(labels) = Labels::decode(section) {
            assert_eq!(labels.names().count(), labels.count());
        }
    }
    if let Some(section) = payload.section(SectionId::Scaler) {
        if let Ok(scaler) = ScalerSection::decode(section) {
            assert_eq!(scaler.means().count(), scaler.groups());
        }
    }
    let _ = payload.section(SectionId::Decision).map(DecisionSection::decode);
});
