//! Statements and key sets: who signed them, how long they are, and what is refused.

use proptest::prelude::*;
use tinyops_wire::key_set::{
    KEY_SET_BYTES_MAX, KeySetError, RoleKeys, RootSignature, Roots, SignedKeySet,
};
use tinyops_wire::statement::{STATEMENT_BYTES_MAX, StatementError};
use tinyops_wire::{DeviceId, Digest, KeyId, KeySet, SigningKey, Statement};

use crate::samples;

#[test]
fn they_are_as_short_as_promised() {
    let longest = Statement {
        device: DeviceId(u64::MAX),
        manifest: Digest([0xff; 32]),
        counter: u32::MAX,
        last_uplink: u32::MAX,
    };
    let statement = samples::write(|out| longest.encode(&samples::director(), out).expect("room"));
    assert_eq!(statement.len(), STATEMENT_BYTES_MAX);
    const { assert!(STATEMENT_BYTES_MAX <= 150) };
    let set = KeySet {
        sequence: u32::MAX,
        ..samples::key_set()
    };
    let signed = samples::signed_key_set(&set, &samples::root_keys());
    assert_eq!(signed.len(), KEY_SET_BYTES_MAX);
    const { assert!(KEY_SET_BYTES_MAX <= 400) };
}

#[test]
fn a_statement_of_another_signer_is_refused() {
    let bytes = samples::statement();
    let stranger = SigningKey::from_seed(&[9; 32]).verifying_key();
    let keys = [stranger, samples::signing_key().verifying_key()];
    assert_eq!(
        Statement::verify(&bytes, &keys),
        Err(StatementError::Signature)
    );
    assert_eq!(
        Statement::verify(&bytes, &[]),
        Err(StatementError::Signature)
    );
}

#[test]
fn a_signature_over_one_kind_is_none_over_another() {
    // The same claims, signed as a capsule's manifest is: without the context of statements.
    let director = samples::director();
    let bytes = samples::write(|out| {
        let sign = |message: &[u8]| {
            let context = b"tinyops statement";
            let at = message
                .windows(context.len())
                .position(|part| part == context)
                .expect("the context");
            let mut other = message[..at - 1].to_vec();
            other.push(0x40);
            other.extend(&message[at + context.len()..]);
            Ok::<_, StatementError>(director.sign(&other))
        };
        samples::STATEMENT.encode_with(sign, out).expect("room")
    });
    let keys = [director.verifying_key()];
    assert_eq!(
        Statement::verify(&bytes, &keys),
        Err(StatementError::Signature)
    );
}

#[test]
fn so_many_different_roots_have_to_sign() {
    let [first, second, third] = samples::root_keys();
    let set = samples::key_set();
    let signed_by = |keys: &[SigningKey]| samples::signed_key_set(&set, keys);
    let count = |bytes: &[u8]| {
        let signed = SignedKeySet::parse(bytes).expect("a key set");
        signed.count_signed(&samples::roots(2))
    };
    let stranger = SigningKey::from_seed(&[9; 32]);
    assert_eq!(count(&signed_by(&[first.clone(), third.clone()])), 2);
    assert_eq!(count(&signed_by(&[first.clone(), stranger])), 1);
    let one = signed_by(std::slice::from_ref(&second));
    let signed = SignedKeySet::parse(&one).expect("a key set");
    assert_eq!(signed.verify(&samples::roots(1)), Ok(set));
    let too_few = KeySetError::Signatures {
        found: 1,
        needed: 2,
    };
    assert_eq!(signed.verify(&samples::roots(2)), Err(too_few));
}

#[test]
fn one_root_does_not_count_for_two() {
    let [first, second, _] = samples::root_keys();
    let set = samples::key_set();
    let own = RootSignature::new(&set, &first).expect("a sound key set");
    // Its own signature once more, in the name of another root, and in a name that nobody has.
    for name in [second.verifying_key().id(), KeyId([0; 4])] {
        let again = RootSignature { key: name, ..own };
        let bytes = samples::write(|out| set.encode(&[own, again], out).expect("room"));
        let signed = SignedKeySet::parse(&bytes).expect("a key set");
        assert_eq!(signed.count_signed(&samples::roots(2)), 1);
    }
    let mut out = [0; KEY_SET_BYTES_MAX];
    assert_eq!(set.encode(&[own, own], &mut out), Err(KeySetError::Cose));
    let key = first.verifying_key();
    assert_eq!(
        Roots::new(&[key, key], 2),
        None,
        "nor as a root given twice"
    );
}

#[test]
fn roots_are_one_to_three_and_enough_for_their_threshold() {
    let keys = samples::root_keys().map(|key| key.verifying_key());
    assert_eq!(Roots::new(&[], 0), None);
    assert_eq!(Roots::new(&keys, 0), None);
    assert_eq!(Roots::new(&keys, 4), None);
    let fourth = samples::director().verifying_key();
    assert_eq!(Roots::new(&[keys[0], keys[1], keys[2], fourth], 1), None);
    assert!(Roots::new(&keys, 3).is_some());
}

#[test]
fn a_key_under_which_anybody_can_sign_makes_no_key_set() {
    let set = KeySet {
        release: RoleKeys::one(samples::signing_key().verifying_key()),
        ..samples::key_set()
    };
    let mut bytes = samples::signed_key_set(&set, &samples::root_keys()[..1]);
    let key = samples::signing_key().verifying_key().to_bytes();
    let at = bytes
        .windows(32)
        .position(|part| part == key)
        .expect("the key");
    bytes[at..at + 32].fill(0);
    assert_eq!(SignedKeySet::parse(&bytes).err(), Some(KeySetError::Key));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bit_of_a_statement_can_be_changed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = samples::statement();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let keys = [samples::director().verifying_key()];
        prop_assert!(Statement::verify(&bytes, &keys).is_err(), "bit {bit} of byte {at}");
    }

    #[test]
    fn no_bit_of_a_key_set_can_be_changed(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = samples::signed_key_set(&samples::key_set(), &samples::root_keys()[..2]);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let verified = SignedKeySet::parse(&bytes).and_then(|signed| signed.verify(&samples::roots(2)));
        prop_assert!(verified.is_err(), "bit {bit} of byte {at}");
    }

    #[test]
    fn neither_can_be_cut_short_or_gone_on_with(len in 0..391_usize, more in any::<u8>()) {
        let keys = [samples::director().verifying_key()];
        let statement = samples::statement();
        if len < statement.len() {
            prop_assert!(Statement::verify(&statement[..len], &keys).is_err());
        }
        let set = samples::signed_key_set(&samples::key_set(), &samples::root_keys());
        prop_assert!(SignedKeySet::parse(&set[..len.min(set.len() - 1)]).is_err());
        let longer = |mut bytes: Vec<u8>| {
            bytes.push(more);
            bytes
        };
        prop_assert!(Statement::verify(&longer(statement), &keys).is_err());
        prop_assert!(SignedKeySet::parse(&longer(set)).is_err());
    }
}
