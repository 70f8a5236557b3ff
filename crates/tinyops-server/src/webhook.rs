//! Sends what webhooks are owed: one POST a delivery, signed, over a connection of its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tinyops_fleet::FleetError;
use tinyops_fleet::webhook::{Target, signature};
use tinyops_store::Timestamp;
use tinyops_store::webhook::{Delivery, DeliveryState, Webhook};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tracing::{error, info, warn};

use crate::app::App;
use crate::stop::Stop;

/// From the first byte to the status: a receiver that takes longer is tried again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Deliveries taken up in one turn.
const TURN_MAX: u32 = 100;
/// Bytes of an answer that are read: its first line.
const LINE_MAX: usize = 1024;

/// Sends what is due at every tick until asked to stop; what is cut off then is sent again later.
pub(crate) async fn deliver(app: App, tick: Duration, mut stop: Stop) {
    loop {
        tokio::select! {
            () = stop.asked() => return,
            () = tokio::time::sleep(tick) => {}
        }
        let turn = tokio::select! {
            () = stop.asked() => return,
            turn = turn(&app) => turn,
        };
        if let Err(cause) = turn {
            error!(%cause, "webhooks could not be served");
        }
    }
}

/// One turn: every webhook beside the others, the deliveries of each in order.
pub(crate) async fn turn(app: &App) -> Result<(), FleetError> {
    let mut by_hook: BTreeMap<String, Vec<(Webhook, Delivery)>> = BTreeMap::new();
    for (hook, delivery) in app.fleet().due_deliveries(app.now(), TURN_MAX).await? {
        let due = by_hook.entry(hook.name.clone()).or_default();
        due.push((hook, delivery));
    }
    let mut hooks: JoinSet<Result<(), FleetError>> = JoinSet::new();
    for due in by_hook.into_values() {
        hooks.spawn(serve(app.clone(), due));
    }
    while let Some(served) = hooks.join_next().await {
        match served {
            Ok(served) => served?,
            Err(cause) => error!(%cause, "a webhook could not be served"),
        }
    }
    Ok(())
}

async fn serve(app: App, due: Vec<(Webhook, Delivery)>) -> Result<(), FleetError> {
    let mut failed: Option<Delivery> = None;
    for (hook, delivery) in due {
        let noted = match &failed {
            Some(failed) => app.fleet().put_back(delivery, failed, app.now()).await?,
            None => {
                let answer = post(&hook, &delivery, app.now()).await;
                let is_down = answer.is_err();
                let noted = app.fleet().note_delivery(delivery, answer, app.now());
                let noted = noted.await?;
                failed = is_down.then(|| noted.clone());
                noted
            }
        };
        let (id, event, answer) = (noted.id, &noted.event, &noted.answer);
        match noted.state {
            DeliveryState::Delivered => info!(webhook = hook.name, %id, event, "delivered"),
            DeliveryState::Waiting => {
                warn!(webhook = hook.name, %id, event, answer, attempt = noted.attempt_count, "not delivered; it is tried again");
            }
            DeliveryState::Abandoned => {
                error!(webhook = hook.name, %id, event, answer, "given up");
            }
        }
    }
    Ok(())
}

/// The status that the receiver answers with, or what went wrong before it did.
async fn post(hook: &Webhook, delivery: &Delivery, now: Timestamp) -> Result<u16, String> {
    let target = Target::parse(&hook.url).map_err(str::to_owned)?;
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tinyops/{}\r\nContent-Type: application/json\r\n\
         TinyOps-Event: {}\r\nTinyOps-Delivery: {}\r\nTinyOps-Signature: {}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{}",
        target.path,
        target.authority(),
        env!("CARGO_PKG_VERSION"),
        delivery.event,
        delivery.id,
        signature(&hook.secret, now, &delivery.body),
        delivery.body.len(),
        delivery.body,
    );
    let exchange = async {
        let stream = connect(&target, &hook.authorities).await?;
        exchange(stream, request.as_bytes()).await
    };
    match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
    }
}

/// A connection, plain or through TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(target: &Target, authorities: &str) -> io::Result<Box<dyn Stream>> {
    let tcp = TcpStream::connect((target.host.as_str(), target.port)).await?;
    if !target.is_tls {
        return Ok(Box::new(tcp));
    }
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidInput, what);
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| wrong(format!("`{}` is no name of a certificate", target.host)))?;
    let config = trusting(authorities).map_err(wrong)?;
    let stream = TlsConnector::from(config).connect(name, tcp).await?;
    Ok(Box::new(stream))
}

async fn exchange(mut stream: impl Stream, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut line = Vec::new();
    let mut part = [0; 256];
    while !line.contains(&b'\n') && line.len() < LINE_MAX {
        match stream.read(&mut part).await? {
            0 => break,
            read => line.extend(&part[..read]),
        }
    }
    status_of(&line).ok_or_else(|| {
        let what = "what answers there does not speak HTTP/1.1";
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// The status in the first line of an answer.
fn status_of(answer: &[u8]) -> Option<u16> {
    let rest = answer
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| answer.strip_prefix(b"HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let is_over = matches!(rest.get(3), Some(b' ' | b'\r' | b'\n'));
    let text = std::str::from_utf8(digits).ok()?;
    (is_number && is_over).then(|| text.parse().ok()).flatten()
}

/// TLS that believes what these certificates sign; this machine's authorities where there are none.
fn trusting(authorities: &str) -> Result<Arc<ClientConfig>, String> {
    static OWN: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let (Some(own), true) = (OWN.get(), authorities.is_empty()) {
        return Ok(own.clone());
    }
    let mut roots = RootCertStore::empty();
    match authorities {
        "" => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        pem => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| error.to_string())?;
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
    }
    if roots.is_empty() {
        return Err(
            "nothing here says whose certificates to believe: add the webhook with `--ca`"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    Ok(match authorities.is_empty() {
        true => OWN.get_or_init(|| config).clone(),
        false => config,
    })
}

#[cfg(test)]
mod tests;
