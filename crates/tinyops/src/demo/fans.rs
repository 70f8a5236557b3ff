//! The fleet of the demo: one task for each fan, with its agent, its connection and its life.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tinyops_device::{BlockSource, Config, Event, Privacy, Reporting, Sensor};
use tinyops_fleet::{Fleet, enrol::Entropy, enrol::NewDevice, keys::Trust};
use tinyops_store::Timestamp;
use tinyops_wire::{
    DeviceId, DeviceKey, ModelId,
    downlink::Label,
    sensor::{Channel, Mounting},
    summary::Format,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{
    folder::BOARD,
    life::Life,
    score::{Record, Score},
};
use crate::{
    endpoint::{Endpoint, Protocol},
    fan::{AXES, Condition, RATE_HZ},
    virtual_device::{
        AIR_BLOCK_BYTES, AIR_ROOM, Air, BLOCK_BYTES, Down, Inbox, Line, Link, Response, Rhythm,
        Room, Traffic, VirtualDevice, Way,
    },
};

/// Windows, and so hours, between two reports.
const REPORT_WINDOWS: u32 = 24;
/// What the firmware of a fan states of its accelerometer, as `tinyops.toml` has it.
const CHANNELS: [Channel<'_>; AXES] = [axis("x"), axis("y"), axis("z")];

const fn axis(axis: &str) -> Channel<'_> {
    Channel {
        axis,
        unit: "g",
        full_scale: 0.0,
    }
}

/// The fleet's ids start here: `fan` in ASCII, so that they are told from others at a glance.
const FIRST_ID: u64 = 0x6661_6e00_0000_0000;

/// Of a radio, in real time: an uplink a day at least.
const RHYTHM: Rhythm = Rhythm {
    pause: Duration::from_millis(10),
    beat: Duration::from_millis(480),
};

/// One hour of virtual time.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// What a fan is told.
enum Order {
    /// Live through an hour.
    Hour {
        hour: u32,
        wear: f32,
        done: oneshot::Sender<()>,
    },
    /// Wait until the server has stored everything sent, and a radio has what the server held for it.
    Settle { done: oneshot::Sender<State> },
}

/// How a device stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) traffic: Traffic,
    /// Messages that the server has not acknowledged, as far as the link tells.
    pub(super) in_flight: u64,
    pub(super) link: Kind,
    /// The model that is at work.
    pub(super) model: Option<ModelId>,
}

/// How a fan is linked to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mqtt,
    Serial,
    Lorawan,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Mqtt => "MQTT",
            Kind::Serial => "serial",
            Kind::Lorawan => "LoRaWAN",
        })
    }
}

/// Where links lead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doors {
    pub(super) mqtt: SocketAddr,
    /// A gateway's port for lines, and where events of a LoRaWAN network server go; without them, all fans speak MQTT.
    pub(super) mixed: Option<(SocketAddr, SocketAddr)>,
}

impl Doors {
    /// The link of a fan: of a mixed fleet, every second speaks MQTT, every fourth is on a line, every fourth on the air.
    pub(super) fn kind(&self, index: u32) -> Kind {
        match (self.mixed, index % 4) {
            (Some(_), 1) => Kind::Serial,
            (Some(_), 3) => Kind::Lorawan,
            _ => Kind::Mqtt,
        }
    }

    fn open(&self, index: u32, device: DeviceId, key: &DeviceKey) -> (Way, Inbox) {
        match (self.kind(index), self.mixed) {
            (Kind::Serial, Some((gateway, _))) => {
                let (line, inbox) = Line::open(Endpoint::plain(Protocol::Line, gateway));
                (Way::Line(line), inbox)
            }
            (Kind::Lorawan, Some((_, http))) => {
                let (air, inbox) = Air::open(http, device, key, RHYTHM);
                (Way::Air(air), inbox)
            }
            _ => {
                let (link, inbox) =
                    Link::open(&Endpoint::plain(Protocol::Mqtt, self.mqtt), device, key);
                (Way::Mqtt(link), inbox)
            }
        }
    }
}

