//! TLS on the listeners: the certificate and key of two files, checked before anything listens and taken up anew when
//! they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tinyops_store::Timestamp;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tracing::{info, warn};

use crate::app::Clock;
use crate::civil::Moment;
use crate::watch::{Stamp, stamp};

/// The files that make the listeners speak TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those it is signed by, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    fn stamps(&self) -> [Stamp; 2] {
        [stamp(&self.certificate), stamp(&self.key)]
    }
}

/// What is wrong with one of the files.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` {problem}")]
pub struct TlsError {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// TLS of listeners. Its files are looked at again and again, and what they hold is taken up, until the last clone of it
/// is dropped; connections that stand go on with the certificate that they began with.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    renewal: Arc<Renewal>,
}

impl Tls {
    /// Reads and checks both files, and looks at them at every tick from then on.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    ///
    /// # Errors
    /// [`TlsError`] for a file that cannot be read, holds something else, does not fit the other, or is out of its time.
    pub fn open(files: &TlsFiles, now: Clock, tick: Duration) -> Result<Tls, TlsError> {
        // Before the files are read: a change in between is seen at the first tick.
        let seen = files.stamps();
        let certificate = Arc::new(Certificate {
            files: files.clone(),
            current: RwLock::new(Arc::new(load(files, now())?)),
        });
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|cause| TlsError {
                path: files.certificate.clone(),
                problem: format!("cannot be used: {cause}"),
            })?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        let asked = Arc::new(Notify::new());
        let task = tokio::spawn(renew(certificate, seen, now, tick, asked.clone()));
        Ok(Tls {
            config: Arc::new(config),
            renewal: Arc::new(Renewal {
                asked,
                task: task.abort_handle(),
            }),
        })
    }

    /// Takes up the certificate that is in the files now, whatever their times say.
    pub fn reload(&self) {
        self.renewal.asked.notify_one();
    }

    /// What handshakes are made with.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

/// The task that looks at the files.
#[derive(Debug)]
struct Renewal {
    /// Asks for a look at once.
    asked: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Renewal {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes up what is in the files whenever they change; what cannot be used leaves the certificate of before in use, for
/// the other file may only be on its way.
async fn renew(
    certificate: Arc<Certificate>,
    mut seen: [Stamp; 2],
    now: Clock,
    tick: Duration,
    asked: Arc<Notify>,
) {
    loop {
        let is_asked = tokio::select! {
            () = tokio::time::sleep(tick) => false,
            () = asked.notified() => true,
        };
        let found = certificate.files.stamps();
        if !is_asked && found == seen {
            continue;
        }
        seen = found;
        match certificate.reload(now()) {
            Ok(true) => info!("took up a certificate; connections stay"),
            Ok(false) => {}
            Err(cause) => warn!(%cause, "the certificate that is there now is not taken up"),
        }
    }
}

/// The certificate of the listeners, which can be replaced while they listen.
#[derive(Debug)]
struct Certificate {
    files: TlsFiles,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads both files again; false if they hold the certificate that is in use.
    fn reload(&self, now: Timestamp) -> Result<bool, TlsError> {
        let loaded = load(&self.files, now)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = current.cert != loaded.cert;
        *current = Arc::new(loaded);
        Ok(is_new)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads and checks both files.
fn load(files: &TlsFiles, now: Timestamp) -> Result<CertifiedKey, TlsError> {
    let wrong = |path: &Path, problem: String| TlsError {
        path: path.to_owned(),
        problem,
    };
    let read = |path: &Path| {
        std::fs::read(path).map_err(|cause| wrong(path, format!("cannot be read: {cause}")))
    };
    let (certificate, key) = (files.certificate.as_path(), files.key.as_path());
    let chain: Result<Vec<CertificateDer<'_>>, PemError> =
        CertificateDer::pem_slice_iter(&read(certificate)?).collect();
    let chain = chain.map_err(|cause| wrong(certificate, format!("is no PEM: {cause}")))?;
    let Some(first) = chain.first() else {
        let problem = "holds no certificate: it begins with `-----BEGIN CERTIFICATE-----`";
        return Err(wrong(certificate, problem.to_owned()));
    };
    match validity(first) {
        Some((_, until)) if until <= now.0 => {
            let until = Moment::of_ms(until).full();
            let problem = format!("holds a certificate that ended {until} UTC: have it renewed");
            return Err(wrong(certificate, problem));
        }
        Some((from, _)) if from > now.0 => {
            let from = Moment::of_ms(from).full();
            let problem = format!(
                "holds a certificate that begins only {from} UTC: is this machine's clock right?"
            );
            return Err(wrong(certificate, problem));
        }
        Some(_) => {}
        None => return Err(wrong(certificate, "holds no X.509 certificate".to_owned())),
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|cause| {
        wrong(
            key,
            match cause {
                PemError::NoItemsFound => {
                    "holds no private key: it begins with `-----BEGIN PRIVATE KEY-----`".to_owned()
                }
                cause => format!("is no PEM: {cause}"),
            },
        )
    })?;
    CertifiedKey::from_der(chain, secret, &provider()).map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => wrong(
            key,
            format!(
                "is not the key of the certificate in `{}`",
                certificate.display()
            ),
        ),
        cause => wrong(key, format!("cannot be used: {cause}")),
    })
}

/// From when until when a certificate holds, in Unix milliseconds (RFC 5280, section 4.1).
fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (mut fields, _) = element(certificate, 0x30)?;
    (fields, _) = element(fields, 0x30)?;
    // Version (which may be left out), serial number, signature algorithm, issuer.
    if let Some((_, rest)) = element(fields, 0xa0) {
        fields = rest;
    }
    for tag in [0x02, 0x30, 0x30] {
        (_, fields) = element(fields, tag)?;
    }
    let (times, _) = element(fields, 0x30)?;
    let (from, times) = time(times)?;
    let (until, _) = time(times)?;
    Some((from, until))
}

/// The content of a DER element of this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A `UTCTime` or `GeneralizedTime`, both with seconds and in UTC.
fn time(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, short) = match (element(bytes, 0x17), element(bytes, 0x18)) {
        (Some((text, rest)), _) => (text, rest, true),
        (_, Some((text, rest))) => (text, rest, false),
        _ => return None,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, text) = text.split_at_checked(if short { 2 } else { 4 })?;
    let year: i64 = year.parse().ok()?;
    let year = match short {
        true if year < 50 => 2000 + year,
        true => 1900 + year,
        false => year,
    };
    let part = |at: usize| -> Option<i64> { text.get(at..at + 2)?.parse().ok() };
    let (month, day) = (part(0)?, part(2)?);
    let seconds = part(4)? * 3600 + part(6)? * 60 + part(8)?;
    Some(((days(year, month, day) * 86_400 + seconds) * 1000, rest))
}

