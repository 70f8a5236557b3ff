//! Where a server is and whether it speaks TLS, and a connection to it.

use std::{fmt, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rustls::{CertificateError, ClientConfig, pki_types::ServerName};
use tinyops_server::Stream;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::failure::Failure;

/// From the first byte to the end of the handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// A protocol that a server speaks, plain or through TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `http://`, `https://`
    Http,
    /// `mqtt://`, `mqtts://`
    Mqtt,
    /// The serial link or a console in a stream of TCP: `tcp://`, `tls://`
    Line,
}

impl Protocol {
    fn schemes(self) -> (&'static str, &'static str) {
        match self {
            Protocol::Http => ("http", "https"),
            Protocol::Mqtt => ("mqtt", "mqtts"),
            Protocol::Line => ("tcp", "tls"),
        }
    }

    fn default_port(self, is_tls: bool) -> u16 {
        match (self, is_tls) {
            (Protocol::Http, false) => 80,
            (Protocol::Http, true) => 443,
            (Protocol::Mqtt, false) => 1883,
            (Protocol::Mqtt, true) => 8883,
            (Protocol::Line, _) => 8421,
        }
    }
}

/// A server.
#[derive(Clone)]
pub(crate) struct Endpoint {
    protocol: Protocol,
    host: String,
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// A server in this process or on this machine, without TLS.
    pub(crate) fn plain(protocol: Protocol, address: SocketAddr) -> Self {
        Self {
            protocol,
            host: address.ip().to_string(),
            port: address.port(),
            tls: None,
        }
    }

    /// Reads `HOST:PORT`, or a URL whose scheme says whether the server speaks TLS; `ca` says who signs its certificate.
    pub(crate) fn parse(
        protocol: Protocol,
        text: &str,
        ca: Option<&Path>,
    ) -> Result<Self, Failure> {
        let (plain, secure) = protocol.schemes();
        let wrong = || {
            Failure::question(format!("`{text}` is no address of a server")).hint(format!(
                "such as 127.0.0.1:8420, {plain}://hall.example:8420 or {secure}://hall.example"
            ))
        };
        let (is_tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some((scheme, rest)) if scheme == plain => (false, rest),
            Some((scheme, rest)) if scheme == secure => (true, rest),
            Some(_) => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.rsplit_once(':') {
            // The colons of a bare IPv6 address are not a port's.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ if text.contains("://") => (rest, protocol.default_port(is_tls)),
            _ => return Err(wrong()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
        if host.is_empty() || !host.chars().all(is_fine) {
            return Err(wrong());
        }
        let tls = match (is_tls, ca) {
            (true, Some(ca)) => Some(trusting(ca)?),
            (true, None) => {
                return Err(Failure::question(format!(
                    "`{text}` speaks TLS, and nothing says who signs its certificate"
                ))
                .hint(
                    "`--ca FILE` names a PEM file of the authority, or of the certificate itself; \
                     /etc/ssl/certs/ca-certificates.crt is what this machine trusts",
                ));
            }
            (false, _) => None,
        };
        Ok(Self {
            protocol,
            host: host.to_owned(),
            port,
            tls,
        })
    }

    /// Refuses a `--ca` that nothing is checked with: whoever gives one means TLS.
    pub(crate) fn check_ca(ca: Option<&Path>, endpoints: &[&Self]) -> Result<(), Failure> {
        match endpoints.first() {
            Some(first) if ca.is_some() && endpoints.iter().all(|one| one.tls.is_none()) => {
                let (_, secure) = first.protocol.schemes();
                Err(Failure::question(format!(
                    "{first} does not speak TLS, so `--ca` proves nothing"
                ))
                .hint(format!("write {secure}://{}", first.authority())))
            }
            _ => Ok(()),
        }
    }

    /// The host, without a port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What TLS trusts, if the server speaks it.
    pub(crate) fn tls(&self) -> Option<&Arc<ClientConfig>> {
        self.tls.as_ref()
    }

    /// The host and port as HTTP names them.
    pub(crate) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Connects; through TLS, if the server speaks it, whose errors say what is wrong and what to do.
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let _ = tcp.set_nodelay(true); // Only costs latency where it fails.
        let Some(config) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let name = ServerName::try_from(self.host.clone()).map_err(|_| {
            let problem = format!("`{}` is no name that a certificate could be for", self.host);
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        })?;
        let handshake = TlsConnector::from(config.clone()).connect(name, tcp);
        match tokio::time::timeout(HANDSHAKE_WITHIN, handshake).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(self.explained(error)),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no TLS handshake in time: does {self} speak TLS?"),
            )),
        }
    }

    /// What went wrong in a handshake, in words.
    pub(crate) fn explained(&self, error: io::Error) -> io::Error {
        let Some(cause) = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<rustls::Error>())
        else {
            return match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => io::Error::new(
                    error.kind(),
                    format!("the connection ended within the handshake: does {self} speak TLS?"),
                ),
                _ => error,
            };
        };
        let host = &self.host;
        let (plain, _) = self.protocol.schemes();
        let problem = match cause {
            rustls::Error::InvalidCertificate(cause) => match cause {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "the server's certificate is not signed by whom `--ca` trusts".to_owned()
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => format!(
                    "the server's certificate is for other names than `{host}`: use one of its names"
                ),
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the server's certificate is over: have it renewed, or set this machine's clock"
                        .to_owned()
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the server's certificate has not begun: is this machine's clock right?"
                        .to_owned()
                }
                cause => format!("the server's certificate cannot be believed: {cause}"),
            },
            rustls::Error::InvalidMessage(_) => {
                format!(
                    "what answers there speaks no TLS: write {plain}://{}",
                    self.authority()
                )
            }
            cause => format!("no TLS: {cause}"),
        };
        io::Error::new(io::ErrorKind::InvalidData, problem)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (plain, secure) = self.protocol.schemes();
        let scheme = if self.tls.is_some() { secure } else { plain };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// TLS that believes certificates signed by those in a PEM file, and these themselves.
