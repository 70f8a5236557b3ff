use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use serde::Serialize;
use tinyops_fleet::{
    helper::{Helper as Sums, SumRequest, mask_key},
    masked::{Answer, NoSum, SumHelper},
};
use tinyops_pipeline::PrivacySection;
use tinyops_server::{HelperConfig, SumQuestion, serve_helper};
use tinyops_store::{DeviceId, Digest, Readers, write_new};

use crate::{
    cmd::serve::seed,
    context::{Context, now},
    endpoint::Endpoint,
    failure::{Exit, Failure},
    http,
    listening::{TlsFlags, hangups, stop_asked},
};

/// Be the helper of secure sums, or give a device its key
///
/// Devices that report under masks share a key with the helper, and with nobody else. It tells a server the sum of the
/// masks of at least 20 devices, each report once, and never sees what devices say. Run it on another machine than the
/// server, in other hands: whoever has both can read every report. docs/privacy.md says what it protects and what not.
#[derive(Debug, clap::Args)]
pub(crate) struct Helper {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Serve(Serve),
    Key(Key),
}

/// Answer a server's questions for sums
///
/// Makes `helper.key`, `server.token` and `answers.log` in its folder when they are missing. The server is given the
/// token, and nothing else of the folder.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops helper serve --folder /var/lib/tinyops-helper --http 0.0.0.0:8430"
)]
struct Serve {
    /// Folder with the helper's secret and its log
    #[arg(long, value_name = "FOLDER", default_value = "helper")]
    folder: PathBuf,
    /// Where HTTP listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8430")]
    http: SocketAddr,
    #[command(flatten)]
    tls: TlsFlags,
    /// Least noise that it answers with, in units of a device's greatest weight; a task that has less is refused
    #[arg(long, value_name = "Z", default_value_t = 0.0, value_parser = noise)]
    noise_min: f64,
}

/// Print the key that a device shares with this helper, for whoever puts it on the device
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: tinyops helper key 0000000000000017 --folder /var/lib/tinyops-helper"
)]
struct Key {
    /// The device's id, 16 hex digits
    device: DeviceId,
    /// Folder with the helper's secret
    #[arg(long, value_name = "FOLDER", default_value = "helper")]
    folder: PathBuf,
}

#[derive(Serialize)]
struct Listening {
    http: String,
    folder: PathBuf,
}

#[derive(Serialize)]
struct DeviceKeyView {
    device: String,
    key: String,
}

pub(crate) fn noise(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(noise) if (0.0..=PrivacySection::NOISE_MAX).contains(&noise) => Ok(noise),
        _ => Err(format!(
            "it is a number from 0 to {}",
            PrivacySection::NOISE_MAX
        )),
    }
}

pub(crate) async fn run(context: &Context, args: &Helper) -> Result<(), Failure> {
    match &args.verb {
        Verb::Serve(args) => listen(context, args).await,
        Verb::Key(args) => key(context, args),
    }
}

async fn listen(context: &Context, args: &Serve) -> Result<(), Failure> {
    let noise_tenths_min = (args.noise_min * 10.0).round() as u16;
    let helper = Sums::open(&args.folder, &seed(), noise_tenths_min)?;
    let running = serve_helper(HelperConfig {
        http: args.http,
        helper,
        token: token(&args.folder.join("server.token"))?,
        tls: args.tls.files(),
        now: Arc::new(now),
    })
    .await
    .map_err(|error| Failure::of(Exit::Environment, &error))?;
    let s = args.tls.s();
    let view = Listening {
        http: format!("http{s}://{}", running.http),
        folder: args.folder.clone(),
    };
    context
        .terminal
        .answer(&view, || format!("Helper: {}\n", view.http));
    context
        .terminal
        .note("Ctrl-C stops it; what was answered is in answers.log.");
    tokio::select! {
        () = stop_asked() => {}
        () = hangups(|| running.reload()) => {}
    }
    running.stop().await;
    Ok(())
}

/// The token that the server shows, made if it is missing.
fn token(path: &std::path::Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::environment(format!("cannot use `{}`", path.display())).cause(&error)
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = format!("tinyops_helper_{}", Digest(seed()));
            write_new(path, Readers::Owner, format!("{token}\n").as_bytes()).map_err(failed)?;
            Ok(token)
        }
        Err(error) => Err(failed(error)),
    }
}

