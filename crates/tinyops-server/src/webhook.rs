//! Sends what webhooks are owed: one POST a delivery, signed, over a connection of its own.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tinyops_fleet::FleetError;
use tinyops_fleet::webhook::{Target, hmac_sha256, signature};
use tinyops_store::Timestamp;
use tinyops_store::webhook::{Delivery, DeliveryState, Webhook, WebhookKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tracing::{error, info, warn};

use crate::app::App;
use crate::listen::Stream;
use crate::stop::Stop;
use crate::tls_client::{trusting, trusting_as_this_machine};

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
    let mut by_hook: BTreeMap<String, (Webhook, Vec<Delivery>)> = BTreeMap::new();
    for (hook, delivery) in app.fleet().due_deliveries(app.now(), TURN_MAX).await? {
        let due = by_hook.entry(hook.name.clone());
        let (_, due) = due.or_insert_with(|| (hook, Vec::new()));
        due.push(delivery);
    }
    let mut hooks: JoinSet<Result<(), FleetError>> = JoinSet::new();
    for (hook, due) in by_hook.into_values() {
        hooks.spawn(serve(app.clone(), hook, due));
    }
    while let Some(served) = hooks.join_next().await {
        match served {
            Ok(served) => served?,
            Err(cause) => error!(%cause, "a webhook could not be served"),
        }
    }
    Ok(())
}

async fn serve(app: App, hook: Webhook, due: Vec<Delivery>) -> Result<(), FleetError> {
    let receiver = Receiver::of(&hook);
    let mut failed: Option<Delivery> = None;
    for delivery in due {
        let noted = match &failed {
            Some(failed) => app.fleet().put_back(delivery, failed, app.now()).await?,
            None => {
                let answer = match &receiver {
                    Ok(receiver) => receiver.post(&hook, &delivery, app.now()).await,
                    Err(problem) => Err(problem.clone()),
                };
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

/// Who is told, as a webhook says.
struct Receiver {
    target: Target,
    tls: Option<Arc<ClientConfig>>,
}

impl Receiver {
    fn of(hook: &Webhook) -> Result<Receiver, String> {
        let target = Target::parse(&hook.url).map_err(str::to_owned)?;
        let tls = match (target.is_tls, hook.authorities.as_str()) {
            (false, _) => None,
            (true, "") => Some(trusting_as_this_machine()?),
            (true, pem) => Some(trusting(pem.as_bytes())?),
        };
        Ok(Receiver { target, tls })
    }

    /// The status that the receiver answers with, or what went wrong before it did.
    async fn post(
        &self,
        hook: &Webhook,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<u16, String> {
        let request = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tinyops/{}\r\nContent-Type: application/json\r\n\
             {}Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            self.target.path,
            self.target.authority(),
            env!("CARGO_PKG_VERSION"),
            headers(hook, delivery, now),
            delivery.body.len(),
            delivery.body,
        );
        let exchange = async {
            let stream = self.connect().await?;
            exchange(stream, request.as_bytes()).await
        };
        match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let host = &self.target.host;
        let tcp = TcpStream::connect((host.as_str(), self.target.port)).await?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(tcp));
        };
        let name = ServerName::try_from(host.clone()).map_err(|_| {
            let problem = format!("`{host}` is no name of a certificate");
            io::Error::new(io::ErrorKind::InvalidInput, problem)
        })?;
        let connector = TlsConnector::from(tls.clone());
        Ok(Box::new(connector.connect(name, tcp).await?))
    }
}

/// What a delivery is, and the proof that it is this server's, in the words that its receiver knows.
fn headers(hook: &Webhook, delivery: &Delivery, now: Timestamp) -> String {
    match hook.kind {
        WebhookKind::Alerts => format!(
            "TinyOps-Event: {}\r\nTinyOps-Delivery: {}\r\nTinyOps-Signature: {}\r\n",
            delivery.event,
            delivery.id,
            signature(&hook.secret, now, &delivery.body),
        ),
        WebhookKind::Lineage => match hook.secret.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        },
        WebhookKind::Registry => {
            // The same for every attempt: a receiver knows a repeated one by it.
            let id = format!("{}-{}", hook.name, delivery.id);
            let seconds = now.0.div_euclid(1000);
            let mut headers =
                format!("X-MLflow-Delivery-Id: {id}\r\nX-MLflow-Timestamp: {seconds}\r\n");
            if !hook.secret.is_empty() {
                let proof = registry_signature(&hook.secret, &id, seconds, &delivery.body);
                headers += &format!("X-MLflow-Signature: {proof}\r\n");
            }
            headers
        }
    }
}

/// The value of MLflow's `X-MLflow-Signature`: `v1,BASE64`, HMAC-SHA-256 under the secret's text over id, seconds and body,
/// with dots between.
fn registry_signature(secret: &str, id: &str, seconds: i64, body: &str) -> String {
    let mac = hmac_sha256(secret, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64.encode(mac))
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

#[cfg(test)]
mod tests;
