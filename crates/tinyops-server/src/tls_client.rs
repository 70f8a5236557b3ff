//! TLS of clients: whose certificates they believe.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// TLS that believes certificates signed by those in this PEM, and these themselves.
///
/// # Errors
/// What is wrong with them, in words.
pub fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    match roots.is_empty() {
        true => Err("it holds no certificate".to_owned()),
        false => config(roots),
    }
}

/// TLS that believes the authorities of this machine.
pub(crate) fn trusting_as_this_machine() -> Result<Arc<ClientConfig>, String> {
    static OWN: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let problem =
            "nothing here says whose certificates to believe: add the webhook with `--ca`";
        return Err(problem.to_owned());
    }
    let config = config(roots)?;
    Ok(OWN.get_or_init(|| config).clone())
}

fn config(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