fn key(context: &Context, args: &Key) -> Result<(), Failure> {
    let Some(key) = mask_key(&args.folder, args.device)? else {
        let folder = args.folder.display();
        return Err(
            Failure::question(format!("`{folder}` is no helper's folder"))
                .hint("`tinyops helper serve` makes a helper; --folder says where it is"),
        );
    };
    let view = DeviceKeyView {
        device: args.device.to_string(),
        key: Digest(key.0).to_string(),
    };
    context.terminal.answer(&view, || format!("{}\n", view.key));
    Ok(())
}

/// A helper over HTTP.
#[derive(Debug)]
pub(crate) struct RemoteHelper {
    endpoint: Endpoint,
    token: Token,
}

/// Shown nowhere.
struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl RemoteHelper {
    pub(crate) fn new(endpoint: Endpoint, token: String) -> RemoteHelper {
        RemoteHelper {
            endpoint,
            token: Token(token),
        }
    }

    async fn ask(&self, request: &SumRequest) -> Result<Vec<u32>, NoSum> {
        let question = serde_json::to_value(SumQuestion::of(request))
            .map_err(|error| NoSum::Down(error.to_string()))?;
        let answer = http::post(&self.endpoint, "/v1/sum", Some(&self.token.0), &question)
            .await
            .map_err(|error| NoSum::Down(error.to_string()))?;
        let document = answer.document();
        let problem = || {
            let text = document["problem"].as_str().unwrap_or("it gives no reason");
            format!("{text} (HTTP {})", answer.status)
        };
        match answer.status {
            200 => serde_json::from_value(document["masks"].clone())
                .map_err(|_| NoSum::Down("its answer is no sum of masks".to_owned())),
            // It has looked at the question and says no for good; anything else may pass.
            409 => Err(NoSum::Denied(problem())),
            _ => Err(NoSum::Down(problem())),
        }
    }
}

impl SumHelper for RemoteHelper {
    fn sum<'a>(&'a self, request: &'a SumRequest) -> Answer<'a> {
        Box::pin(self.ask(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Protocol;
    use std::time::Duration;
    use tinyops_wire::{
        ModelId,
        mask::{Purpose, Task},
    };
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn a_server_asks_a_helper_over_http() {
        let folder = tempfile::tempdir().unwrap();
        let running = serve_helper(HelperConfig {
            http: "127.0.0.1:0".parse().unwrap(),
            helper: Sums::open(folder.path(), &[3; 32], 0).unwrap(),
            token: "secret".to_owned(),
            tls: None,
            now: Arc::new(now),
        })
        .await
        .unwrap();
        let endpoint = Endpoint::plain(Protocol::Http, running.http);
        let helper = RemoteHelper::new(endpoint.clone(), "secret".to_owned());
        let task = Task {
            purpose: Purpose::Monitoring,
            number: 5,
            model: ModelId(7),
            ring_bits: 13,
            norm_max: 15,
            clip: 0.5,
            noise_tenths: 0,
        };
        let request = |devices: u64| SumRequest {
            task,
            value_count: 22,
            reports: (0..devices).map(|device| (DeviceId(device), 9)).collect(),
        };
        let sum = helper.sum(&request(20)).await.unwrap();
        let mut expected = vec![0_u32; 22];
        for device in 0..20 {
            let key = mask_key(folder.path(), DeviceId(device)).unwrap().unwrap();
            for (sum, mask) in expected.iter_mut().zip(key.masks(&task, 9)) {
                *sum = (*sum + mask) % (1 << 13);
            }
        }
        assert_eq!(sum, expected);
        // What it refuses it refuses for good; whoever may not ask, or reaches nobody, asks again.
        let denied = helper.sum(&request(19)).await.unwrap_err();
        assert!(
            matches!(&denied, NoSum::Denied(why) if why.contains("at least 20")),
            "{denied}"
        );
        let stranger = RemoteHelper::new(endpoint, "guess".to_owned());
        assert!(matches!(
            stranger.sum(&request(20)).await,
            Err(NoSum::Down(_))
        ));
        // A call that never comes to its end keeps the helper from stopping for a moment only.
        let mut half = tokio::net::TcpStream::connect(running.http).await.unwrap();
        half.write_all(b"POST /v1/sum HTTP/1.1\r\n").await.unwrap();
        helper.sum(&request(20)).await.unwrap();
        let stopped = tokio::time::timeout(Duration::from_secs(10), running.stop());
        stopped.await.expect("it stops");
        assert!(matches!(
            helper.sum(&request(20)).await,
            Err(NoSum::Down(_))
        ));
    }
}
