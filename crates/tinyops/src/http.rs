//! The little of HTTP/1.1 that a device or a gateway needs to speak to a TinyOps server, or to an aggregator.

use std::{io, time::Duration};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::endpoint::Endpoint;

/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Bytes of an answer at most; what is longer is no answer of ours.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Media type of bytes that have none of their own.
pub(crate) const OCTETS: &str = "application/octet-stream";

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names, in small letters, and values.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, which is written in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as a document; null if it is none.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Posts a document to a server, over a connection of its own.
pub(crate) async fn post(
    server: &Endpoint,
    path: &str,
    token: Option<&str>,
    document: &Value,
) -> io::Result<Answer> {
    let body = document.to_string();
    let sent = exchange(
        server,
        path,
        token,
        &[],
        Some(("application/json", body.as_bytes())),
    );
    in_time(sent).await
}

/// Posts bytes of a media type to a server, over a connection of its own.
pub(crate) async fn post_bytes(
    server: &Endpoint,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let posted = Some((content_type, body));
    in_time(exchange(server, path, None, &[], posted)).await
}

/// Posts bytes with headers of their own, whose values are ASCII without control characters.
pub(crate) async fn post_with(
    server: &Endpoint,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, String)],
    content_type: &str,
    body: &[u8],
) -> io::Result<Answer> {
    let posted = Some((content_type, body));
    in_time(exchange(server, path, token, headers, posted)).await
}

/// Asks a server for what lies at a path, over a connection of its own.
pub(crate) async fn get(server: &Endpoint, path: &str) -> io::Result<Answer> {
    in_time(exchange(server, path, None, &[], None)).await
}

async fn in_time(exchange: impl Future<Output = io::Result<Answer>>) -> io::Result<Answer> {
    tokio::time::timeout(ANSWER_WITHIN, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn exchange(
    server: &Endpoint,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, String)],
    posted: Option<(&str, &[u8])>,
) -> io::Result<Answer> {
    let authorization = token.map_or_else(String::new, |token| {
        format!("Authorization: Bearer {token}\r\n")
    });
    let more: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let (method, content, body) = match posted {
        None => ("GET", String::new(), &[][..]),
        Some((content_type, body)) => {
            let length = body.len();
            let content = format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n");
            ("POST", content, body)
        }
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}{more}{content}Connection: close\r\n\r\n",
        server.authority(),
    );
    let mut stream = server.connect().await?;
    stream
        .write_all(&[request.as_bytes(), body].concat())
        .await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await;
    match (read, read_answer(&answer)) {
        (_, Some(answer)) => Ok(answer),
        (Err(error), None) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            no_http(server, &answer),
        )),
    }
}

/// What answers there instead.
fn no_http(server: &Endpoint, answer: &[u8]) -> String {
    match answer {
        // An alert or a handshake of TLS (RFC 8446, section 5.1), or an end without a word.
        [0x15 | 0x16, 3, ..] | [] if server.tls().is_none() => format!(
            "what answers there speaks no plain HTTP: write https://{} if it speaks TLS",
            server.authority()
        ),
        _ => "what answers there does not speak HTTP/1.1".to_owned(),
    }
}

fn read_answer(answer: &[u8]) -> Option<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status: status.parse().ok()?,
        headers,
        body: answer[end + 4..].to_vec(),
    };
    let coding = answer.header("transfer-encoding").unwrap_or_default();
    if coding.to_ascii_lowercase().contains("chunked") {
        answer.body = joined(&answer.body)?;
    } else if let Some(length) = answer.header("content-length") {
        // What was cut off on the way is no answer.
        let length: usize = length.parse().ok()?;
        if answer.body.len() < length {
            return None;
        }
        answer.body.truncate(length);
    }
    Some(answer)
}

/// The chunks of a body (RFC 9112, section 7.1), joined.
fn joined(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = size.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        let chunk = rest.get(end + 2..)?;
        body.extend(chunk.get(..size)?);
        rest = chunk.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_in_chunks() {
        let whole =
            read_answer(b"HTTP/1.1 201 Created\r\nContent-Length: 7\r\n\r\n{\"a\":1}").unwrap();
        assert_eq!((whole.status, &whole.document()["a"]), (201, &1.into()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3;x=y\r\n:2}\r\n0\r\n\r\n";
        assert_eq!(read_answer(chunked).unwrap().document()["a"], 2);
        let cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"";
        assert!(read_answer(cut).is_none());
        assert!(read_answer(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab").is_none());
        let more = read_answer(b"HTTP/1.1 200 OK\r\nX-Y:  z \r\nContent-Length: 1\r\n\r\nab");
        let more = more.unwrap();
        assert_eq!((&more.body[..], more.header("x-y")), (&b"a"[..], Some("z")));
        assert!(read_answer(b"+OK POP3 ready\r\n\r\n").is_none());
        assert!(read_answer(b"").is_none());
    }
}
