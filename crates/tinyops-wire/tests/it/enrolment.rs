//! Enrolment: both sides come to one key, and nobody in between can.

use proptest::prelude::*;
use tinyops_wire::claim::{CLAIM_BYTES_MAX, Claim, ClaimError, SignedClaim};
use tinyops_wire::enrolment::{
    ANSWER_BYTES_MAX, ClassToken, Enrolled, EnrolmentError, EnrolmentSecret, Granted, Proof,
    PublicKey, REQUEST_BYTES_MAX, Received, Request, Shown, TokenId, open,
};
use tinyops_wire::{DeviceId, Digest, KeySet, SigningKey, Timestamp};

use crate::samples;
use crate::samples::enrolment as sample;

/// What the device comes to with an answer.
fn opened(request: &[u8], answer: &[u8]) -> Result<Enrolled, EnrolmentError> {
    let (roots, keys) = (samples::roots(2), samples::key_set());
    open(&sample::device_secret(), request, answer, &roots, &keys)
}

#[test]
fn both_sides_come_to_one_key_whatever_is_shown() {
    for (name, request) in sample::requests() {
        let received = Received::parse(&request).expect(name);
        assert_eq!(received.request, sample::REQUEST(), "{name}");
        let (answer, key) = sample::answer(&request);
        let enrolled = opened(&request, &answer).expect(name);
        let expected = Enrolled {
            device: sample::GRANTED.device,
            key,
            first_uplink: sample::GRANTED.first_uplink,
        };
        assert_eq!(enrolled, expected, "{name}");
        let hides = |bytes: &[u8]| !bytes.windows(32).any(|part| part == expected.key.0);
        assert!(hides(&request) && hides(&answer), "{name}");
    }
}

#[test]
fn keys_differ_with_every_part_of_the_exchange() {
    let request = sample::request(Proof::Operator);
    let (_, key) = sample::answer(&request);
    let mut keys = vec![key];
    let other_nonce = Request {
        nonce: [9; 16],
        ..sample::REQUEST()
    };
    let other = samples::write(|out| other_nonce.encode(Proof::Operator, out).expect("room"));
    keys.push(sample::answer(&other).1);
    let received = Received::parse(&request).expect("a request");
    let mut out = [0; ANSWER_BYTES_MAX];
    let mut with = |secret: [u8; 32], device: u64| {
        let secret = EnrolmentSecret::from_bytes(secret);
        let granted = Granted {
            device: DeviceId(device),
            ..sample::GRANTED
        };
        let sign = |message: &[u8]| Ok::<_, EnrolmentError>(samples::director().sign(message));
        let answered = received.answer(&secret, granted, sign, &mut out);
        answered.expect("an answer").1
    };
    keys.push(with([71; 32], sample::GRANTED.device.0 + 1));
    keys.push(with([72; 32], sample::GRANTED.device.0));
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{index}");
    }
}

/// The points of small order on the curve and its twist, and second encodings of some (RFC 7748, section 6.1; cr.yp.to's
/// list of Curve25519 inputs that make zero).
const SMALL_ORDER: [&str; 12] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
    "4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
    "d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn keys_of_small_order_and_second_encodings_are_refused_by_both_sides() {
    for (index, text) in SMALL_ORDER.iter().enumerate() {
        let point: Digest = text.parse().expect("hex");
        let mut request = sample::request(Proof::Operator);
        request[14..46].copy_from_slice(&point.0);
        let answered = Received::parse(&request).and_then(|received| {
            let mut out = [0; ANSWER_BYTES_MAX];
            let sign = |message: &[u8]| Ok::<_, EnrolmentError>(samples::director().sign(message));
            received.answer(&sample::server_secret(), sample::GRANTED, sign, &mut out)
        });
        let refused = answered.map(|_| ()).unwrap_err();
        assert_eq!(refused, EnrolmentError::PublicKey, "{text}");
        // A server, too, could say so to make a key that everybody knows.
        let request = sample::request(Proof::Operator);
        let (mut answer, _) = sample::answer(&request);
        answer[1..33].copy_from_slice(&point.0);
        sample::sign_again(&request, &mut answer);
        assert_eq!(
            opened(&request, &answer),
            Err(EnrolmentError::PublicKey),
            "{text}"
        );
        assert_eq!(PublicKey::from_bytes(point.0).is_ok(), index < 5, "{text}");
    }
}

