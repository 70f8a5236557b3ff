//! The fleet of the demo: one task for each fan, with its agent, its connection and its life.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use tinyops_device::{BlockSource, Config, Event, Reporting, Sensor};
use tinyops_fleet::{Fleet, enrol::Entropy, enrol::NewDevice, keys::Trust};
use tinyops_store::Timestamp;
use tinyops_wire::{DeviceId, DeviceKey, downlink::Label, summary::Format};
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
    fan::{AXES, Condition, RATE_HZ},
    virtual_device::{BLOCK_BYTES, Link, Response, Room, Traffic, VirtualDevice},
};

/// Windows, and so hours, between two reports.
const REPORT_WINDOWS: u32 = 24;
/// The fleet's ids start here: `fan` in ASCII, so that they are told from others at a glance.
const FIRST_ID: u64 = 0x6661_6e00_0000_0000;

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
    /// Wait until the server has stored everything sent.
    Settle { done: oneshot::Sender<State> },
}

/// How a device stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) traffic: Traffic,
    /// Messages that the server has not acknowledged.
    pub(super) in_flight: u64,
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
    pub(super) server: SocketAddr,
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
                tags: vec![format!("fan-{:02}", index + 1)],
                ..NewDevice::default()
            };
            let device = fleet
                .register(&new, Entropy::from_system(), "demo", start)
                .await?;
            let (order, receiver) = mpsc::channel(4);
            let task = Task {
                index,
                life: Life::begin(plan.seed, u64::from(index)),
                device: VirtualDevice::new(
                    config(device.id, device.key.clone(), &plan.trust),
                    Room::SMALL,
                    Arc::new([]),
                ),
                score: Arc::clone(&score),
                clock: Arc::clone(&plan.clock),
            };
            let (link, inbox) = Link::open(plan.server, device.id, &device.key);
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

    /// Waits until the server has stored what was sent, so that virtual time does not run away from it.
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

fn config(device: DeviceId, key: DeviceKey, trust: &Trust) -> Config {
    Config {
        device,
        key,
        roots: trust.roots,
        keys: trust.keys,
        board: BOARD,
        sensor: Sensor {
            channel_count: AXES as u16,
            rate_hz: RATE_HZ,
            channels: &[],
        },
        reporting: Reporting {
            every_windows: REPORT_WINDOWS,
            every_ms: 0,
            format: Format::M6H8,
        },
        hop: 0,
        blocks: BlockSource::Server,
        block_bytes: BLOCK_BYTES,
        retry_after_ms: 2 * HOUR_MS as u64,
        tries: 3,
        trial_windows: 4,
    }
}

/// One fan at work.
struct Task {
    index: u32,
    life: Life,
    device: VirtualDevice,
    score: Arc<Mutex<Score>>,
    clock: Arc<AtomicI64>,
}

impl Task {
    async fn run(
        mut self,
        mut link: Link,
        mut inbox: mpsc::Receiver<Vec<u8>>,
        mut orders: mpsc::Receiver<Order>,
    ) {
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
                        });
                    }
                },
                Some(bytes) = inbox.recv() => self.take(&mut link, &bytes).await,
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Acquire).try_into().unwrap_or(0)
    }

    async fn hour(&mut self, link: &mut Link, hour: u32, wear: f32) {
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

    async fn take(&mut self, link: &mut Link, bytes: &[u8]) {
        let response = self.device.handle(self.now_ms(), Event::Downlink(bytes));
        send(link, response).await;
    }

    async fn settle(&mut self, link: &mut Link, inbox: &mut mpsc::Receiver<Vec<u8>>) {
        let begun = Instant::now();
        while link.in_flight() > 0 && begun.elapsed() < Link::patience() {
            let pause = tokio::time::sleep(std::time::Duration::from_millis(2));
            tokio::select! {
                Some(bytes) = inbox.recv() => self.take(link, &bytes).await,
                () = pause => {}
            }
        }
    }
}

async fn send(link: &mut Link, response: Response) {
    for uplink in response.uplinks {
        link.send(uplink).await;
    }
}
