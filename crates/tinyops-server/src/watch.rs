//! What others change while the server runs, taken up without a restart: revoked devices, a key set. A certificate is
//! taken up in `tls`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tinyops_fleet::{FleetError, KeyFolder};
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
        let mut key_set = None;
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
            let found = self.key_set();
            if is_asked || found != key_set {
                key_set = found;
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

    fn key_set(&self) -> Stamp {
        stamp(&KeyFolder::new(self.keys.as_deref()?).key_set_file())
    }

    /// What cannot be used leaves the keys of before in force.
    fn take_up_keys(&self) {
        let Some(folder) = &self.keys else { return };
        let fleet = self.app.fleet();
        let before = fleet.keys();
        match opened(&KeyFolder::new(folder)) {
            Ok(Some(keys)) if before.as_ref().is_none_or(|b| b.trust != keys.trust) => {
                let key_set = keys.trust.keys.sequence;
                fleet.renew_keys(keys);
                self.app.inner().wake.notify_one();
                info!(key_set, "took up a key set");
            }
            Ok(_) => {}
            Err(cause) => warn!(%cause, "the keys that are there now are not taken up"),
        }
    }
}

fn opened(folder: &KeyFolder) -> Result<Option<tinyops_fleet::Keyring>, FleetError> {
    folder.trust()?.map(|trust| folder.open(trust)).transpose()
}
