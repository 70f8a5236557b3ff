//! What others change while the server runs, taken up without a restart: revoked devices, a key set. A certificate is
//! taken up in `tls`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tinyops_fleet::{FleetError, KeyFolder, Keyring, Signer};
use tinyops_store::{StoreError, device};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::app::App;
use crate::mqtt::session::Closing;
use crate::stop::Stop;

/// What is watched, and how it was when it was last looked at.
pub(crate) struct Watch {
    pub(crate) app: App,
    /// The folder of the server's keys, if it has one.
    pub(crate) keys: Option<PathBuf>,
    /// Asks for a look at once, whatever the files' times say.
    pub(crate) asked: Arc<Notify>,
}

/// A file's time and length; none for one that is not there.
pub(crate) type Stamp = Option<(SystemTime, u64)>;

pub(crate) fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

impl Watch {
    /// Looks at every tick, and when asked, until told to stop.
    pub(crate) async fn run(self, tick: Duration, mut stop: Stop) {
        let mut devices = None;
        // The first look reads it: it may have changed since the server read it at its start.
        let mut keys = None;
        loop {
            let is_asked = tokio::select! {
                () = stop.asked() => return,
                () = tokio::time::sleep(tick) => false,
                () = self.asked.notified() => true,
            };
            match self.part(devices).await {
                Ok(now) => devices = Some(now),
                Err(cause) => error!(%cause, "the store could not be asked who is revoked"),
            }
            let found = self.key_files();
            if is_asked || found != keys {
                keys = found;
                self.take_up_keys();
            }
        }
    }

    /// Ends the connections of revoked devices, if any device was changed since.
    async fn part(&self, seen: Option<(i64, i64)>) -> Result<(i64, i64), StoreError> {
        let now = device::fingerprint(self.app.db()).await?;
        if seen != Some(now) {
            for revoked in device::revoked(self.app.db()).await? {
                self.app.inner().sessions.close(revoked, Closing::Revoked);
            }
        }
        Ok(now)
    }

    /// All that the keys lie in: a key set and the key that it brings are two files, and a release key that is taken away
    /// is to sign no more.
    fn key_files(&self) -> Option<[Stamp; 5]> {
        let folder = KeyFolder::new(self.keys.as_deref()?);
        Some(folder.server_files().map(|file| stamp(&file)))
    }

    /// What cannot be used leaves the keys of before in force.
    fn take_up_keys(&self) {
        let Some(folder) = &self.keys else { return };
        let fleet = self.app.fleet();
        let before = fleet.keys();
        match opened(&KeyFolder::new(folder)) {
            Ok(Some(keys)) if before.as_ref().is_none_or(|before| !is_same(before, &keys)) => {
                let key_set = keys.trust.keys.sequence;
                let signs_releases = keys.release.is_some();
                fleet.renew_keys(keys);
                self.app.inner().wake.notify_one();
                info!(key_set, signs_releases, "took up keys");
            }
            Ok(_) => {}
            Err(cause) => warn!(%cause, "the keys that are there now are not taken up"),
        }
    }
}

/// Whether both believe the same and sign with the same keys.
fn is_same(one: &Keyring, other: &Keyring) -> bool {
    let signs = |keys: &Keyring| {
        let release = keys.release.as_ref().map(Signer::verifying_key);
        (keys.director.verifying_key(), release)
    };
    one.trust == other.trust && signs(one) == signs(other)
}

fn opened(folder: &KeyFolder) -> Result<Option<Keyring>, FleetError> {
    folder.trust()?.map(|trust| folder.open(trust)).transpose()
}
