//! Starting and stopping: listeners, background tasks, and who owns them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tinyops_fleet::enrol::Entropy;
use tinyops_fleet::masked::SumHelper;
use tinyops_fleet::{Fleet, Intake, Keyring, Policy};
use tinyops_pipeline::{Metric, Workshop};
use tinyops_store::Digest;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::access::Door;
use crate::app::{App, Business, Inner};
use crate::appraised::Appraisals;
use crate::event::Event;
use crate::gate::FleetGate;
use crate::listen::{StreamListener, serve_http};
use crate::login::Logins;
use crate::metrics::Metrics;
use crate::mqtt::session::Sessions;
use crate::mqtt::{self, Limits, Shared, commit};
use crate::stop::{self, Stopper};
use crate::text::hex;
use crate::tls::{Tls, TlsError, TlsFiles};
use crate::watch::Watch;
use crate::{api, ingestion, loops, mlflow, page, webhook};

/// Events that a slow listener may fall behind by before it misses some.
const EVENTS_MAX: usize = 1024;
/// How long a task may take to end before it is cut off.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// What a server needs.
#[derive(Clone)]
pub struct Config {
    /// Where HTTP listens; port 0 takes any free one.
    pub http: SocketAddr,
    /// Where MQTT listens, if it does.
    pub mqtt: Option<SocketAddr>,
    /// The project, its store and the clock: pipeline runs work in it.
    pub workshop: Workshop,
    /// How the fleet is judged.
    pub policy: Policy,
    /// The keys of the releases that this server makes, and of what it tells devices to run.
    pub keys: Keyring,
    /// The folder that the keys are in: a key set that is put in force there is taken up.
    pub key_folder: Option<PathBuf>,
    /// The file with the first token, of the role admin; it is made when it is missing and HTTP is
    /// not on loopback, where nobody is asked for one.
    pub admin_token: PathBuf,
    /// Makes both listeners speak TLS.
    pub tls: Option<TlsFiles>,
    /// Who tells the sums of masks, in another process and better in other hands; without it masked reports wait.
    pub helper: Option<Arc<dyn SumHelper>>,
    /// The background loops.
    pub loops: Loops,
}

#[cfg(test)]
impl Config {
    /// A server of this project at a free port of loopback: HTTP alone, without TLS, and everything else as usual.
    pub(crate) fn of(workshop: Workshop, keys: Keyring) -> Config {
        Config {
            http: ([127, 0, 0, 1], 0).into(),
            mqtt: None,
            admin_token: workshop.root.join("admin.token"),
            workshop,
            policy: Policy::default(),
            keys,
            key_folder: None,
            tls: None,
            helper: None,
            loops: Loops::default(),
        }
    }
}

/// How the background loops turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loops {
    /// Off, the server only listens: rollouts stand still and triggers wait.
    pub enabled: bool,
    /// Real time between two turns.
    pub tick: Duration,
}