/// All fans.
pub(super) struct Fans {
    orders: Vec<mpsc::Sender<Order>>,
    tasks: Vec<JoinHandle<()>>,
    pub(super) score: Arc<Mutex<Score>>,
    clock: Arc<AtomicI64>,
    start: Timestamp,
    pub(super) hour: u32,
}

/// What all fans share.
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) count: u32,
    pub(super) doors: Doors,
    pub(super) trust: Trust,
    /// The clock that the server goes by too.
    pub(super) clock: Arc<AtomicI64>,
}

impl Plan {
    /// Whether a fan's mounting works loose: every second one's.
    fn ages(index: u32) -> bool {
        index % 2 == 1
    }
}

impl Fans {
    /// Registers the devices, connects and boots them.
    pub(super) async fn start(
        plan: &Plan,
        fleet: &Fleet,
    ) -> Result<Self, tinyops_fleet::FleetError> {
        let start = Timestamp(plan.clock.load(Ordering::Acquire));
        let score = Arc::new(Mutex::new(Score::default()));
        let mut orders = Vec::new();
        let mut tasks = Vec::new();
        for index in 0..plan.count {
            let new = NewDevice {
                id: Some(DeviceId(FIRST_ID + u64::from(index) + 1)),
                board: BOARD.to_owned(),
                tags: vec![
                    format!("fan-{:02}", index + 1),
                    format!("link={}", plan.doors.kind(index)),
                ],
                ..NewDevice::default()
            };
            let device = fleet
                .register(&new, Entropy::from_system(), "demo", start)
                .await?;
            let (order, receiver) = mpsc::channel(4);
            let kind = plan.doors.kind(index);
            let mut body = VirtualDevice::new(
                config(device.id, device.key.clone(), &plan.trust, kind),
                Room::SMALL,
                Arc::new([]),
            );
            if kind == Kind::Lorawan {
                body.set_link_room(AIR_ROOM);
            }
            let task = Task {
                index,
                kind,
                life: Life::begin(plan.seed, u64::from(index)),
                device: body,
                score: Arc::clone(&score),
                clock: Arc::clone(&plan.clock),
            };
            let (link, inbox) = plan.doors.open(index, device.id, &device.key);
            tasks.push(tokio::spawn(task.run(link, inbox, receiver)));
            orders.push(order);
        }
        Ok(Self {
            orders,
            tasks,
            score,
            clock: Arc::clone(&plan.clock),
            start,
            hour: 0,
        })
    }

    /// Lets an hour pass; the mountings of the fans that age are worn as far as `wear` says.
    pub(super) async fn hour(&mut self, wear: f32) {
        let now = self.start.plus_ms(i64::from(self.hour) * HOUR_MS);
        self.clock.store(now.0, Ordering::Release);
        let mut waiting = Vec::with_capacity(self.orders.len());
        for (index, order) in self.orders.iter().enumerate() {
            let (done, answer) = oneshot::channel();
            let ages = Plan::ages(u32::try_from(index).unwrap_or(0));
            let hour = Order::Hour {
                hour: self.hour,
                wear: if ages { wear } else { 0.0 },
                done,
            };
            if order.send(hour).await.is_ok() {
                waiting.push(answer);
            }
        }
        for answer in waiting {
            // A fan that is gone answers nothing; its predictions are missing from the score.
            let _ = answer.await;
        }
        self.hour += 1;
    }

    /// Waits until the server has stored what was sent, and radios have fetched what it held for them, so that virtual
    /// time does not run away from a slow machine.
    pub(super) async fn settle(&self) -> Vec<State> {
        let mut waiting = Vec::with_capacity(self.orders.len());
        for order in &self.orders {
            let (done, answer) = oneshot::channel();
            if order.send(Order::Settle { done }).await.is_ok() {
                waiting.push(answer);
            }
        }
        let mut states = Vec::with_capacity(waiting.len());
        for answer in waiting {
            states.extend(answer.await);
        }
        states
    }

