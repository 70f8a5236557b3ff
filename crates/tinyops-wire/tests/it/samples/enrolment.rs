//! One enrolment in all its forms.

use tinyops_wire::claim::Claim;
use tinyops_wire::enrolment::{
    ANSWER_BYTES_MAX, ClassToken, EnrolmentError, EnrolmentSecret, Granted, Proof, Received,
    Request, TokenId,
};
use tinyops_wire::{DeviceId, DeviceKey, Digest, SigningKey};

use super::write;

pub(crate) fn device_secret() -> EnrolmentSecret {
    EnrolmentSecret::from_bytes([70; 32])
}

pub(crate) fn server_secret() -> EnrolmentSecret {
    EnrolmentSecret::from_bytes([71; 32])
}

pub(crate) fn authority() -> SigningKey {
    SigningKey::from_seed(&[72; 32])
}

pub(crate) fn claimed_key() -> SigningKey {
    SigningKey::from_seed(&[73; 32])
}

pub(crate) fn token() -> ClassToken {
    ClassToken::new(TokenId(0x8c1f_00e2_a4b3_d596), [74; 32])
}

#[expect(non_snake_case, reason = "a constant that has to be computed")]
pub(crate) fn REQUEST() -> Request<'static> {
    Request {
        key_set: 3,
        device: Some(DeviceId(0x0011_2233_4455_6677)),
        public: device_secret().public(),
        nonce: [75; 16],
        board: "esp-eye",
    }
}

pub(crate) const GRANTED: Granted<'static> = Granted {
    device: DeviceId(0x0011_2233_4455_6677),
    first_uplink: 258,
    key_set: &[],
};

#[expect(non_snake_case, reason = "a constant that has to be computed")]
pub(crate) fn CLAIM() -> Claim<'static> {
    Claim {
        serial: "S-0042",
        board: "esp-eye",
        cohort: "hall-1",
        key: claimed_key().verifying_key(),
        uses: 1,
        ends_s: 1_800_000_000,
    }
}

pub(crate) fn claim() -> Vec<u8> {
    write(|out| CLAIM().encode(&authority(), out).expect("room"))
}

pub(crate) fn request(proof: Proof<'_>) -> Vec<u8> {
    write(|out| REQUEST().encode(proof, out).expect("room"))
}

/// One request of each kind.
pub(crate) fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let (certificate, key) = (claim(), claimed_key());
    let claim = Proof::Claim {
        certificate: &certificate,
        key: &key,
    };
    vec![
        ("token", request(Proof::Token(&token()))),
        ("claim", request(claim)),
        ("operator", request(Proof::Operator)),
    ]
}

pub(crate) fn answer(request: &[u8]) -> (Vec<u8>, DeviceKey) {
    answer_by(request, &[], &super::director())
}

pub(crate) fn answer_by(
    request: &[u8],
    key_set: &[u8],
    director: &SigningKey,
) -> (Vec<u8>, DeviceKey) {
    let received = Received::parse(request).expect("a request");
    let granted = Granted { key_set, ..GRANTED };
    let mut out = vec![0; ANSWER_BYTES_MAX];
    let sign = |message: &[u8]| Ok::<_, EnrolmentError>(director.sign(message));
    let answered = received.answer(&server_secret(), granted, sign, &mut out);
    let (written, key) = answered.expect("an answer");
    out.truncate(written);
    (out, key)
}

/// Lets the director sign what somebody has changed; the seal is that of before.
pub(crate) fn sign_again(request: &[u8], answer: &mut [u8]) {
    sign_with(request, answer, &super::director());
}

pub(crate) fn sign_with(request: &[u8], answer: &mut [u8], key: &SigningKey) {
    let signed_len = answer.len() - 80;
    let message = [
        b"tinyops enrolment answer 1",
        &Digest::of(request).0[..],
        &answer[..signed_len],
    ]
    .concat();
    answer[signed_len..signed_len + 64].copy_from_slice(&key.sign(&message));
}
