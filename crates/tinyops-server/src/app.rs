//! What every handler shares: the store, the clock, the connections, the counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use tinyops_fleet::lorawan::Radios;
use tinyops_fleet::{Fleet, FleetError, Intake};
use tinyops_pipeline::{StepName, Workshop};
use tinyops_store::trigger::TriggerId;
use tinyops_store::{Db, DeviceId, Timestamp};
use tokio::sync::{Mutex, Notify, broadcast, mpsc};

use crate::access::Door;
use crate::appraised::Appraisals;
use crate::event::Event;
use crate::gate::settle;
use crate::login::Logins;
use crate::metrics::Metrics;
use crate::mqtt::commit::Work;
use crate::mqtt::session::Sessions;

/// Tells the time of records; a parameter, so that a simulation can run it faster.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the project says about its purpose, for the pages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Business {
    /// One sentence: who needs which answer.
    pub purpose: String,
    /// The accuracy that is good enough.
    pub goal: Option<f64>,
}

/// What a run of this server is at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AtWork {
    pub step: StepName,
    pub done: u64,
    /// 0 when unknown.
    pub total: u64,
    /// Such as `epoch 12, loss 0.031`.
    pub note: String,
}

impl AtWork {
    pub(crate) fn of(step: StepName) -> AtWork {
        AtWork {
            step,
            done: 0,
            total: 0,
            note: String::new(),
        }
    }
}

/// How far the runs of this server are, by their triggers.
#[derive(Debug, Default)]
pub(crate) struct Works(std::sync::Mutex<BTreeMap<TriggerId, AtWork>>);

impl Works {
    pub(crate) fn tell(&self, trigger: TriggerId, at: AtWork) {
        self.lock().insert(trigger, at);
    }

    pub(crate) fn end(&self, trigger: TriggerId) {
        self.lock().remove(&trigger);
    }

    pub(crate) fn of(&self, trigger: TriggerId) -> Option<AtWork> {
        self.lock().get(&trigger).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TriggerId, AtWork>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a look for wrong labels goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Look {
    /// None goes on, and the last one ended well.
    #[default]
    None,
    /// So many of so many models are trained.
    Going { done: usize, all: usize },
    /// The last one ended so.
    Failed(String),
}

/// The look for wrong labels that goes on, one at a time.
#[derive(Debug, Default)]
pub(crate) struct Looks(std::sync::Mutex<Look>);

impl Looks {
    /// Whether a look may begin; from here on one goes on then.
    pub(crate) fn begin(&self, all: usize) -> bool {
        let mut look = self.lock();
        if matches!(*look, Look::Going { .. }) {
            return false;
        }
        *look = Look::Going { done: 0, all };
        true
    }

    pub(crate) fn tell(&self, done: usize, all: usize) {
        *self.lock() = Look::Going { done, all };
    }

    pub(crate) fn end(&self, why: Option<String>) {
        *self.lock() = why.map_or(Look::None, Look::Failed);
    }

    pub(crate) fn now(&self) -> Look {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Look> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server as a handler sees it; clones share everything.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The parts of an [`App`].
pub(crate) struct Inner {
    pub fleet: Fleet,
    /// Where reports come in.
    pub intake: Arc<Mutex<Intake>>,
    pub now: Clock,
    pub business: Business,
    /// The project, and where its pipeline works.
    pub workshop: Workshop,
    /// How far its runs are.
    pub at_work: Works,
    /// How a look for wrong labels goes.
    pub looks: Looks,
    pub metrics: Metrics,
    pub sessions: Arc<Sessions>,
    /// What waits for devices behind LoRaWAN network servers.
    pub radios: Radios,
    pub work: mpsc::Sender<Work>,
    pub events: broadcast::Sender<Event>,
    /// Wakes the loops before their next turn.
    pub wake: Arc<Notify>,
    /// What HTTP asks of those who come without a token.
    pub door: Door,
    /// Sessions of browsers.
    pub logins: Logins,
    /// What versions are worth, as the pages showed it last.
    pub appraisals: Appraisals,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("App")
            .field(&self.0.fleet.db.place())
            .finish()
    }
}

impl App {
    pub(crate) fn new(inner: Inner) -> App {
        App(Arc::new(inner))
    }

    /// The time of records.
    pub fn now(&self) -> Timestamp {
        (self.0.now)()
    }

    /// Brings every acknowledged report into the records, for whoever is about to read or to judge by them.
    pub(crate) async fn settle(&self) -> Result<(), FleetError> {
        settle(&self.0.intake, &self.0.events).await
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.fleet.db
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.0.fleet
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn workshop(&self) -> &Workshop {
        &self.0.workshop
    }

    pub(crate) fn business(&self) -> &Business {
        &self.0.business
    }

    /// One sentence for the head of the overview.
    pub(crate) fn goal(&self) -> &str {
        match self.0.business.purpose.as_str() {
            "" => "How the fleet is, what it runs, and what was done about it.",
            purpose => purpose,
        }
    }

    pub(crate) fn connected_count(&self) -> usize {
        self.0.sessions.count()
    }

    pub(crate) fn is_connected(&self, device: DeviceId) -> bool {
        self.0.sessions.is_connected(device)
    }
}
