//! The little of HTTP/1.1 that a bucket is asked by: one request at a time over a connection that is kept.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Bytes of the first lines of an answer at most.
const HEAD_BYTES_MAX: u64 = 64 * 1024;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) tls: bool,
    pub(super) name: String,
    pub(super) port: u16,
}

impl Host {
    /// Reads `http://host:port` or `https://host`.
    pub(super) fn parse(url: &str) -> Option<Host> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let rest = rest.trim_end_matches('/');
        let (name, port) = match rest.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()?),
            _ => (rest, if tls { 443 } else { 80 }),
        };
        let is_name = !name.is_empty() && !name.contains(['/', '@', ' ', '?', '#']);
        is_name.then(|| Host {
            tls,
            name: name.to_owned(),
            port,
        })
    }

    /// As the header `Host` has it.
    pub(super) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.name.clone(),
            (_, port) => format!("{}:{port}", self.name),
        }
    }
}

/// A connection that is kept for the next request.
pub(super) struct Connection(BufReader<Stream>);

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(bytes),
            Stream::Tls(stream) => stream.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// What a server answered, before its body.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    length: Length,
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Known(u64),
    Chunked,
    UntilTheEnd,
}

impl Connection {
    pub(super) fn open(host: &Host) -> io::Result<Connection> {
        let name = host.name.trim_start_matches('[').trim_end_matches(']');
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        let mut found = None;
        for address in (name, host.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_WITHIN) {
                Ok(stream) => {
                    found = Some(stream);
                    break;
                }
                Err(error) => last = error,
            }
        }
        let stream = found.ok_or(last)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.set_nodelay(true)?;
        let stream = if host.tls {
            let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            let connection = ClientConnection::new(tls()?, server).map_err(io::Error::other)?;
            Stream::Tls(Box::new(StreamOwned::new(connection, stream)))
        } else {
            Stream::Plain(stream)
        };
        Ok(Connection(BufReader::with_capacity(1 << 16, stream)))
    }

    /// Sends a request and reads its answer into `into`; whether the connection can be kept.
    ///
    /// A body is read into `into` on success alone; that of a refusal comes back.
    pub(super) fn ask(
        &mut self,
        request: &[u8],
        body: &[u8],
        has_answer_body: bool,
        into: &mut dyn Write,
    ) -> io::Result<(Head, Vec<u8>, u64)> {
        let stream = self.0.get_mut();
        stream.write_all(request)?;
        stream.write_all(body)?;
        stream.flush()?;
        let head = self.head()?;
        let mut refusal = Vec::new();
        let mut count = 0;
        if has_answer_body && head.status != 204 {
            count = match head.status {
                200..300 => self.body(&head, into)?,
                _ => self.body(&head, &mut refusal)?,
            };
        }
        Ok((head, refusal, count))
    }

    fn head(&mut self) -> io::Result<Head> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP");
        let mut left = HEAD_BYTES_MAX;
        let mut line = || -> io::Result<String> {
            let mut bytes = Vec::new();
            let count = (&mut self.0).take(left).read_until(b'\n', &mut bytes)?;
            left -= count as u64;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
        };
        loop {
            let first = line()?;
            let status = first
                .strip_prefix("HTTP/1.")
                .and_then(|rest| rest.get(2..5));
            let status: u16 = status
                .and_then(|status| status.parse().ok())
                .ok_or_else(malformed)?;
            let mut head = Head {
                status,
                length: Length::UntilTheEnd,
                closes: first.starts_with("HTTP/1.0"),
            };
            loop {
                let header = line()?;
                if header.is_empty() {
                    break;
                }
                let (name, value) = header.split_once(':').ok_or_else(malformed)?;
                let value = value.trim();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => {
                        head.length = Length::Known(value.parse().map_err(|_| malformed())?);
                    }
                    "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => {
                        head.length = Length::Chunked;
                    }
                    "connection" if value.eq_ignore_ascii_case("close") => head.closes = true,
                    _ => {}
                }
            }
            // What is said before the answer, such as `100 Continue`.
            if !(100..200).contains(&status) {
                return Ok(head);
            }
        }
    }

    fn body(&mut self, head: &Head, into: &mut dyn Write) -> io::Result<u64> {
        match head.length {
            Length::UntilTheEnd => io::copy(&mut self.0, into),
            Length::Known(length) => {
                let count = io::copy(&mut (&mut self.0).take(length), into)?;
                match count == length {
                    true => Ok(count),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            Length::Chunked => {
                let mut count = 0;
                loop {
                    let mut line = String::new();
                    (&mut self.0).take(100).read_line(&mut line)?;
                    let size = line.trim().split(';').next().unwrap_or_default();
                    let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
                    let got = io::copy(&mut (&mut self.0).take(size), into)?;
                    if got != size {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    count += got;
                    // The line end after each piece, and after the last, whose trailers nobody sends here.
                    line.clear();
                    (&mut self.0).take(100).read_line(&mut line)?;
                    if size == 0 {
                        return Ok(count);
                    }
                }
            }
        }
    }
}

impl Head {
    /// Whether the next request can go the same way; an answer without a body needs no length to end.
    pub(super) fn keeps(&self, had_body: bool) -> bool {
        !self.closes && (!had_body || self.status == 204 || self.length != Length::UntilTheEnd)
    }
}

/// TLS that believes the authorities of this machine, and those in the file that `AWS_CA_BUNDLE` names.
fn tls() -> io::Result<Arc<ClientConfig>> {
    static OWN: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(own.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = std::env::var_os("AWS_CA_BUNDLE") {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let found = CertificateDer::pem_file_iter(path).map_err(io::Error::other)?;
        roots.add_parsable_certificates(found.filter_map(Result::ok));
    }
    if roots.is_empty() {
        return Err(io::Error::other(
            "nothing here says whose certificates to believe: name a file in AWS_CA_BUNDLE",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(OWN.get_or_init(|| Arc::new(config)).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let check = |url: &str, expected: Option<(&str, u16)>| {
            let host = Host::parse(url);
            let found = host.as_ref().map(|host| (host.name.as_str(), host.port));
            assert_eq!(found, expected, "{url}");
        };
        check("https://s3.example", Some(("s3.example", 443)));
        check("http://127.0.0.1:9000/", Some(("127.0.0.1", 9000)));
        check("http://[::1]:9000", Some(("[::1]", 9000)));
        check("http://[::1]", Some(("[::1]", 80)));
        check("http://user@host", None);
        check("ftp://host", None);
        check("http://host:port", None);
        check("http://", None);
    }
}
