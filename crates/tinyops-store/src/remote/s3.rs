//! A bucket that speaks S3: objects put, got, looked for and listed, each request signed.
//!
//! No object is larger than a piece of a recording or a list of files, so one request puts it, and what was put before a
//! connection broke need not be put again. An object's name is the SHA-256 of its bytes, which the signature covers:
//! the other side refuses bytes that changed on the way.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tinyops_wire::id::Digest;

use super::http::{Connection, Head, Host};
use super::missing;
use crate::{Cause, StoreError};

/// A request that fails by no fault of its own is tried so many times.
const TRIES: u32 = 4;

/// A bucket, and who asks.
pub(super) struct Bucket {
    host: Host,
    /// `/bucket` where the host serves many, else nothing.
    base: String,
    /// Before `objects/`; empty, or with a slash at its end.
    prefix: String,
    region: String,
    keys: Option<Keys>,
    /// Connections that nobody uses at the moment.
    idle: Mutex<Vec<Connection>>,
    place: String,
}

/// Who asks.
struct Keys {
    id: String,
    secret: String,
    token: Option<String>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    pub(super) fn open(bucket: &str, prefix: &str) -> Option<Bucket> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::with(bucket, prefix, &variable, shared_keys)
    }

    fn with(
        bucket: &str,
        prefix: &str,
        variable: &dyn Fn(&str) -> Option<String>,
        shared: impl FnOnce(&str) -> Option<Keys>,
    ) -> Option<Bucket> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(is_name) {
            return None;
        }
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"];
        let region = region.into_iter().find_map(variable);
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
        let (host, base) = match endpoint.into_iter().find_map(variable) {
            Some(url) => (Host::parse(&url)?, format!("/{bucket}")),
            // A certificate for `*.s3…` does not cover a dot in the name.
            None if bucket.contains('.') => (
                Host::parse(&format!("https://s3.{region}.amazonaws.com"))?,
                format!("/{bucket}"),
            ),
            None => (
                Host::parse(&format!("https://{bucket}.s3.{region}.amazonaws.com"))?,
                String::new(),
            ),
        };
        let own = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        let keys = match own {
            Some((id, secret)) => Some(Keys {
                id,
                secret,
                token: variable("AWS_SESSION_TOKEN"),
            }),
            None => shared(&variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned())),
        };
        let prefix = prefix.trim_matches('/');
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Some(Bucket {
            place: format!("s3://{bucket}/{prefix} at {}", host.authority()),
            host,
            base,
            prefix,
            region,
            keys,
            idle: Mutex::default(),
        })
    }

    pub(super) fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut none = Vec::new();
        match self.ask("HEAD", &self.path_of(digest), &[], &[], &mut none)? {
            (200, _) => Ok(true),
            (404, _) => Ok(false),
            (status, _) => Err(self.refused("look for an object", status, "")),
        }
    }

    pub(super) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let mut none = Vec::new();
        match self.ask("PUT", &self.path_of(digest), &[], bytes, &mut none)? {
            (200 | 201 | 204, _) => Ok(()),
            (status, why) => Err(self.refused("put an object", status, &why)),
        }
    }

    pub(super) fn get(&self, digest: &Digest, into: &mut dyn Write) -> Result<u64, StoreError> {
        // A second try must not add to what the first has written.
        let mut bytes = Vec::new();
        match self.ask("GET", &self.path_of(digest), &[], &[], &mut bytes)? {
            (200, _) => {
                into.write_all(&bytes)
                    .map_err(|error| StoreError::io("the cache", "write an object", &error))?;
                Ok(bytes.len() as u64)
            }
            (404, _) => Err(missing(digest)),
            (status, why) => Err(self.refused("get an object", status, &why)),
        }
    }

    pub(super) fn remove(&self, digest: &Digest) -> Result<(), StoreError> {
        let mut none = Vec::new();
        match self.ask("DELETE", &self.path_of(digest), &[], &[], &mut none)? {
            (200 | 202 | 204 | 404, _) => Ok(()),
            (status, why) => Err(self.refused("remove an object", status, &why)),
        }
    }

    pub(super) fn list(&self) -> Result<Vec<Digest>, StoreError> {
        let prefix = format!("{}objects/", self.prefix);
        let mut found = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
            if let Some(token) = &next {
                query.push(("continuation-token", token));
            }
            query.sort_unstable();
            let path = format!("{}/", self.base);
            let mut answer = Vec::new();
            match self.ask("GET", &path, &query, &[], &mut answer)? {
                (200, _) => {}
                (status, why) => return Err(self.refused("list the objects", status, &why)),
            }
            let answer = String::from_utf8_lossy(&answer);
            for key in elements(&answer, "Key") {
                let name = key.rsplit_once("objects/").map_or("", |(_, name)| name);
                found.extend(name.replacen('/', "", 1).parse::<Digest>());
            }
            let is_cut = elements(&answer, "IsTruncated").next() == Some("true");
            let token = elements(&answer, "NextContinuationToken").next();
            next = match token.filter(|_| is_cut) {
                Some(token) => Some(unescaped(token)),
                None => return Ok(found),
            };
        }
    }

    fn path_of(&self, digest: &Digest) -> String {
        let name = digest.to_string();
        let key = format!("{}objects/{}/{}", self.prefix, &name[..2], &name[2..]);
        format!("{}/{}", self.base, encoded(&key, true))
    }

    /// One request, tried again where the other side or the way there has failed. `path` is encoded already.
    fn ask(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<(u16, String), StoreError> {
        let mut tries = 0;
        loop {
            into.clear();
            let asked = self.ask_once(method, path, query, body, into);
            let is_passing = match &asked {
                Ok((head, _)) => matches!(head.status, 408 | 429 | 500 | 502 | 503 | 504),
                Err(_) => true,
            };
            tries += 1;
            if is_passing && tries < TRIES {
                std::thread::sleep(Duration::from_millis(100 << (2 * tries)));
                continue;
            }
            return match asked {
                Ok((head, why)) => Ok((head.status, why)),
                Err(error) => Err(StoreError::Unreachable {
                    place: self.place.clone(),
                    source: Cause(error.to_string()),
                }),
            };
        }
    }

    fn ask_once(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
        into: &mut Vec<u8>,
    ) -> std::io::Result<(Head, String)> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let request = self.request(method, path, query, body, now.as_secs());
        let kept = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let is_kept = kept.is_some();
        let mut connection = kept.map_or_else(|| Connection::open(&self.host), Ok)?;
        let mut asked = connection.ask(request.as_bytes(), body, method != "HEAD", into);
        if asked.is_err() && is_kept {
            // The other side may have closed it while nobody looked.
            into.clear();
            connection = Connection::open(&self.host)?;
            asked = connection.ask(request.as_bytes(), body, method != "HEAD", into);
        }
        let (head, refusal, _) = asked?;
        if head.keeps(method != "HEAD") {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
        let refusal = String::from_utf8_lossy(&refusal);
        let code = elements(&refusal, "Code").next().unwrap_or_default();
        let message = elements(&refusal, "Message").next().unwrap_or_default();
        let why = format!("{code} {message}").trim().to_owned();
        Ok((head, why))
    }

    fn refused(&self, doing: &'static str, status: u16, why: &str) -> StoreError {
        let place = self.place.clone();
        let source = Cause(format!("it answered {status} {why}").trim_end().to_owned());
        match status {
            401 | 403 => StoreError::Permission { place, source },
            404 => StoreError::Missing {
                entity: "bucket",
                key: place,
            },
            500.. => StoreError::Unreachable { place, source },
            _ => StoreError::Engine { doing, source },
        }
    }

    /// The first lines of a request, signed.
    ///
    /// # Source
    /// "Signature Version 4 signing process", the S3 API reference.
    fn request(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
        now_s: u64,
    ) -> String {
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name, false), encoded(value, false)))
            .collect();
        let query = query.join("&");
        let host = self.host.authority();
        let payload = Digest::of(body).to_string();
        let stamp = stamp(now_s);
        let mut headers = vec![
            ("host", host.as_str()),
            ("x-amz-content-sha256", &payload),
            ("x-amz-date", &stamp),
        ];
        if let Some(token) = self.keys.as_ref().and_then(|keys| keys.token.as_deref()) {
            headers.push(("x-amz-security-token", token));
        }
        let target = match query.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{query}"),
        };
        let mut request = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in &headers {
            let _ = write!(request, "{name}: {value}\r\n");
        }
        let _ = write!(request, "content-length: {}\r\n", body.len());
        if let Some(keys) = &self.keys {
            let signature = self.signature(keys, method, path, &query, &headers, &payload, &stamp);
            let _ = write!(request, "authorization: {signature}\r\n");
        }
        request + "\r\n"
    }

    #[expect(clippy::too_many_arguments, reason = "all of these are signed")]
    fn signature(
        &self,
        keys: &Keys,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        payload: &str,
        stamp: &str,
    ) -> String {
        let listed: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let canonical = format!("{method}\n{path}\n{query}\n{listed}\n{names}\n{payload}");
        let day = &stamp[..8];
        let scope = format!("{day}/{}/s3/aws4_request", self.region);
        let digest = Digest::of(canonical.as_bytes());
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
        let mut key = mac(format!("AWS4{}", keys.secret).as_bytes(), day.as_bytes());
        for part in [self.region.as_str(), "s3", "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        let signature = Digest(mac(&key, text.as_bytes()));
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            keys.id
        )
    }
}

