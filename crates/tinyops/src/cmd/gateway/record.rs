//! Recordings off a line: which line, what they are called, and the way to the server.

use std::{path::PathBuf, time::Duration};

use tinyops_store::upload::Category;

use super::{backoff::Backoff, line::Place};
use crate::{
    context::Context,
    endpoint::{Endpoint, Protocol, read_token},
    failure::Failure,
    http,
};

/// How often a recording is brought before it is given up.
const TRIES: u32 = 6;

/// The line that a board is on.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("board_line").required(true).args(["tty", "tcp"]))]
pub(super) struct LineFlags {
    /// Serial port of the board, 8N1 without flow control
    #[arg(long, value_name = "PATH")]
    tty: Option<PathBuf>,
    /// TCP stream of the board, such as a terminal server or an emulator: HOST:PORT, or tls://HOST:PORT
    #[arg(long, value_name = "URL")]
    tcp: Option<String>,
    /// Speed of the serial port, in bits a second
    #[arg(long, default_value_t = 115_200)]
    baud: u32,
}

/// Where recordings go, and as what.
#[derive(Debug, clap::Args)]
pub(super) struct TargetFlags {
    /// What the recordings show
    #[arg(long)]
    pub(super) label: String,
    /// `training`, `testing` or `anomaly`
    #[arg(long, default_value = "training", value_parser = category)]
    pub(super) category: Category,
    /// How many recordings; 0 goes on until Ctrl-C
    #[arg(long, default_value_t = 1)]
    pub(super) count: u32,
    /// Where the server's HTTP is: HOST:PORT, or https://HOST:PORT [default: as `tinyops config` says]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// PEM file of those who sign the server's certificate, for https, or that of a terminal server, for tls
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with a token of the role recorder or gateway, asked for when the server is not on loopback
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// File with the key that the project's messages are signed with
    #[arg(long, value_name = "FILE")]
    hmac_key_file: Option<PathBuf>,
}

fn category(word: &str) -> Result<Category, String> {
    Category::of_word(word).ok_or_else(|| "categories are training, testing, anomaly".to_owned())
}

/// The way to the server.
pub(super) struct Target {
    server: Endpoint,
    token: Option<String>,
    /// What messages are signed with.
    pub(super) key: Option<Vec<u8>>,
    category: Category,
    label: String,
}

impl LineFlags {
    pub(super) fn place(&self, target: &TargetFlags) -> Result<Place, Failure> {
        match (&self.tty, &self.tcp) {
            (Some(path), _) => Ok(Place::Tty(path.clone(), self.baud)),
            (_, Some(text)) => {
                let ca = target.ca.as_deref();
                Ok(Place::Tcp(Endpoint::parse(Protocol::Line, text, ca)?))
            }
            _ => Err(Failure::question("no line is given")),
        }
    }
}

impl TargetFlags {
    pub(super) fn open(&self, context: &Context) -> Result<Target, Failure> {
        let server = self.server.as_ref().unwrap_or(&context.settings.http.value);
        let key = self.hmac_key_file.as_ref().map(|path| {
            let read = std::fs::read(path);
            let read = read.map(|bytes| bytes.trim_ascii_end().to_vec());
            read.map_err(|error| {
                Failure::environment(format!("cannot read `{}`", path.display())).cause(&error)
            })
        });
        Ok(Target {
            server: Endpoint::parse(Protocol::Http, server, self.ca.as_deref())?,
            token: self.token_file.as_deref().map(read_token).transpose()?,
            key: key.transpose()?,
            category: self.category,
            label: self.label.clone(),
        })
    }
}

impl Target {
    /// Brings a recording to the server, and returns the name that it is kept under. While the server is away it is
    /// tried again for about a minute.
    pub(super) async fn bring(
        &self,
        name: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<String, Failure> {
        let path = format!("/api/{}/data", self.category);
        let headers = [
            ("X-File-Name", escaped(name)),
            ("X-Label", escaped(&self.label)),
            ("X-Add-Date-Id", "1".to_owned()),
        ];
        let mut backoff = Backoff::default();
        let mut last = String::new();
        for _ in 0..TRIES {
            let token = self.token.as_deref();
            match http::post_with(&self.server, &path, token, &headers, kind, body).await {
                Ok(answer) if answer.status == 200 => {
                    return Ok(String::from_utf8_lossy(&answer.body).into_owned());
                }
                Ok(answer) => {
                    let document = answer.document();
                    let why = document["error"].as_str().or(document["message"].as_str());
                    last = format!("{}: {}", answer.status, why.unwrap_or("no reason given"));
                    if answer.status < 500 {
                        return Err(Failure::question("the server does not take the recording")
                            .because(last));
                    }
                }
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(backoff.next()).await;
        }
        Err(
            Failure::environment(format!("the recording is not at {}", self.server))
                .because(last)
                .hint("start the server, and record again"),
        )
    }
}

/// A header's value in ASCII, whatever the text is.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// What a line answers within this time, or that it is silent.
pub(super) async fn in_time<T>(
    within: Duration,
    what: &str,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(within, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Failure::environment("the line broke").cause(&error)),
        Err(_) => Err(
            Failure::environment(format!("no {what} came in {} s", within.as_secs()))
                .hint("check the cable, `--baud`, and that the board's firmware sends it"),
        ),
    }
}
