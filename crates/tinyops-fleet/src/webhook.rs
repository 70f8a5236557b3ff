//! Telling others over HTTP what happens to alerts, and in the registry: what is owed to whom, how it is signed, when it is tried again.
//!
//! An event is written to the outbox in the transaction that it tells of, so that neither a restart nor a receiver that
//! is down loses it. It is delivered at least once: a receiver knows a repeated one by its number.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tinyops_store::alert::Alert;
use tinyops_store::webhook::{self, Delivery, DeliveryState, Webhook, WebhookKind};
use tinyops_store::{Json, Read, StoreError, Timestamp, Tx};

use crate::again::{again, retry_ms};
use crate::enrol::{Entropy, check_name, hex, note};
use crate::{Fleet, FleetError};

/// After this long it is given up.
const GIVE_UP_MS: i64 = 3 * 24 * 3_600_000;
/// What is over stays in the log for so long.
const KEEP_MS: i64 = 30 * 24 * 3_600_000;
/// Characters that are kept of what a receiver answered.
const ANSWER_MAX: usize = 200;

/// Where a webhook listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Through TLS.
    pub is_tls: bool,
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// From the first slash on.
    pub path: String,
}

impl Target {
    /// Reads `http://HOST[:PORT][/PATH]`, or `https://…`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(url: &str) -> Result<Target, &'static str> {
        let (is_tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            _ => return Err("it begins with http:// or https://"),
        };
        if url.len() > 2000 || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has up to 2000 characters, no spaces, and others as %XX");
        }
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("it carries no name and password: deliveries are signed");
        }
        if path.contains('#') {
            return Err("it has no part behind `#`, which is not sent");
        }
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of a bare IPv6 address are not a port's.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| "its port is no number")?)
            }
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
        if host.is_empty() || !host.chars().all(is_fine) || port == 0 {
            return Err("it names no host");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Target {
            is_tls,
            host: host.to_owned(),
            port,
            path: format!("{slash}{path}"),
        })
    }

    /// Host and port as HTTP names them.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// The value of the header `TinyOps-Signature`: `t=SECONDS,v1=HEX`, HMAC-SHA-256 under the secret's text over the
/// seconds, a dot, and the body.
pub fn signature(secret: &str, at: Timestamp, body: &str) -> String {
    let seconds = at.0.div_euclid(1000);
    let mac = hmac_sha256(secret, format!("{seconds}.{body}").as_bytes());
    format!("t={seconds},v1={}", hex(&mac))
}