#[test]
fn a_token_is_proven_and_not_shown() {
    let token = sample::token();
    let request = sample::request(Proof::Token(&token));
    let text = token.text().to_string();
    assert_eq!(text.parse(), Ok(token.clone()));
    let secret: Digest = text[30..].parse().expect("hex");
    for known in [secret.0, token.key().0] {
        assert!(!request.windows(32).any(|part| part == known));
    }
    assert!(!format!("{token:?}{:?}", token.key()).contains(&text[30..38]));
    let received = Received::parse(&request).expect("a request");
    assert!(matches!(received.shown, Shown::Token(id) if id == token.id));
    assert!(received.is_by_token(&token.key()));
    assert!(!received.is_by_claimed_key());
    // The same secret under another id is another token.
    let renamed = ClassToken::new(TokenId(token.id.0 ^ 1), secret.0);
    assert!(!received.is_by_token(&renamed.key()));
    let stranger = ClassToken::new(token.id, [1; 32]);
    assert!(!received.is_by_token(&stranger.key()));
    for wrong in [
        "",
        "tinyops_class_",
        &text[..text.len() - 1],
        &text.replace("class_", "klass_"),
        &text.replace('0', "g"),
        &format!("{text}0"),
        "tinyops_class_ä0000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ] {
        let read: Result<ClassToken, _> = wrong.parse();
        assert_eq!(read, Err(EnrolmentError::TokenText), "{wrong}");
    }
}

#[test]
fn every_changed_bit_of_a_request_breaks_its_proof() {
    let token = sample::token();
    for (name, request) in sample::requests() {
        if name == "operator" {
            continue;
        }
        for bit in 0..request.len() * 8 {
            let mut changed = request.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let Ok(received) = Received::parse(&changed) else {
                continue;
            };
            let authority = sample::authority().verifying_key();
            let is_proven = received.is_by_token(&token.key())
                || matches!(received.shown, Shown::Claim(claim)
                    if claim.is_by(&authority) && received.is_by_claimed_key());
            assert!(!is_proven, "{name}, bit {bit}");
        }
    }
}

#[test]
fn every_changed_bit_of_an_answer_is_noticed() {
    let request = sample::request(Proof::Operator);
    let (answer, _) = sample::answer(&request);
    for bit in 0..answer.len() * 8 {
        let mut changed = answer.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(opened(&request, &changed).is_err(), "bit {bit}");
    }
    for length in 0..answer.len() {
        assert!(opened(&request, &answer[..length]).is_err(), "{length}");
    }
    let longer = [&answer[..], &[0]].concat();
    assert_eq!(opened(&request, &longer), Err(EnrolmentError::Length));
}

#[test]
fn an_answer_belongs_to_its_request_and_its_server() {
    let token = sample::token();
    let request = sample::request(Proof::Token(&token));
    let (answer, _) = sample::answer(&request);
    // The answer to another request of the same device.
    let other = sample::request(Proof::Operator);
    assert_eq!(opened(&other, &answer), Err(EnrolmentError::Signature));
    // Somebody in between who knows the token and plays server: no director has signed.
    let mut played = answer.clone();
    let forger = SigningKey::from_seed(&[66; 32]);
    sample::sign_with(&request, &mut played, &forger);
    assert_eq!(opened(&request, &played), Err(EnrolmentError::Signature));
    // Another device's secret does not open it.
    let (roots, keys) = (samples::roots(2), samples::key_set());
    let thief = EnrolmentSecret::from_bytes([99; 32]);
    let stolen = open(&thief, &request, &answer, &roots, &keys);
    assert_eq!(stolen, Err(EnrolmentError::Seal));
}

/// The device's firmware is older than the server's director key: the answer brings the key set that says so.
#[test]
fn a_newer_key_set_comes_with_the_answer_and_is_checked() {
    let request = sample::request(Proof::Operator);
    let next = SigningKey::from_seed(&[44; 32]);
    let newer = KeySet {
        sequence: samples::key_set().sequence + 1,
        director: tinyops_wire::key_set::RoleKeys::one(next.verifying_key()),
        ..samples::key_set()
    };
    let answer_with = |set: &[u8]| sample::answer_by(&request, set, &next).0;
    let signed = samples::signed_key_set(&newer, &samples::root_keys());
    assert!(opened(&request, &answer_with(&signed)).is_ok());
    let answer = answer_with(&signed);
    assert!(answer.len() <= ANSWER_BYTES_MAX);
    assert_eq!(
        opened(
            &request,
            &sample::answer_by(&request, &signed, &samples::director()).0
        ),
        Err(EnrolmentError::Signature),
        "the director of before"
    );
    let few = samples::signed_key_set(&newer, &samples::root_keys()[..1]);
    assert!(matches!(
        opened(&request, &answer_with(&few)),
        Err(EnrolmentError::KeySet(_))
    ));
    let old = samples::signed_key_set(&samples::key_set(), &samples::root_keys());
    assert_eq!(
        opened(
            &request,
            &sample::answer_by(&request, &old, &samples::director()).0
        ),
        Err(EnrolmentError::KeySetOld)
    );
    assert!(matches!(
        opened(&request, &answer_with(b"no key set")),
        Err(EnrolmentError::KeySet(_))
    ));
}

