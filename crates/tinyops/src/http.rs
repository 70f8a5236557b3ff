//! The little of HTTP/1.1 that a device or a gateway needs to speak to a TinyOps server, or to an aggregator.

use std::{io, time::Duration};

use serde_json::Value;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};

use tinyops_server::Stream;

use crate::endpoint::Endpoint;

/// An answer that takes longer is none.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Bytes of an answer at most; what is longer is no answer of ours.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes of the first lines of an answer at most.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// A body that comes part by part is waited for so long at a time.
const PART_WITHIN: Duration = Duration::from_secs(120);
/// Bytes of a part.
const PART_BYTES: usize = 256 << 10;

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

/// Where the parts of a body go, in order.
pub(crate) trait Parts {
    /// Takes the next part.
    async fn take(&mut self, part: Vec<u8>) -> io::Result<()>;
}

impl Parts for Vec<u8> {
    async fn take(&mut self, part: Vec<u8>) -> io::Result<()> {
        if (self.len() + part.len()) as u64 > DOCUMENT_BYTES_MAX {
            return Err(io::Error::other("the answer is too long to be one"));
        }
        self.extend_from_slice(&part);
        Ok(())
    }
}

/// The beginning of what a server says of a refusal.
struct Refusal(Vec<u8>);

impl Parts for Refusal {
    async fn take(&mut self, part: Vec<u8>) -> io::Result<()> {
        self.0.extend_from_slice(&part);
        match self.0.len() as u64 > HEAD_BYTES_MAX {
            true => Err(io::Error::other("that is enough of a refusal")),
            false => Ok(()),
        }
    }
}

/// Bytes of a document at most that is asked for of somebody else's server.
const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Asks a server, over a connection to it, for what is long, and hands its body on part by part; the answer holds the
/// beginning of the body of a refusal alone.
///
/// `posted` is a document to post; without one it is a GET.
pub(crate) async fn fetch(
    stream: Box<dyn Stream>,
    server: &Endpoint,
    path: &str,
    headers: &[(&str, String)],
    posted: Option<&Value>,
    into: &mut impl Parts,
) -> io::Result<Answer> {
    let document = posted.map(Value::to_string);
    let posted = document
        .as_ref()
        .map(|text| ("application/json", text.as_bytes()));
    let request = request(server, path, None, headers, posted);
    let mut stream = BufReader::with_capacity(PART_BYTES, stream);
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut limited = (&mut stream).take(HEAD_BYTES_MAX);
        if waited(limited.read_until(b'\n', &mut head)).await? == 0
            || head.len() as u64 > HEAD_BYTES_MAX
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                no_http(server, &head),
            ));
        }
    }
    let mut answer = read_head(&head)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, no_http(server, &head)))?;
    if (200..=299).contains(&answer.status) {
        body(&mut stream, &answer, into).await?;
        return Ok(answer);
    }
    let mut refusal = Refusal(Vec::new());
    // What a server says of a refusal is told as far as it came.
    let _ = body(&mut stream, &answer, &mut refusal).await;
    answer.body = refusal.0;
    Ok(answer)
}

/// Reads a body to its end: so many bytes, chunks (RFC 9112, section 7.1), or until the connection ends.
async fn body(
    stream: &mut (impl AsyncBufRead + Unpin),
    head: &Answer,
    into: &mut impl Parts,
) -> io::Result<()> {
    let coding = head.header("transfer-encoding").unwrap_or_default();
    if !coding.to_ascii_lowercase().contains("chunked") {
        let length = head.header("content-length").map(str::parse).transpose();
        let length: Option<u64> = length.map_err(io::Error::other)?;
        return exactly(stream, length, into).await;
    }
    loop {
        let mut line = String::new();
        waited((&mut *stream).take(100).read_line(&mut line)).await?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        exactly(stream, Some(size), into).await?;
        // The line end after each piece, and after the last, whose trailers nobody sends here.
        line.clear();
        waited((&mut *stream).take(100).read_line(&mut line)).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// So many bytes, or all that come without a number.
async fn exactly(
    stream: &mut (impl AsyncBufRead + Unpin),
    length: Option<u64>,
    into: &mut impl Parts,
) -> io::Result<()> {
    let mut left = length.unwrap_or(u64::MAX);
    while left > 0 {
        let mut part = Vec::new();
        let most = left.min(PART_BYTES as u64);
        let read = waited((&mut *stream).take(most).read_to_end(&mut part)).await? as u64;
        left -= read;
        if read > 0 {
            into.take(part).await?;
        }
        if read < most {
            return match length {
                None => Ok(()),
                Some(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
    }
    Ok(())
}

async fn waited<T>(read: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PART_WITHIN, read)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
    let mut stream = server.connect().await?;
    stream
        .write_all(&request(server, path, token, headers, posted))
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

/// A request on a connection of its own: GET, or POST where there is something to post.
fn request(
    server: &Endpoint,
    path: &str,
    token: Option<&str>,
    headers: &[(&str, String)],
    posted: Option<(&str, &[u8])>,
) -> Vec<u8> {
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
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}{more}{content}Connection: close\r\n\r\n",
        server.authority(),
    );
    [head.as_bytes(), body].concat()
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

/// The first lines of an answer, without a body.
fn read_head(head: &[u8]) -> Option<Answer> {
    let mut lines = std::str::from_utf8(head).ok()?.lines();
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Answer {
        status: status.parse().ok()?,
        headers,
        body: Vec::new(),
    })
}

fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let mut answer = read_head(&bytes[..end])?;
    answer.body = bytes[end + 4..].to_vec();
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

    #[tokio::test]
    async fn bodies_come_part_by_part() {
        async fn check(head: &str, sent: &[u8], expected: Option<&str>) {
            let head = read_head(format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes()).unwrap();
            let mut read = Vec::new();
            let mut stream = BufReader::new(sent);
            let whole = body(&mut stream, &head, &mut read).await.is_ok();
            let text = String::from_utf8(read).unwrap();
            assert_eq!(whole.then_some(text.as_str()), expected);
        }
        let chunked = "Transfer-Encoding: chunked\r\n";
        check(
            chunked,
            b"4\r\nabcd\r\n3;x=y\r\nefg\r\n0\r\n\r\n",
            Some("abcdefg"),
        )
        .await;
        check(chunked, b"4\r\nab", None).await;
        check(chunked, b"zz\r\nab", None).await;
        check("Content-Length: 3\r\n", b"abcdef", Some("abc")).await;
        check("Content-Length: 3\r\n", b"ab", None).await;
        check("", b"abcdef", Some("abcdef")).await;
    }

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
