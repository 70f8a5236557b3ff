//! Bytes that claim to be a director's statement: what is accepted is signed, and has one encoding.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::{SigningKey, Statement};

fuzz_target!(|bytes: &[u8]| {
    // The key of the corpus.
    let key = SigningKey::from_seed(&[43; 32]);
    if let Ok(statement) = Statement::verify(bytes, &[key.verifying_key()]) {
        let mut again = vec![0; bytes.len()];
        let len = statement.encode(&key, &mut again);
        // Ed25519 is a function: the holder of the key makes the same bytes.
        assert_eq!(len.map(|len| &again[..len]), Ok(bytes));
    }
});