fn trusting(ca: &Path) -> Result<Arc<ClientConfig>, Failure> {
    let bytes = std::fs::read(ca).map_err(|error| {
        Failure::question(format!("cannot read `{}`", ca.display())).cause(&error)
    })?;
    tinyops_server::trusting(&bytes).map_err(|problem| no_authority(ca, problem))
}

/// The token in a file.
pub(crate) fn read_token(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::question(format!("cannot read the token file `{}`", file.display())).cause(&error)
    })?;
    Ok(text.trim().to_owned())
}

/// What is told of a file that holds no certificates.
pub(crate) fn no_authority(file: &Path, problem: String) -> Failure {
    Failure::question(format!("`{}` names no authority", file.display()))
        .because(problem)
        .hint("a PEM file begins with `-----BEGIN CERTIFICATE-----`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(protocol: Protocol, text: &str, expected: Option<&str>) {
        let read = Endpoint::parse(protocol, text, None).ok();
        let shown = read.map(|endpoint| endpoint.to_string());
        assert_eq!(shown.as_deref(), expected, "{text}");
    }

    #[test]
    fn addresses_are_read_and_others_are_not() {
        let http = |text: &str, expected| check(Protocol::Http, text, expected);
        http("127.0.0.1:8420", Some("http://127.0.0.1:8420"));
        http("hall.example:80", Some("http://hall.example:80"));
        http("http://hall.example", Some("http://hall.example:80"));
        http(
            "http://hall.example:8420/",
            Some("http://hall.example:8420"),
        );
        http("[::1]:8420", Some("http://[::1]:8420"));
        http("http://[::1]", Some("http://[::1]:80"));
        for wrong in [
            "",
            "hall.example",
            "hall.example:",
            "hall.example:99999",
            "::1",
            "mqtt://hall.example",
            "ftp://hall.example",
            "http://hall.example:8420/api",
            "http://user@hall.example",
            "http://",
            "hall example:80",
            "https://hall.example",
        ] {
            http(wrong, None);
        }
        check(
            Protocol::Mqtt,
            "mqtt://hall.example",
            Some("mqtt://hall.example:1883"),
        );
        check(Protocol::Mqtt, "http://hall.example", None);
    }
}