#[test]
fn claims_say_who_signed_them_and_when_they_end() {
    let bytes = sample::claim();
    let signed = SignedClaim::parse(&bytes).expect("a claim");
    assert_eq!(signed.claim, sample::CLAIM());
    assert!(signed.is_by(&sample::authority().verifying_key()));
    assert!(!signed.is_by(&samples::director().verifying_key()));
    let end_ms = i64::from(sample::CLAIM().ends_s) * 1000;
    assert!(!signed.claim.is_over(Timestamp(end_ms - 1)));
    assert!(signed.claim.is_over(Timestamp(end_ms)));
    let endless = Claim {
        ends_s: 0,
        ..sample::CLAIM()
    };
    assert!(!endless.is_over(Timestamp(i64::MAX)));
    let refused = |claim: Claim<'_>| {
        let mut out = [0; CLAIM_BYTES_MAX];
        claim.encode(&sample::authority(), &mut out).unwrap_err()
    };
    let long = "x".repeat(41);
    let with_serial = |serial| Claim {
        serial,
        ..sample::CLAIM()
    };
    assert_eq!(refused(with_serial(&long)), ClaimError::Text);
    assert_eq!(refused(with_serial("")), ClaimError::Text);
    let no_uses = Claim {
        uses: 0,
        ..sample::CLAIM()
    };
    assert_eq!(refused(no_uses), ClaimError::Uses);
    // A statement's signature is none over a claim, whatever the bytes.
    assert_eq!(
        SignedClaim::parse(&samples::statement()).unwrap_err(),
        ClaimError::Cbor
    );
}

#[test]
fn requests_and_answers_are_as_short_as_promised() {
    let text = "x".repeat(40);
    let claim = Claim {
        serial: &text,
        board: &text,
        cohort: &text,
        uses: u32::MAX,
        ends_s: u32::MAX,
        ..sample::CLAIM()
    };
    let certificate = samples::write(|out| claim.encode(&sample::authority(), out).expect("room"));
    assert_eq!(certificate.len(), CLAIM_BYTES_MAX);
    let request = Request {
        board: &text,
        ..sample::REQUEST()
    };
    let key = sample::claimed_key();
    let proof = Proof::Claim {
        certificate: &certificate,
        key: &key,
    };
    let mut out = [0; REQUEST_BYTES_MAX];
    assert_eq!(request.encode(proof, &mut out), Ok(REQUEST_BYTES_MAX));
    for room in 0..REQUEST_BYTES_MAX {
        assert_eq!(
            request.encode(proof, &mut out[..room]),
            Err(EnrolmentError::Length)
        );
    }
    let token = sample::token();
    let sizes = (
        sample::request(Proof::Token(&token)).len(),
        sample::answer(&sample::request(Proof::Token(&token)))
            .0
            .len(),
    );
    // Enrolment takes less than 300 bytes on the air.
    assert_eq!(sizes, (94, 127));
    for board in ["", &"x".repeat(41)] {
        let request = Request {
            board,
            ..sample::REQUEST()
        };
        let written = request.encode(Proof::Operator, &mut out);
        assert_eq!(written, Err(EnrolmentError::Length), "{board}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_have_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        if let Ok(received) = Received::parse(&bytes) {
            prop_assert_eq!(received.digest(), Digest::of(&bytes));
        }
        let _ = SignedClaim::parse(&bytes);
        let _ = opened(&sample::request(Proof::Operator), &bytes);
    }

    #[test]
    fn any_change_of_a_sound_request_is_no_panic(at in 0usize..400, with in any::<u8>(), cut in 0usize..400) {
        for (_, mut request) in sample::requests() {
            let at = at % request.len();
            request[at] = with;
            request.truncate(request.len() - cut % request.len());
            if let Ok(received) = Received::parse(&request) {
                let _ = received.is_by_token(&sample::token().key());
                let _ = received.is_by_claimed_key();
            }
        }
    }
}
