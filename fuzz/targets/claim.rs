//! Bytes that claim to be a claim certificate: what is accepted and signed has one encoding.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_wire::SigningKey;
use tinyops_wire::claim::SignedClaim;

fuzz_target!(|bytes: &[u8]| {
    // The authority of the corpus.
    let authority = SigningKey::from_seed(&[72; 32]);
    if let Ok(signed) = SignedClaim::parse(bytes)
        && signed.is_by(&authority.verifying_key())
    {
        let mut again = vec![0; bytes.len()];
        let len = signed.claim.encode(&authority, &mut again);
        // Ed25519 is a function: the holder of the key makes the same bytes.
        assert_eq!(len.map(|len| &again[..len]), Ok(bytes));
    }
});
