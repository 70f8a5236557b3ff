//! A client of the tracking API over one connection that stays open.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

pub(super) struct Client {
    stream: BufReader<TcpStream>,
    http: SocketAddr,
}

impl Client {
    pub(super) fn open(http: SocketAddr) -> Result<Client, String> {
        let stream = TcpStream::connect(http).map_err(|error| format!("{http}: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let stream = BufReader::new(stream);
        Ok(Client { stream, http })
    }

    /// The document that a call is answered with.
    pub(super) fn post(&mut self, path: &str, body: &Value) -> Result<Value, String> {
        let body = body.to_string();
        let request = format!(
            "POST /api/2.0/mlflow/{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        );
        let answer = self
            .exchange(&request)
            .map_err(|error| format!("{path}: {error}"))?;
        match answer {
            (200, body) => {
                serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}"))
            }
            (status, body) => Err(format!(
                "{path}: {status} {}",
                String::from_utf8_lossy(&body)
            )),
        }
    }

    fn exchange(&mut self, request: &str) -> std::io::Result<(u16, Vec<u8>)> {
        let wrong =
            |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| wrong(&line))?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let head = line.trim().to_ascii_lowercase();
            if head.is_empty() {
                break;
            }
            if let Some(value) = head.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(|_| wrong(&head))?;
            }
            is_chunked |= head == "transfer-encoding: chunked";
        }
        if !is_chunked {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            return Ok((status, body));
        }
        let mut body = Vec::new();
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let count = usize::from_str_radix(line.trim(), 16).map_err(|_| wrong(&line))?;
            let start = body.len();
            body.resize(start + count, 0);
            self.stream.read_exact(&mut body[start..])?;
            line.clear();
            self.stream.read_line(&mut line)?;
            if count == 0 {
                return Ok((status, body));
            }
        }
    }
}