/// HMAC-SHA-256 of a message under a secret's text.
pub fn hmac_sha256(secret: &str, message: &[u8]) -> [u8; 32] {
    // A key of any length will do.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// An alert as the outside is told of it.
fn document(event: &str, alert: &Alert, now: Timestamp) -> Json {
    json!({
        "event": event,
        "at_ms": now.0,
        "alert": {
            "alert": alert.id.0,
            "scope": alert.scope.key(),
            "model": alert.model.to_string(),
            "kind": alert.kind.word(),
            "advice": alert.advice,
            "detail": alert.detail,
            "state": alert.state.word(),
            "actor": alert.actor,
            "reason": alert.reason,
            "muted_until_ms": alert.muted_until.map(|until| until.0),
            "opened_at_ms": alert.opened_at.0,
            "changed_at_ms": alert.changed_at.0,
            "revision": alert.revision,
        },
    })
}

/// Owes every webhook an event of an alert, unless the alert is muted and nobody but the loop speaks.
pub(crate) async fn owe(
    tx: &Tx,
    event: &str,
    alert: &Alert,
    now: Timestamp,
) -> Result<(), StoreError> {
    let webhooks = webhook::list(tx).await?;
    if webhooks.is_empty() {
        return Ok(());
    }
    let body = document(event, alert, now).to_string();
    for hook in webhooks {
        webhook::owe(tx, &hook.name, event, &body, now).await?;
    }
    Ok(())
}

/// How a receiver knows that it is this server which speaks, and by that what it is told of.
pub enum Proof {
    /// Of alerts: by a signature under a secret that is drawn from this.
    Signature(Entropy),
    /// Of runs, as events of OpenLineage: by a token that the receiver gave, if it asks for one.
    Token(Option<String>),
}

/// Every webhook for alerts and lineage, by name.
///
/// # Errors
/// When the records cannot be read.
pub async fn receivers(on: &impl Read) -> Result<Vec<Webhook>, StoreError> {
    let mut all = webhook::receivers(on).await?;
    all.retain(|hook| hook.kind != WebhookKind::Registry);
    Ok(all)
}

async fn known(tx: &Tx, name: &str) -> Result<Webhook, FleetError> {
    let all = receivers(tx).await?;
    let found = all.into_iter().find(|hook| hook.name == name);
    found.ok_or_else(|| FleetError::NoWebhook(name.to_owned()))
}

/// What becomes of a delivery that is not taken.
fn state_of_failed(delivery: &Delivery, now: Timestamp) -> DeliveryState {
    match now.ms_since(delivery.created_at) >= GIVE_UP_MS {
        true => DeliveryState::Abandoned,
        false => DeliveryState::Waiting,
    }
}

impl Fleet {
    /// Adds a webhook for alerts, whose secret is made here and told this once, or one for lineage.
    ///
    /// # Errors
    /// [`FleetError::Name`], [`FleetError::WebhookUrl`], [`FleetError::WebhookToken`]; [`StoreError::Exists`] if the name
    /// is taken.
    pub async fn add_webhook(
        &self,
        name: &str,
        url: &str,
        authorities: &str,
        proof: Proof,
        actor: &str,
        now: Timestamp,
    ) -> Result<Webhook, FleetError> {
        check_name(name)?;
        if let Err(problem) = Target::parse(url) {
            return Err(FleetError::WebhookUrl(problem));
        }
        let (kind, secret) = match proof {
            Proof::Signature(entropy) => (WebhookKind::Alerts, hex(&entropy.0[..32])),
            Proof::Token(token) => (WebhookKind::Lineage, token.unwrap_or_default()),
        };
        // It becomes a line of a header.
        if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(FleetError::WebhookToken);
        }
        let new = Webhook {
            name: name.to_owned(),
            url: url.to_owned(),
            secret,
            authorities: authorities.to_owned(),
            created_at: now,
            created_by: actor.to_owned(),
            kind,
            about: Json::Null,
        };
        again!({
            let tx = self.db.begin_audited("add a webhook").await?;
            webhook::add(&tx, &new).await?;
            note(&tx, now, actor, "webhook.add", name, &json!({ "url": url })).await?;
            tx.commit().await?;
            Ok(new.clone())
        })
    }

    /// Removes a webhook for alerts or lineage, and what it is still owed.
    ///
    /// # Errors
    /// [`FleetError::NoWebhook`], also for one of the registry.
    pub async fn remove_webhook(
        &self,
        name: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        again!({
            let tx = self.db.begin_audited("remove a webhook").await?;
            // One of the registry is whose client made it, over the API that made it.
            known(&tx, name).await?;
            webhook::remove(&tx, name).await?;
            note(&tx, now, actor, "webhook.remove", name, &Json::Null).await?;
            tx.commit().await?;
            Ok(())
        })
    }

    /// Owes a webhook an event that tells of nothing, to see whether it listens.
    ///
    /// # Errors
    /// [`FleetError::NoWebhook`]; [`FleetError::WebhookTest`] for one that would take it for a run.
    pub async fn test_webhook(
        &self,
        name: &str,
        actor: &str,
        now: Timestamp,
    ) -> Result<Delivery, FleetError> {
        again!({
            let tx = self.db.begin_audited("test a webhook").await?;
            if known(&tx, name).await?.kind != WebhookKind::Alerts {
                return Err(FleetError::WebhookTest(name.to_owned()));
            }
            let event = "webhook.test";
            let body = json!({ "event": event, "at_ms": now.0, "actor": actor }).to_string();
            let delivery = webhook::owe(&tx, name, event, &body, now).await?;
            note(
                &tx,
                now,
                actor,
                event,
                name,
                &json!({ "delivery": delivery.id.0 }),
            )
            .await?;
            tx.commit().await?;
            Ok(delivery)
        })
    }

    /// Takes what is due, oldest first, with the webhook that it is for. Each counts as tried: should this process end
    /// before it says what came of it, it is tried again.
    pub async fn due_deliveries(
        &self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Webhook, Delivery)>, FleetError> {
        again!({
            let due = webhook::due(&self.db, now, limit).await?;
            if due.is_empty() {
                return Ok(Vec::new());
            }
            let tx = self.db.begin("take webhook deliveries").await?;
            let webhooks = webhook::receivers(&tx).await?;
            let mut taken = Vec::new();
            for mut delivery in due {
                let before = delivery.attempt_count;
                delivery.changed_at = now;
                match webhooks.iter().find(|hook| hook.name == delivery.webhook) {
                    Some(hook) => {
                        delivery.attempt_count += 1;
                        delivery.next_at = now.plus_ms(retry_ms(delivery.attempt_count));
                        webhook::put(&tx, &delivery, before).await?;
                        taken.push((hook.clone(), delivery));
                    }
                    // It was owed while the webhook was being removed.
                    None => {
                        delivery.state = DeliveryState::Abandoned;
                        "the webhook was removed".clone_into(&mut delivery.answer);
                        webhook::put(&tx, &delivery, before).await?;
                    }
                }
            }
            webhook::forget(&tx, now.plus_ms(-KEEP_MS)).await?;
            tx.commit().await?;
            Ok(taken)
        })
    }

    /// Notes what came of an attempt: the status that the receiver answered with, or what went wrong before it did.
    pub async fn note_delivery(
        &self,
        mut delivery: Delivery,
        answer: Result<u16, String>,
        now: Timestamp,
    ) -> Result<Delivery, FleetError> {
        delivery.state = match answer {
            Ok(200..=299) => DeliveryState::Delivered,
            _ => state_of_failed(&delivery, now),
        };
        delivery.answer = match answer {
            Ok(status) => status.to_string(),
            Err(why) => why.chars().take(ANSWER_MAX).collect(),
        };
        let attempts_before = delivery.attempt_count;
        self.put_delivery(delivery, attempts_before, now).await
    }

    /// Puts back a delivery that was taken and not tried, since one before it failed: that was no attempt, and it comes
    /// behind the failed one again.
    pub async fn put_back(
        &self,
        mut delivery: Delivery,
        failed: &Delivery,
        now: Timestamp,
    ) -> Result<Delivery, FleetError> {
        delivery.state = state_of_failed(&delivery, now);
        "not tried: the one before it failed".clone_into(&mut delivery.answer);
        let attempts_before = delivery.attempt_count;
        delivery.attempt_count = attempts_before.saturating_sub(1);
        delivery.next_at = failed.next_at;
        self.put_delivery(delivery, attempts_before, now).await
    }

    async fn put_delivery(
        &self,
        mut delivery: Delivery,
        attempts_before: u32,
        now: Timestamp,
    ) -> Result<Delivery, FleetError> {
        delivery.changed_at = now;
        again!({
            let tx = self.db.begin("note a webhook delivery").await?;
            // It is forgotten with its webhook, while it is under way too.
            if webhook::delivery(&tx, delivery.id).await?.is_some() {
                webhook::put(&tx, &delivery, attempts_before).await?;
                tx.commit().await?;
            }
            Ok(delivery.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_others_refused() {
        let target = |is_tls, host: &str, port, path: &str| Target {
            is_tls,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        for (url, expected) in [
            (
                "http://hall:8080/hook",
                target(false, "hall", 8080, "/hook"),
            ),
            (
                "https://hall.example",
                target(true, "hall.example", 443, "/"),
            ),
            ("https://hall?x=1", target(true, "hall", 443, "/?x=1")),
            ("http://[::1]:9/", target(false, "::1", 9, "/")),
        ] {
            assert_eq!(Target::parse(url), Ok(expected), "{url}");
        }
        for url in [
            "",
            "hall:80",
            "ftp://hall",
            "http://",
            "http://:80/",
            "http://ana:secret@hall/",
            "http://hall/ x",
            "http://hall/\r\nX: y",
            "http://hall:99999/",
            "http://hall:0/",
            "https://hall/#part",
            "http://hä/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn signatures_are_those_of_the_guide() {
        // By `printf '%s' '1700000000.{}' | openssl dgst -sha256 -hmac secret`.
        assert_eq!(
            signature("secret", Timestamp(1_700_000_000_999), "{}"),
            "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163"
        );
    }
}
