//! A head of the device's own while flash goes wrong: the old one, the new one or none, and never a mix.

use tinyops_device::flash::Flash;
use tinyops_device::{Action, Agent, Answer, Event, OwnHeadState};
use tinyops_wire::Downlink;
use tinyops_wire::downlink::Label;

use super::flash::{FaultFlash, Faulty};
use super::schedule::{Fault, Kind};
use crate::fixture::{Buffers, LABELLED, WINDOW, config, downlink};
use crate::own_head::{recipe, window};

/// Ways in which an operation can be done in part.
const SEEDS: u64 = 4;

struct Device<F> {
    agent: Option<Agent<F, Buffers>>,
    downlinks: u32,
}

impl<F: Faulty> Device<F> {
    fn new(flash: F) -> Device<F> {
        let mut device = Device {
            agent: Some(Agent::new(config(), flash, Buffers::default())),
            downlinks: 0,
        };
        device.step(Event::Boot);
        device
    }

    /// Hands in an event and what follows; answers what was said of a window. Without power nothing follows.
    fn step(&mut self, event: Event<'_>) -> Option<(Answer, bool)> {
        let agent = self.agent.as_mut().expect("always there");
        let mut said = None;
        let mut next = event;
        for _ in 0..1_000 {
            let action = agent.step(0, next);
            next = Event::Tick;
            match action {
                Action::Idle => return said,
                Action::Predict(prediction) => {
                    said = Some((prediction.answer, prediction.is_own_head));
                }
                Action::Reboot => next = Event::Boot,
                _ => {}
            }
            if !agent.flash_mut().has_power() {
                return None;
            }
        }
        panic!("the device does not come to rest");
    }

    fn flash(&mut self) -> &mut F {
        self.agent.as_mut().expect("always there").flash_mut()
    }

    /// Whether no labelled window is left in flash.
    fn keeps_nothing(&mut self) -> bool {
        let flash = self.flash();
        let end = flash.capacity();
        let kept = flash.mapped(end - 2 * flash.own_head_bytes()..end);
        kept.expect("a region").iter().all(|byte| *byte == 0xff)
    }

    fn ask(&mut self, is_wanted: bool) {
        self.downlinks += 1;
        let bytes = downlink(&Downlink::OwnHead(is_wanted), self.downlinks);
        self.step(Event::Downlink(&bytes));
    }

    /// Labelled windows of both classes; the third feature tells one batch from another.
    fn label(&mut self, batch: u8) {
        for index in 0..8_u8 {
            if !self.flash().has_power() {
                return;
            }
            let mut readings: [f32; WINDOW] = window(index % 2);
            readings[3] = f32::from(batch) / 4.0;
            self.step(Event::Window(&readings));
            let class = index % 2;
            self.step(Event::Label(Label {
                class,
                windows_back: 1,
            }));
        }
    }

    /// Takes what memory held away, and boots.
    fn restart(&mut self) {
        let mut flash = self.agent.take().expect("always there").into_flash();
        flash.arm(&[]);
        flash.power_up();
        self.agent = Some(Agent::new(config(), flash, Buffers::default()));
        self.step(Event::Boot);
    }

    /// What it says of three windows, how sure it is of each, and which head it says it by.
    fn probe(&mut self) -> Said {
        let state = self.agent.as_mut().expect("always there").own_head();
        let answers = [0, 1, 2].map(|class| self.step(Event::Window(&window(class))));
        Said { state, answers }
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Said {
    state: OwnHeadState,
    answers: [Option<(Answer, bool)>; 3],
}

impl<F: Faulty> Clone for Device<F> {
    fn clone(&self) -> Device<F> {
        Device {
            agent: self.agent.clone(),
            downlinks: self.downlinks,
        }
    }
}

/// What is done while flash goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    /// A second batch of labels.
    Label,
    /// The head is taken back by whoever has the device.
    Drop,
    /// It is taken back by the server.
    TakeBack,
}

impl Deed {
    fn on<F: Faulty>(self, device: &mut Device<F>) {
        match self {
            Deed::Label => device.label(1),
            Deed::Drop => {
                device.step(Event::DropOwnHead);
            }
            Deed::TakeBack => device.ask(false),
        }
    }
}

/// Strikes every operation of a deed in every way; answers how many strikes.
fn strike<F: Faulty>(flash: F, deed: Deed) -> u32 {
    let mut before = Device::new(flash);
    before.ask(true);
    before.label(0);
    let old = before.clone().probe();
    assert!(matches!(old.state, OwnHeadState::Own(_)), "{old:?}");
    let first = before.flash().operations();
    let mut after = before.clone();
    deed.on(&mut after);
    let last = after.flash().operations();
    after.restart();
    let new = after.probe();
    assert_ne!(new, old, "{deed:?}");
    let installed = new.answers.iter().all(|said| !said.expect("an answer").1);
    assert_eq!(installed, deed != Deed::Label, "{new:?}");
    let mut strikes = 0;
    for operation in first..last {
        for kind in [Kind::Cut, Kind::Reset, Kind::Fail, Kind::Silent] {
            for seed in 0..SEEDS {
                let fault = Fault {
                    after: (operation - first) as u32,
                    kind,
                    seed,
                };
                let told = format!("{}/{deed:?}/{fault}", F::NAME);
                let mut device = before.clone();
                device.flash().arm(&[fault]);
                deed.on(&mut device);
                let live = device.flash().has_power().then(|| device.probe());
                device.restart();
                strikes += 1;
                let said = device.probe();
                assert!(said == old || said == new, "{told}: {said:?}");
                let is_over = deed != Deed::Label && said == new;
                assert!(
                    !is_over || device.keeps_nothing(),
                    "{told}: windows are left"
                );
                // Flash that says that it failed may have done it: that is found at the reset.
                if let Some(live) = live.filter(|_| kind != Kind::Fail) {
                    assert_eq!(
                        live.answers, said.answers,
                        "{told}: a reset changes what it says"
                    );
                }
                assert_eq!(device.flash().misused(), None, "{told}");
                // It goes on: what is asked for again is done.
                deed.on(&mut device);
                device.restart();
                let again = device.probe();
                match deed {
                    Deed::Label => {
                        assert!(
                            matches!(again.state, OwnHeadState::Own(_)),
                            "{told}: {again:?}"
                        );
                    }
                    _ => assert_eq!(again, new, "{told}"),
                }
                assert_eq!(device.flash().misused(), None, "{told}");
            }
        }
    }
    strikes
}

fn strike_all<F: Faulty>(flash: impl Fn() -> F) -> u32 {
    let deeds = [Deed::Label, Deed::Drop, Deed::TakeBack];
    deeds.into_iter().map(|deed| strike(flash(), deed)).sum()
}

fn flash<const WRITE: usize, const PAGE: usize>() -> FaultFlash<WRITE, PAGE>
where
    FaultFlash<WRITE, PAGE>: Flash,
{
    let own = 64 + LABELLED * (2 + WINDOW);
    FaultFlash::new(4096, recipe(3).capsule()).with_own_head(own)
}

#[test]
fn the_old_head_or_the_new_one_and_never_a_mix() {
    let strikes = strike_all(flash::<4, 512>)
        + strike_all(flash::<1, 256>)
        + strike_all(flash::<8, 2048>)
        + strike_all(flash::<16, 1024>)
        + strike_all(flash::<64, 8192>);
    println!("{strikes} strikes");
    assert!(strikes > 2_000, "{strikes}");
}
