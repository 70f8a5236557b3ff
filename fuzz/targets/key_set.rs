//! Bytes that claim to be a key set: what can be taken apart is put together to the same bytes.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::SigningKey;
use tinyops_wire::key_set::{Roots, SignedKeySet};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedKeySet::parse(bytes) {
        let mut again = vec![0; bytes.len()];
        let len = signed.set.encode(signed.signatures(), &mut again);
        assert_eq!(len.map(|len| &again[..len]), Ok(bytes));
        // The root keys of the corpus.
        let keys = [50, 51, 52].map(|seed| SigningKey::from_seed(&[seed; 32]).verifying_key());
        let roots = Roots::new(&keys, 2).expect("three keys");
        assert!(usize::from(signed.count_signed(&roots)) <= signed.signatures().len());
    }
});