fn mac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

/// `20261129T212600Z` of seconds since 1970.
///
/// # Source
/// Hinnant, "chrono-compatible low-level date algorithms": `civil_from_days`.
fn stamp(now_s: u64) -> String {
    let (days, second) = (now_s / 86_400 + 719_468, now_s % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// As a signature wants it: all but letters, digits and `-._~` as `%` and two hex digits.
fn encoded(text: &str, keeps_slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || (keeps_slash && byte == b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The texts of the elements of this name, none of which holds others.
fn elements<'a>(xml: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let start = rest.find(&open)? + open.len();
        let end = start + rest[start..].find(&close)?;
        let text = &rest[start..end];
        rest = &rest[end..];
        Some(text)
    })
}

fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

/// The keys of a profile of `~/.aws/credentials`.
fn shared_keys(profile: &str) -> Option<Keys> {
    let path = std::env::var_os("AWS_SHARED_CREDENTIALS_FILE").map_or_else(
        || Some(std::path::PathBuf::from(std::env::var_os("HOME")?).join(".aws/credentials")),
        |path| Some(path.into()),
    )?;
    keys_in(&std::fs::read_to_string(path).ok()?, profile)
}

fn keys_in(text: &str, profile: &str) -> Option<Keys> {
    let mut is_wanted = false;
    let (mut id, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            is_wanted = name.trim() == profile;
        } else if let Some((name, value)) = line.split_once('=').filter(|_| is_wanted) {
            let value = Some(value.trim().to_owned());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Keys {
        id: id?,
        secret: secret?,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(variables: &[(&str, &str)]) -> Bucket {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Bucket::with("examplebucket", "", &find, |_| None).expect("a bucket")
    }

    #[test]
    fn a_request_is_signed_as_the_reference_says() {
        // "Examples: signature calculations" of the S3 API reference: list objects.
        let bucket = bucket(&[
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            (
                "AWS_SECRET_ACCESS_KEY",
                "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            ),
        ]);
        let at = 1_369_353_600;
        assert_eq!(stamp(at), "20130524T000000Z");
        let payload = Digest::of(b"").to_string();
        let headers = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", payload.as_str()),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let keys = bucket.keys.as_ref().expect("keys");
        let query = "max-keys=2&prefix=J";
        let signed = bucket.signature(
            keys,
            "GET",
            "/",
            query,
            &headers,
            &payload,
            "20130524T000000Z",
        );
        let expected = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";
        assert!(signed.ends_with(expected), "{signed}");
    }

    #[test]
    fn where_a_bucket_is() {
        let own = bucket(&[("AWS_REGION", "eu-west-3")]);
        assert_eq!(
            own.host.authority(),
            "examplebucket.s3.eu-west-3.amazonaws.com"
        );
        assert_eq!(own.base, "");
        let other = bucket(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")]);
        assert_eq!(
            (other.host.authority().as_str(), other.base.as_str()),
            ("127.0.0.1:9000", "/examplebucket")
        );
        assert!(Bucket::with("a/../b", "", &|_| None, |_| None).is_none());
    }

    /// A bucket in memory that checks what a bucket checks, breaks off every seventh answer, and lists two keys a page.
    fn serve(listener: &std::net::TcpListener) {
        use std::collections::BTreeMap;
        use std::io::{BufRead as _, BufReader, Read as _};
        let mut objects: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut count = 0;
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.expect("connects"));
            loop {
                let mut first = String::new();
                if stream.read_line(&mut first).unwrap_or(0) == 0 {
                    break;
                }
                let (mut length, mut digest, mut signed) = (0, String::new(), false);
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).expect("reads");
                    let Some((name, value)) = line.trim_end().split_once(": ") else {
                        break;
                    };
                    match name {
                        "content-length" => length = value.parse().expect("a count"),
                        "x-amz-content-sha256" => digest = value.to_owned(),
                        "authorization" => signed = value.contains("Credential=A/"),
                        _ => {}
                    }
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).expect("reads");
                let mut words = first.split(' ');
                let (method, target) = (words.next().expect("one"), words.next().expect("two"));
                count += 1;
                if count % 7 == 0 {
                    break;
                }
                let (status, answer) = match (method, target.split_once('?')) {
                    _ if !signed || Digest::of(&body).to_string() != digest => (
                        403,
                        b"<Error><Code>SignatureDoesNotMatch</Code></Error>".to_vec(),
                    ),
                    ("PUT", _) => {
                        objects.insert(target.to_owned(), body);
                        (200, Vec::new())
                    }
                    ("DELETE", _) => {
                        objects.remove(target);
                        (204, Vec::new())
                    }
                    ("GET", Some((_, query))) => {
                        let after = query
                            .split('&')
                            .find_map(|part| part.strip_prefix("continuation-token="));
                        let after = after.map_or(0, |after| after.parse().expect("a count"));
                        let mut xml = String::new();
                        for key in objects.keys().skip(after).take(2) {
                            xml +=
                                &format!("<Contents><Key>{}</Key></Contents>", &key["/b/".len()..]);
                        }
                        if after + 2 < objects.len() {
                            let next = after + 2;
                            xml += &format!(
                                "<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"
                            );
                        }
                        (200, xml.into_bytes())
                    }
                    (_, _) => match objects.get(target) {
                        Some(bytes) => (200, bytes.clone()),
                        None => (404, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
                    },
                };
                let is_last = method == "HEAD";
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n{}\r\n",
                    answer.len(),
                    if is_last { "Connection: close\r\n" } else { "" }
                );
                let mut out = head.into_bytes();
                if method != "HEAD" {
                    out.extend(answer);
                }
                stream.get_mut().write_all(&out).expect("answers");
                if is_last {
                    // As some do: what still comes on this line is never answered.
                    let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    break;
                }
            }
        }
    }

    #[test]
    fn objects_go_to_a_bucket_and_come_back_over_a_line_that_breaks() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listens");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        // It ends with the process.
        std::thread::spawn(move || serve(&listener));
        let variables = [
            ("AWS_ENDPOINT_URL", url.as_str()),
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "B"),
        ];
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let bucket = Bucket::with("b", "/pumps/", &find, |_| None).expect("a bucket");
        let objects: Vec<Vec<u8>> = (0..5u8).map(|seed| vec![seed; 70_000]).collect();
        let mut names: Vec<Digest> = objects.iter().map(|bytes| Digest::of(bytes)).collect();
        for (name, bytes) in names.iter().zip(&objects) {
            assert!(!bucket.has(name).expect("asks"));
            bucket.put(name, bytes).expect("puts");
            assert!(bucket.has(name).expect("asks"));
        }
        for (name, bytes) in names.iter().zip(&objects) {
            let mut got = Vec::new();
            assert_eq!(bucket.get(name, &mut got).expect("gets"), 70_000);
            assert!(got == *bytes);
        }
        names.sort();
        let mut listed = bucket.list().expect("lists");
        listed.sort();
        assert_eq!(listed, names);
        bucket.remove(&names[0]).expect("removes");
        bucket.remove(&names[0]).expect("is gone already");
        assert!(!bucket.has(&names[0]).expect("asks"));
        let gone = bucket.get(&Digest::of(b"gone"), &mut Vec::new());
        assert!(matches!(gone, Err(StoreError::Missing { .. })), "{gone:?}");
        // That one serves one line at a time, and this bucket keeps its own.
        drop(bucket);
        let other = Bucket::with(
            "b",
            "",
            &|name| find(name).filter(|_| name == "AWS_ENDPOINT_URL"),
            |_| None,
        );
        let refused = other.expect("a bucket").has(&names[0]);
        assert!(
            matches!(refused, Err(StoreError::Permission { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn nobody_who_listens_is_told() {
        let find =
            |name: &str| (name == "AWS_ENDPOINT_URL").then(|| "http://127.0.0.1:1".to_owned());
        let bucket = Bucket::with("b", "", &find, |_| None).expect("a bucket");
        let error = bucket.has(&Digest::of(b"x")).expect_err("nobody");
        assert!(error.to_string().contains("s3://b/"), "{error}");
    }

    #[test]
    fn keys_come_from_a_profile() {
        let text = "[default]\naws_access_key_id = A\naws_secret_access_key=B\n[work]\naws_access_key_id=C\naws_secret_access_key=D=\naws_session_token=E\n";
        let keys = keys_in(text, "work").expect("keys");
        assert_eq!(
            (
                keys.id.as_str(),
                keys.secret.as_str(),
                keys.token.as_deref()
            ),
            ("C", "D=", Some("E"))
        );
        assert!(keys_in(text, "home").is_none());
        assert!(keys_in("nonsense", "default").is_none());
    }

    #[test]
    fn a_moment_is_stamped() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(stamp(951_782_399), "20000228T235959Z");
        assert_eq!(stamp(951_782_400), "20000229T000000Z");
        assert_eq!(stamp(1_796_083_199), "20261130T235959Z");
    }
}