impl Default for Loops {
    fn default() -> Loops {
        Loops {
            enabled: true,
            tick: Duration::from_secs(1),
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address} for {protocol}: choose another port, or stop what uses it")]
    Listen {
        /// For whom.
        protocol: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("TLS cannot be offered")]
    Tls(#[from] TlsError),
    /// The token file cannot be read or made.
    #[error("token file `{path}` cannot be used")]
    AdminToken {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A server at work. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Running {
    /// Where HTTP listens.
    pub http: SocketAddr,
    /// Where MQTT listens.
    pub mqtt: Option<SocketAddr>,
    app: App,
    /// Asks the watch for a look.
    asked: Arc<Notify>,
    tls: Option<Tls>,
    stopper: Stopper,
    /// In the order in which they end: what feeds others comes first.
    tasks: Vec<(&'static str, JoinHandle<()>)>,
}

/// Starts the listeners and the loops.
///
/// # Errors
/// [`ServeError`]; nothing is left running then.
pub async fn serve(config: Config) -> Result<Running, ServeError> {
    let (now, tick) = (&config.workshop.now, config.loops.tick);
    let tls = config.tls.as_ref();
    let tls = tls.map(|files| Tls::open(files, now.clone(), tick));
    let tls = tls.transpose()?;
    let http = bind_http(config.http, tls.as_ref()).await?;
    let http_address = http.address();
    let mqtt = match config.mqtt {
        Some(wanted) => Some(bind_mqtt(wanted).await?),
        None => None,
    };
    let is_open_here = http_address.ip().is_loopback();
    let admin_token = match is_open_here && !config.admin_token.exists() {
        true => None,
        false => Some(admin_token(&config.admin_token)?),
    };
    let door = Door {
        is_open_here,
        admin: admin_token.map(|token| Digest::of(token.as_bytes())),
        is_tls: tls.is_some(),
    };
    let (stopper, stop) = stop::pair();
    let (app, gate, queue) = assemble(&config, door);
    let mut tasks = Vec::new();
    if config.loops.enabled {
        let make = loops::make(app.clone(), tick, stop.clone());
        tasks.push(("make", tokio::spawn(make)));
        let operate = loops::operate(app.clone(), tick, stop.clone());
        tasks.push(("operate", tokio::spawn(operate)));
        let deliver = webhook::deliver(app.clone(), tick, stop.clone());
        tasks.push(("webhooks", tokio::spawn(deliver)));
    }
    let asked = Arc::new(Notify::new());
    let watch = Watch {
        app: app.clone(),
        keys: config.key_folder.clone(),
        asked: asked.clone(),
    };
    let watch = watch.run(tick, stop.clone());
    tasks.push(("watch", tokio::spawn(watch)));
    let mqtt_address = mqtt.as_ref().map(|(_, address)| *address);
    if let Some((listener, _)) = mqtt {
        let shared = Arc::new(Shared {
            gate: gate.clone(),
            sessions: app.inner().sessions.clone(),
            work: app.inner().work.clone(),
            limits: Limits::default(),
            metrics: app.inner().metrics.clone(),
            tls: tls.as_ref().map(|tls| tls.config().clone()),
        });
        let listen = mqtt::listen(listener, shared, stop.clone());
        tasks.push(("mqtt", tokio::spawn(listen)));
    }
    let answer = serve_http(http, router(app.clone()), stop.clone());
    tasks.push(("http", tokio::spawn(answer)));
    let commit = commit::run(gate, queue, app.inner().metrics.clone(), stop);
    tasks.push(("commit", tokio::spawn(commit)));
    info!(http = %http_address, mqtt = ?mqtt_address, "ready");
    Ok(Running {
        http: http_address,
        mqtt: mqtt_address,
        app,
        asked,
        tls,
        stopper,
        tasks,
    })
}

/// Every route: pages, API, health, metrics.
pub fn router(app: App) -> Router {
    let routes = page::routes(&app)
        .merge(api::routes(&app))
        .merge(mlflow::routes(&app))
        .merge(ingestion::routes(&app));
    api::framed(routes, &app).with_state(app)
}

impl Running {
    /// What happens from now on; a listener that falls far behind misses some.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.app.inner().events.subscribe()
    }

    /// The server as its handlers see it.
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Takes up the key set and the certificate that are in their files now; whoever is connected stays.
    pub fn reload(&self) {
        self.asked.notify_one();
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Lets every task finish what it has begun, in order; what was acknowledged is stored.
    pub async fn stop(self) {
        self.stopper.stop();
        for (name, task) in self.tasks {
            let abort = task.abort_handle();
            if tokio::time::timeout(STOP_WITHIN, task).await.is_err() {
                warn!(task = name, "cut off, since it did not end in time");
                abort.abort();
            }
        }
    }
}

type Parts = (
    App,
    Arc<FleetGate>,
    tokio::sync::mpsc::Receiver<commit::Work>,
);

/// Puts the shared parts together; nothing runs yet.
pub(crate) fn assemble(config: &Config, door: Door) -> Parts {
    let workshop = &config.workshop;
    let fleet = Fleet::new(
        workshop.db.clone(),
        workshop.artifacts.clone(),
        config.policy.clone(),
    )
    .with_keys(config.keys.clone())
    .with_deltas(tinyops_pipeline::delta)
    .with_helper(config.helper.clone());
    let metrics = Metrics::new();
    let (events, _) = broadcast::channel(EVENTS_MAX);
    let (work, queue) = commit::queue();
    let intake = Arc::new(Intake::new(fleet.clone()).into());
    let gate = Arc::new(FleetGate {
        fleet: fleet.clone(),
        intake: Arc::clone(&intake),
        now: workshop.now.clone(),
        events: events.clone(),
        metrics: metrics.clone(),
    });
    let app = App::new(Inner {
        fleet,
        intake,
        now: workshop.now.clone(),
        business: business(workshop),
        workshop: workshop.clone(),
        at_work: Default::default(),
        looks: Default::default(),
        metrics,
        sessions: Arc::new(Sessions::default()),
        radios: Default::default(),
        work,
        events,
        wake: Arc::default(),
        door,
        logins: Logins::default(),
        appraisals: Appraisals::default(),
    });
    (app, gate, queue)
}

fn business(workshop: &Workshop) -> Business {
    let project = &workshop.project.project;
    Business {
        purpose: project.goal.clone(),
        goal: (project.metric == Metric::Accuracy && project.threshold > 0.0)
            .then_some(project.threshold),
    }
}

pub(crate) async fn bind_http(
    wanted: SocketAddr,
    tls: Option<&Tls>,
) -> Result<StreamListener, ServeError> {
    let bound = StreamListener::bind(wanted, tls).await;
    bound.map_err(|source| ServeError::Listen {
        protocol: "HTTP",
        address: wanted,
        source,
    })
}

async fn bind_mqtt(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let bound = TcpListener::bind(wanted).await;
    let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) = bound.map_err(|source| ServeError::Listen {
        protocol: "MQTT",
        address: wanted,
        source,
    })?;
    Ok((listener, address))
}

/// Reads the token, or makes one that only the owner can read.
fn admin_token(path: &Path) -> Result<String, ServeError> {
    let wrong = |source| ServeError::AdminToken {
        path: path.to_owned(),
        source,
    };
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(text.trim().to_owned()),
        Ok(_) => {
            let problem = "shorter than 32 characters: remove it to have one made";
            return Err(wrong(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(wrong(error)),
        Err(_) => {}
    }
    let random = Entropy::from_system().0;
    let token = hex(&random);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    tinyops_store::write_new(path, tinyops_store::Readers::Owner, token.as_bytes())
        .map_err(wrong)?;
    info!(path = %path.display(), "made a token for management calls");
    Ok(token)
}

#[cfg(test)]
mod tests;