    /// Ends all tasks.
    pub(super) async fn stop(self) {
        drop(self.orders);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

fn config(device: DeviceId, key: DeviceKey, trust: &Trust, kind: Kind) -> Config {
    Config {
        device,
        key,
        first_uplink: 0,
        roots: trust.roots,
        keys: trust.keys,
        board: BOARD,
        sensor: Sensor {
            channel_count: AXES as u16,
            rate_hz: RATE_HZ,
            mounting: Some(Mounting::UPRIGHT),
            channels: &CHANNELS,
        },
        reporting: Reporting {
            every_windows: REPORT_WINDOWS,
            every_ms: 0,
            format: Format::M6H8,
        },
        privacy: Privacy::Plain,
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: match kind {
            Kind::Lorawan => AIR_BLOCK_BYTES,
            _ => BLOCK_BYTES,
        },
        // A window of blocks over the air takes its time, and asking for it twice takes more.
        retry_after_ms: match kind {
            Kind::Lorawan => 48 * HOUR_MS as u64,
            _ => 2 * HOUR_MS as u64,
        },
        tries: 3,
        trial_windows: 4,
    }
}

/// One fan at work.
struct Task {
    index: u32,
    kind: Kind,
    life: Life,
    device: VirtualDevice,
    score: Arc<Mutex<Score>>,
    clock: Arc<AtomicI64>,
}

impl Task {
    async fn run(mut self, mut link: Way, mut inbox: Inbox, mut orders: mpsc::Receiver<Order>) {
        let response = self.device.handle(self.now_ms(), Event::Boot);
        send(&mut link, response).await;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    None => return,
                    Some(Order::Hour { hour, wear, done }) => {
                        self.hour(&mut link, hour, wear).await;
                        let _ = done.send(());
                    }
                    Some(Order::Settle { done }) => {
                        self.settle(&mut link, &mut inbox).await;
                        let _ = done.send(State {
                            traffic: self.device.traffic(),
                            in_flight: link.in_flight(),
                            link: self.kind,
                            model: self.device.model(),
                        });
                    }
                },
                Some(down) = inbox.recv() => self.take(&mut link, &down).await,
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Acquire).try_into().unwrap_or(0)
    }

    async fn hour(&mut self, link: &mut Way, hour: u32, wear: f32) {
        let now_ms = self.now_ms();
        let life = self.life.hour(wear);
        if let Some(finding) = life.finding
            && let Some(class) = self.class_of(finding.condition)
        {
            let label = Label {
                class,
                windows_back: finding.windows_back,
            };
            let response = self.device.handle(now_ms, Event::Label(label));
            send(link, response).await;
        }
        let response = self.device.handle(now_ms, Event::Window(&life.window));
        for prediction in &response.predictions {
            let said = prediction
                .answer
                .class()
                .and_then(|class| self.device.class_name(class))
                .and_then(Condition::of_word);
            let record = Record {
                fan: self.index,
                hour,
                ages: Plan::ages(self.index),
                truth: life.truth,
                said,
                model: prediction.model,
            };
            self.score
                .lock()
                .expect("a score is pushed whole")
                .push(record);
        }
        send(link, response).await;
    }

    /// The class index that the device's own model gives to a condition.
    fn class_of(&self, condition: Condition) -> Option<u8> {
        (0..=u8::MAX)
            .map_while(|class| Some((class, self.device.class_name(class)?)))
            .find(|(_, name)| *name == condition.word())
            .map(|(class, _)| class)
    }

    async fn take(&mut self, link: &mut Way, down: &Down) {
        let response = self.device.handle(self.now_ms(), down.event());
        send(link, response).await;
    }

    async fn settle(&mut self, link: &mut Way, inbox: &mut Inbox) {
        let begun = Instant::now();
        while link.is_busy() && begun.elapsed() < Link::patience() {
            let pause = tokio::time::sleep(Duration::from_millis(2));
            tokio::select! {
                Some(down) = inbox.recv() => self.take(link, &down).await,
                () = pause => {}
            }
        }
    }
}

async fn send(link: &mut Way, response: Response) {
    for uplink in response.uplinks {
        link.send(uplink).await;
    }
}