/// Days since 1970 of a date of the Gregorian calendar, counted in years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year
        - 719_468
}

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate of `localhost` that signs itself, and its key.
    pub(crate) fn files(folder: &Path, name: &str, years: (i32, i32)) -> TlsFiles {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let files = TlsFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    /// 2026-11-22.
    const NOW: Timestamp = Timestamp(1_795_374_849_000);

    #[test]
    fn files_that_cannot_serve_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let good = files(folder.path(), "good", (2020, 2051));
        load(&good, NOW).unwrap();
        let other = files(folder.path(), "other", (2020, 2051));
        let over = files(folder.path(), "over", (2020, 2024));
        let early = files(folder.path(), "early", (2049, 2060));
        let missing = folder.path().join("missing.pem");
        let cut = folder.path().join("cut.pem");
        let whole = std::fs::read_to_string(&good.certificate).unwrap();
        std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
        let cases = [
            (&missing, &good.key, "cannot be read"),
            (&good.certificate, &missing, "cannot be read"),
            (&good.key, &good.key, "holds no certificate"),
            (&cut, &good.key, "PEM"),
            (&good.certificate, &good.certificate, "holds no private key"),
            (
                &good.certificate,
                &other.key,
                "is not the key of the certificate",
            ),
            (&over.certificate, &over.key, "ended 2024-01-01"),
            (&early.certificate, &early.key, "begins only 2049-01-01"),
        ];
        for (certificate, key, expected) in cases {
            let files = TlsFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            };
            let error = load(&files, NOW).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
            assert!(error.contains(".pem") || error.contains(".key"), "{error}");
        }
    }

    #[test]
    fn days_since_1970() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29), 11_016);
        assert_eq!(days(2026, 11, 29), 20_786);
    }

    #[test]
    fn any_bytes_are_no_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let good = files(folder.path(), "good", (2020, 2051));
        let pem = std::fs::read(&good.certificate).unwrap();
        let der = CertificateDer::from_pem_slice(&pem).unwrap();
        assert!(validity(&der).is_some());
        for length in 0..der.len().min(120) {
            assert_eq!(validity(&der[..length]), None, "{length}");
        }
    }
}
