//! Who may speak: devices, their keys, and the class tokens that enrol them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tinyops_store::device::{Device, DeviceState};
use tinyops_store::{DeviceId, DeviceKey, Digest, Json, Timestamp, Tx, audit, device, token};

use crate::{Fleet, FleetError};

/// What a new device, or the person who registers it, says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id, if it has one already; otherwise it gets one.
    pub id: Option<DeviceId>,
    /// Its board.
    pub board: String,
    /// The cohort that it joins; a class token's wins. Empty is `default`.
    pub cohort: String,
    /// Further words to choose it by.
    pub tags: Vec<String>,
    /// The class token, where one is asked for.
    pub class_token: Option<String>,
}

/// What enrolment makes of randomness: 32 bytes for the key, 8 for an id.
#[derive(Clone, Copy)]
pub struct Entropy(pub [u8; 40]);

impl Entropy {
    /// From the system.
    ///
    /// # Panics
    /// If the system has none, without which no key is safe.
    pub fn from_system() -> Entropy {
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes).expect("the system gives random bytes");
        Entropy(bytes)
    }
}

impl Fleet {
    /// Registers a device and gives it a key of its own, which is shown this once.
    ///
    /// # Errors
    /// [`FleetError::Token`] if a token is given and does not fit; [`FleetError::Name`];
    /// [`tinyops_store::StoreError::Exists`] if the id is taken.
    pub async fn register(
        &self,
        new: &NewDevice,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<Device, FleetError> {
        let tx = self.db.begin("register a device").await?;
        let device = self.add_device(&tx, new, entropy, actor, now).await?;
        tx.commit().await?;
        Ok(device)
    }

    /// As [`Fleet::register`], within a transaction.
    pub(crate) async fn add_device(
        &self,
        tx: &Tx,
        new: &NewDevice,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<Device, FleetError> {
        check_name(&new.board)?;
        let (key, id) = entropy.0.split_at(32);
        let key = DeviceKey(key.try_into().expect("32 of 40 bytes"));
        let id = u64::from_le_bytes(id.try_into().expect("8 of 40 bytes"));
        let mut cohort = new.cohort.clone();
        if let Some(shown) = &new.class_token {
            let token = token::get(tx, &Digest::of(shown.as_bytes())).await?;
            let token = token
                .filter(|token| !token.revoked && token.board == new.board)
                .ok_or(FleetError::Token)?;
            cohort = token.cohort;
        }
        if cohort.is_empty() {
            cohort = "default".to_owned();
        }
        check_name(&cohort)?;
        let device = Device {
            id: new.id.unwrap_or(DeviceId(id)),
            key,
            board: new.board.clone(),
            cohort,
            tags: new.tags.clone(),
            state: DeviceState::Active,
            enrolled_at: now,
            revision: 0,
        };
        device::add(tx, &device).await?;
        let detail = serde_json::json!({ "board": device.board, "cohort": device.cohort });
        note(tx, now, actor, "device.register", device.id, &detail).await?;
        Ok(device)
    }

    /// Makes a class token: whoever shows it may enrol devices of one board into one cohort.
    ///
    /// Only its digest is kept; the token is returned this once.
    ///
    /// # Errors
    /// [`FleetError::Name`].
    pub async fn make_token(
        &self,
        board: &str,
        cohort: &str,
        entropy: Entropy,
        actor: &str,
        now: Timestamp,
    ) -> Result<String, FleetError> {
        check_name(board)?;
        check_name(cohort)?;
        let text = hex(&entropy.0[..32]);
        let row = token::Token {
            digest: Digest::of(text.as_bytes()),
            board: board.to_owned(),
            cohort: cohort.to_owned(),
            created_at: now,
            revoked: false,
        };
        let tx = self.db.begin("make a class token").await?;
        token::put(&tx, &row).await?;
        note(
            &tx,
            now,
            actor,
            "class_token.make",
            row.digest,
            &serde_json::json!({ "board": board, "cohort": cohort }),
        )
        .await?;
        tx.commit().await?;
        Ok(text)
    }

    /// Takes a device's right to speak away.
    ///
    /// # Errors
    /// [`FleetError::NoDevice`].
    pub async fn revoke(
        &self,
        id: DeviceId,
        actor: &str,
        now: Timestamp,
    ) -> Result<(), FleetError> {
        let tx = self.db.begin("revoke a device").await?;
        let mut device = device::get(&tx, id)
            .await?
            .ok_or(FleetError::NoDevice(id))?;
        device.state = DeviceState::Revoked;
        device::put(&tx, &mut device).await?;
        note(&tx, now, actor, "device.revoke", id, &Json::Null).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether this is the password of an active device, compared in constant time.
    pub async fn admit(&self, id: DeviceId, password: &str) -> Result<bool, FleetError> {
        let device = device::get(&self.db, id).await?;
        Ok(device.is_some_and(|device| {
            device.state == DeviceState::Active
                && mac_of(&device.key, id)
                    .verify_slice(&unhex(password))
                    .is_ok()
        }))
    }
}

/// The password that a device shows to MQTT and HTTP: it can compute it from its key, and the key cannot be
/// found from it.
///
/// HMAC-SHA-256 under the device's key over `tinyops password` and the id (eight bytes, least first), in hex.
pub fn device_password(key: &DeviceKey, id: DeviceId) -> String {
    hex(&mac_of(key, id).finalize().into_bytes())
}

fn mac_of(key: &DeviceKey, id: DeviceId) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes a key of any length");
    mac.update(b"tinyops password");
    mac.update(&id.0.to_le_bytes());
    mac
}

/// Cohorts and boards are parts of topics, keys and pages.
pub(crate) fn check_name(name: &str) -> Result<(), FleetError> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 40 || !name.chars().all(is_fine) {
        return Err(FleetError::Name(name.chars().take(60).collect()));
    }
    Ok(())
}

pub(crate) async fn note(
    tx: &Tx,
    now: Timestamp,
    actor: &str,
    action: &str,
    subject: impl std::fmt::Display,
    detail: &Json,
) -> Result<(), FleetError> {
    Ok(audit::add(tx, now, actor, action, &subject.to_string(), detail).await?)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits; nothing for a text that is not hex, which no tag equals.
fn unhex(text: &str) -> Vec<u8> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.unwrap_or_default();
    digits
        .chunks_exact(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}
