//! Bytes that claim to be a request to enrol, or an answer to one: no panic, and what is accepted is sound.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::enrolment::{
    ANSWER_BYTES_MAX, ClassToken, EnrolmentError, EnrolmentSecret, Granted, Received, TokenId, open,
};
use tinyops_wire::key_set::{RoleKeys, Roots};
use tinyops_wire::{DeviceId, KeySet, SigningKey};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    // The keys of the corpus.
    let director = SigningKey::from_seed(&[43; 32]);
    let root = SigningKey::from_seed(&[50; 32]).verifying_key();
    let roots = Roots::new(&[root], 1).expect("one key");
    let keys = KeySet {
        sequence: 3,
        release: RoleKeys::one(director.verifying_key()),
        director: RoleKeys::one(director.verifying_key()),
    };
    let device = EnrolmentSecret::from_bytes([70; 32]);
    if kind & 1 == 1 {
        let _ = open(&device, b"some request", bytes, &roots, &keys);
        return;
    }
    let Ok(received) = Received::parse(bytes) else {
        return;
    };
    let token = ClassToken::new(TokenId(0x8c1f_00e2_a4b3_d596), [74; 32]);
    let _ = received.is_by_token(&token.key());
    let _ = received.is_by_claimed_key();
    let mut out = [0; ANSWER_BYTES_MAX];
    let granted = Granted {
        device: DeviceId(7),
        first_uplink: 0,
        key_set: &[],
    };
    let sign = |message: &[u8]| Ok::<_, EnrolmentError>(director.sign(message));
    let server = EnrolmentSecret::from_bytes([71; 32]);
    if let Ok((len, key)) = received.answer(&server, granted, sign, &mut out)
        && received.request.public == device.public()
    {
        let opened = open(&device, bytes, &out[..len], &roots, &keys);
        assert_eq!(opened.map(|enrolled| enrolled.key), Ok(key));
    }
});
