use super::*;

const DAY: i64 = 24 * 3_600_000;

fn closed() -> Offer {
    Offer::Closed("it is off".to_owned())
}

/// A repair, its policy, and what it asked for.
struct Climb {
    ladder: Ladder,
    policy: RepairPolicy,
    now: i64,
}

impl Climb {
    fn begin(target: Option<f64>) -> Climb {
        let target = target.map(|share| (share, "as before".to_owned()));
        Climb {
            ladder: Ladder::begin("a drift".to_owned(), None, false, target, 0),
            policy: RepairPolicy::default(),
            now: 0,
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        // Through its record each time, as over a restart.
        let kept = serde_json::to_string(&self.ladder).unwrap();
        let ladder: Ladder = serde_json::from_str(&kept).unwrap();
        assert_eq!(ladder, self.ladder, "{kept}");
        let (ladder, actions) = ladder.step(event, &self.policy, self.now);
        self.ladder = ladder;
        actions
    }

    fn look(&mut self, offers: [Offer; 4]) -> Vec<Action> {
        self.step(Event::Look {
            standing: Standing::Stands,
            offers,
            other_bytes: 0,
            trains_at_once: false,
        })
    }

    fn labels(&mut self, right: i64, judged: i64, meanwhile: (i64, i64)) -> Vec<Action> {
        let of = |(right, judged)| Judged { right, judged };
        self.step(Event::Labels {
            after: of((right, judged)),
            meanwhile: of(meanwhile),
            alerts: 0,
            expected: None,
        })
    }

    /// A round, up to the version that is everywhere.
    fn round(&mut self) {
        let actions = self.look([closed(), closed(), Offer::Open(2000), Offer::Open(9000)]);
        assert_eq!(actions, [Action::OpenRound]);
        self.step(Event::RoundOpened(5));
        self.step(Event::RoundOver {
            trigger: Some(7),
            device_bytes: 1500,
            what: "sums".to_owned(),
        });
        self.ship(2);
    }

    fn ship(&mut self, version: u32) {
        self.step(Event::RunOver {
            version: Some(version),
            what: "every gate is passed".to_owned(),
        });
        assert_eq!(self.step(Event::Shipped(Shipped::Open)), []);
        self.step(Event::Shipped(Shipped::Done(3)));
        assert!(matches!(self.ladder.phase, Phase::Judging { .. }));
    }

    fn last(&self) -> &str {
        &self.ladder.steps.last().unwrap().what
    }
}

#[test]
fn each_rung_is_tried_once_the_one_below_was_not_enough() {
    let mut climb = Climb::begin(Some(0.9));
    let all = || {
        [
            Offer::Open(0),
            Offer::Open(0),
            Offer::Open(2000),
            Offer::Open(9000),
        ]
    };
    assert_eq!(climb.look(all()), []);
    assert_eq!(climb.ladder.rung(), Some(Rung::Restandardize));
    climb.step(Event::OnDevices(Outcome::Waits));
    assert_eq!(climb.ladder.rung(), Some(Rung::Restandardize));
    climb.step(Event::OnDevices(Outcome::Stands));
    climb.look(all());
    assert_eq!(climb.ladder.rung(), Some(Rung::OwnHeads));
    climb.step(Event::OnDevices(Outcome::Stands));
    assert_eq!(climb.look(all()), [Action::OpenRound]);
    climb.step(Event::RoundOpened(5));
    climb.step(Event::RoundOver {
        trigger: None,
        device_bytes: 100,
        what: "too few answered".to_owned(),
    });
    assert_eq!(climb.look(all()), [Action::OrderWindows]);
    climb.step(Event::Ordered {
        orders: (1, 4),
        count: 4,
    });
    let mut orders = Orders {
        open: 1,
        whole: 3,
        windows: 20,
        device_bytes: 4000,
        ..Orders::default()
    };
    assert_eq!(climb.step(Event::Orders(orders.clone())), []);
    orders.open = 0;
    climb.step(Event::Orders(orders.clone()));
    assert!(
        climb.last().contains("tinyops annotate open"),
        "{}",
        climb.last()
    );
    let told = climb.ladder.steps.len();
    climb.step(Event::Orders(orders.clone()));
    assert_eq!(climb.ladder.steps.len(), told, "once");
    orders.trigger = Some(8);
    climb.step(Event::Orders(orders));
    climb.ship(3);
    assert_eq!(
        climb.labels(89, 100, (10, 20)),
        [Action::Tell(End::Repaired)]
    );
    assert_eq!(climb.ladder.end(), Some(End::Repaired));
    assert_eq!(climb.ladder.kept, [(Rung::Windows, 3)]);
    assert_eq!(climb.ladder.device_bytes, 4100);
}

#[test]
fn a_version_is_kept_taken_back_or_enough_by_labels_that_came_later() {
    // Enough: at most 0.02 below what it was.
    let mut climb = Climb::begin(Some(0.9));
    climb.round();
    assert_eq!(climb.labels(88, 99, (50, 100)), [], "too few to tell");
    assert_eq!(
        climb.labels(88, 100, (50, 100)),
        [Action::Tell(End::Repaired)]
    );
    // Better, and not enough.
    let mut climb = Climb::begin(Some(0.9));
    climb.round();
    assert_eq!(climb.labels(80, 100, (50, 100)), []);
    assert_eq!(
        climb.ladder.phase,
        Phase::Choosing {
            next: Rung::Windows
        }
    );
    assert_eq!((climb.ladder.kept.len(), climb.ladder.best), (1, Some(0.8)));
    // No better: taken back, and the next rung is tried.
    let mut climb = Climb::begin(Some(0.9));
    climb.round();
    let [Action::Revert { rollout: 3, why }] = &climb.labels(50, 100, (50, 100))[..] else {
        panic!("{:?}", climb.ladder);
    };
    assert!(why.contains("0.500"), "{why}");
    assert_eq!(
        climb.ladder.phase,
        Phase::Choosing {
            next: Rung::Windows
        }
    );
    assert!(climb.ladder.kept.is_empty());
    // Where nothing is left, it is taken back and told.
    climb.ladder.phase = Phase::Judging {
        rung: Rung::Windows,
        version: 4,
        rollout: 9,
    };
    let actions = climb.labels(50, 100, (50, 100));
    assert!(
        matches!(
            &actions[..],
            [
                Action::Revert { rollout: 9, .. },
                Action::Tell(End::Unrepaired)
            ]
        ),
        "{actions:?}"
    );
    // Without a target, what it gains is all that there is.
    let mut climb = Climb::begin(None);
    climb.round();
    assert_eq!(
        climb.labels(60, 100, (50, 100)),
        [Action::Tell(End::Repaired)]
    );
}

#[test]
fn labels_that_do_not_come_leave_a_version_unjudged_or_its_alarms_judge_it() {
    for (alerts, end) in [(0, Some(End::Unjudged)), (2, None)] {
        let mut climb = Climb::begin(Some(0.9));
        climb.round();
        climb.now = 7 * DAY;
        climb.step(Event::Labels {
            after: Judged {
                right: 3,
                judged: 4,
            },
            meanwhile: Judged::default(),
            alerts,
            expected: None,
        });
        assert_eq!(climb.ladder.end(), end);
        assert_eq!(climb.ladder.kept, [(Rung::Round, 2)]);
    }
}

#[test]
fn the_budget_passes_a_rung_over_before_it_is_tried() {
    let mut climb = Climb::begin(None);
    climb.policy.device_bytes_max = 2500;
    let offers = || [closed(), closed(), Offer::Open(2000), Offer::Open(9000)];
    assert_eq!(climb.look(offers()), [Action::OpenRound]);
    // What other repairs of these thirty days have cost counts too.
    let mut climb = Climb::begin(None);
    climb.policy.device_bytes_max = 2500;
    let actions = climb.step(Event::Look {
        standing: Standing::Stands,
        offers: offers(),
        other_bytes: 501,
        trains_at_once: false,
    });
    assert_eq!(actions, [Action::Tell(End::Unrepaired)]);
    let told: Vec<&str> = climb
        .ladder
        .steps
        .iter()
        .map(|step| &step.what[..])
        .collect();
    assert!(
        told[3].contains("2000 bytes, and the budget of 2500 in 30 days leaves 1999"),
        "{told:#?}"
    );
    assert_eq!(climb.last(), "no rung is left to try");
}

#[test]
fn nothing_goes_past_a_gate_a_rollout_or_a_person() {
    let mut climb = Climb::begin(None);
    climb.look([closed(), closed(), Offer::Open(1), closed()]);
    climb.step(Event::RoundOpened(5));
    climb.step(Event::RoundOver {
        trigger: Some(7),
        device_bytes: 1,
        what: "sums".to_owned(),
    });
    climb.step(Event::RunOver {
        version: None,
        what: "the gate `accuracy` refuses it".to_owned(),
    });
    assert!(climb.last().contains("refuses it"));
    let actions = climb.look([closed(), closed(), Offer::Open(1), closed()]);
    assert_eq!(
        actions,
        [Action::Tell(End::Unrepaired)],
        "the round is not tried again"
    );
    // Taken back by its own rollout.
    let mut climb = Climb::begin(None);
    climb.look([closed(), closed(), Offer::Open(1), closed()]);
    climb.step(Event::RoundOpened(5));
    climb.step(Event::RoundOver {
        trigger: Some(7),
        device_bytes: 1,
        what: "sums".to_owned(),
    });
    climb.step(Event::RunOver {
        version: Some(2),
        what: String::new(),
    });
    climb.step(Event::Shipped(Shipped::Halted(
        "installs failed".to_owned(),
    )));
    assert_eq!(
        climb.ladder.phase,
        Phase::Choosing {
            next: Rung::Windows
        }
    );
    // Stopped.
    let stop = Event::Stop {
        by: "ana".to_owned(),
        why: "the fan is sold".to_owned(),
    };
    assert_eq!(climb.step(stop.clone()), [Action::Tell(End::Stopped)]);
    assert_eq!(climb.step(stop), [], "it is over");
    assert_eq!(climb.last(), "ana ends it: the fan is sold");
}

#[test]
fn muted_alerts_wait_and_those_that_are_over_end_it() {
    for (standing, end) in [
        (Standing::Muted, None),
        (Standing::Over, Some(End::AlertsOver)),
    ] {
        let mut climb = Climb::begin(None);
        let look = Event::Look {
            standing,
            offers: [closed(), closed(), Offer::Open(1), closed()],
            other_bytes: 0,
            trains_at_once: false,
        };
        climb.step(look.clone());
        assert_eq!(climb.ladder.end(), end);
        assert_eq!(climb.ladder.rung(), None);
        // Once a version was sent out, what stood is over by that alone.
        let mut climb = Climb::begin(Some(0.9));
        climb.round();
        climb.labels(80, 100, (50, 100));
        climb.step(look);
        assert_eq!(climb.ladder.end(), Some(End::Unrepaired));
    }
}

#[test]
fn a_round_that_was_lately_is_waited_for() {
    let mut climb = Climb::begin(None);
    assert_eq!(climb.look([closed(), closed(), Offer::Later, closed()]), []);
    assert_eq!(climb.ladder.phase, Phase::Choosing { next: Rung::Round });
    let told = climb.ladder.steps.len();
    climb.look([closed(), closed(), Offer::Later, closed()]);
    assert_eq!(
        climb.ladder.steps.len(),
        told,
        "what was passed over is told once"
    );
}

#[test]
fn orders_that_all_refuse_and_labels_that_do_not_come_end_it() {
    let orders = |open, whole, refused: &str| {
        Event::Orders(Orders {
            open,
            whole,
            windows: 8 * whole,
            device_bytes: 700,
            refused: refused.to_owned(),
            trigger: None,
        })
    };
    let begun = || {
        let mut climb = Climb::begin(None);
        climb.look([closed(), closed(), closed(), Offer::Open(9)]);
        climb.step(Event::Ordered {
            orders: (1, 2),
            count: 2,
        });
        climb
    };
    let mut climb = begun();
    assert_eq!(
        climb.step(orders(0, 0, "2 consent")),
        [Action::Tell(End::Unrepaired)]
    );
    assert!(
        climb
            .ladder
            .steps
            .iter()
            .any(|step| step.what.contains("2 consent"))
    );
    let mut climb = begun();
    climb.now = 14 * DAY;
    assert_eq!(
        climb.step(orders(1, 1, "")),
        [Action::Tell(End::Unrepaired)]
    );
    assert_eq!(climb.ladder.device_bytes, 700);
}

#[test]
fn training_is_asked_for_at_once_where_heads_were_solved_often_enough() {
    let mut ladder = Ladder::begin("a drift".to_owned(), None, true, None, 0);
    let policy = RepairPolicy::default();
    let look = Event::Look {
        standing: Standing::Stands,
        offers: [
            Offer::Open(0),
            Offer::Open(0),
            Offer::Open(1),
            Offer::Open(0),
        ],
        other_bytes: 0,
        trains_at_once: true,
    };
    let actions;
    (ladder, actions) = ladder.step(look, &policy, 1);
    assert_eq!(actions, [Action::Train]);
    (ladder, _) = ladder.step(Event::Asked(4), &policy, 1);
    let rung = Rung::Windows;
    assert_eq!(ladder.phase, Phase::Running { rung, trigger: 4 });
}

#[test]
fn costs_are_no_less_than_what_devices_were_seen_to_send() {
    // A round of ten classes and 32 values, as the bench measures it: 1,439 bytes.
    let round = round_bytes(10, 32, 1024);
    assert!((1439..3000).contains(&round), "{round}");
    // Eight windows of a second of sound.
    let order = order_bytes(8, 32, 8000);
    assert!((256_000..320_000).contains(&order), "{order}");
}

/// What a device's parts come to, one after another, and their envelopes.
fn masked_parts(class_count: u8, width: u16, frame_bytes: u16, ring_bits: u8) -> u64 {
    use tinyops_wire::mask::{MaskKey, Purpose, Task};
    use tinyops_wire::masked::{Content, MaskedPart, PartHead, part_len};
    let task = Task {
        purpose: Purpose::Update,
        number: 1,
        model: tinyops_wire::ModelId(1),
        ring_bits,
        norm_max: 1,
        clip: 1.0,
        noise_tenths: 0,
    };
    let per_part = part_len(frame_bytes.into(), ring_bits);
    let mut head = PartHead {
        task: 1,
        ring_bits,
        part_count: 0,
        sequence: 1,
        content: Content::Gram,
        class_count,
        width,
    };
    head.part_count = head.len().div_ceil(per_part) as u8;
    let bytes = (0..head.part_count).map(|part| {
        let mut out = vec![0; frame_bytes.into()];
        let values = (0..head.len()).map(|value| value as i32 - 7);
        let masks = MaskKey([7; 32]).masks(&task, 1);
        let frame = MaskedPart::encode(head, part, per_part, &task, values, masks, &mut out);
        (frame.unwrap() + tinyops_wire::envelope::OVERHEAD) as u64
    });
    bytes.sum()
}

#[test]
fn a_round_under_masks_costs_what_its_parts_come_to_in_every_ring() {
    for ring_bits in tinyops_wire::mask::RING_BITS {
        for (classes, width, frame_bytes) in [(10, 32, 1024), (2, 3, 64), (6, 64, 222), (1, 1, 51)]
        {
            let told = masked_parts(classes, width, frame_bytes, ring_bits);
            let bytes = masked_round_bytes(classes.into(), width.into(), frame_bytes, ring_bits);
            assert_eq!(
                bytes, told,
                "{classes} classes, {width} values, {ring_bits} bits"
            );
        }
    }
    // Wide rings take more than the same sums in the clear.
    assert!(masked_round_bytes(10, 32, 1024, 26) > round_bytes(10, 32, 1024));
}

#[test]
fn where_labels_do_not_come_an_interval_judges_as_far_as_it_tells() {
    let cases = [
        // At most 0.02 below what is asked, whatever is right within.
        (0, Some((0.89, 0.97)), Some(End::Repaired)),
        // It cannot tell.
        (0, Some((0.85, 0.93)), Some(End::Unjudged)),
        // At best too little: the next rung.
        (0, Some((0.70, 0.85)), None),
        (2, Some((0.70, 0.85)), None),
        // An alarm stands, whatever is expected.
        (2, Some((0.89, 0.97)), None),
        (0, None, Some(End::Unjudged)),
    ];
    for (alerts, expected, end) in cases {
        let mut climb = Climb::begin(Some(0.9));
        climb.round();
        let labels = || Event::Labels {
            after: Judged {
                right: 3,
                judged: 4,
            },
            meanwhile: Judged::default(),
            alerts,
            expected,
        };
        assert_eq!(climb.step(labels()), [], "labels may still come");
        climb.now = 7 * DAY;
        climb.step(labels());
        assert_eq!(climb.ladder.end(), end, "{alerts} {expected:?}");
        assert_eq!(climb.ladder.kept, [(Rung::Round, 2)]);
    }
    // Nothing says what it is to reach: no interval is enough, or too little.
    let mut climb = Climb::begin(None);
    climb.round();
    climb.now = 7 * DAY;
    climb.step(Event::Labels {
        after: Judged::default(),
        meanwhile: Judged::default(),
        alerts: 0,
        expected: Some((0.99, 1.0)),
    });
    assert_eq!(climb.ladder.end(), Some(End::Unjudged));
}
