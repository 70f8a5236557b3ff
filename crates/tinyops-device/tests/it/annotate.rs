//! Windows for an annotator: with consent, within the quota, sealed, and not otherwise.

use tinyops_device::annotate::{Consent, memory_len};
use tinyops_device::{Event, Privacy};
use tinyops_wire::annotation::{
    Annotation, Answer, Collect, OpenWindow, OrderReason, OrderState, PartRequest,
};
use tinyops_wire::downlink::Downlink;
use tinyops_wire::frame::Frame;
use tinyops_wire::sealing::{AnnotatorKey, AnnotatorSecret, Bound, TAG_BYTES, open};
use tinyops_wire::{Digest, KeyId, ModelId};

use crate::fixture::{
    Bench, Buffers, CLASSES, DEVICE, Recipe, WINDOW, blank_flash, config, model_of,
};

const MONTH_MS: u64 = 30 * 24 * 60 * 60_000;

fn secret() -> AnnotatorSecret {
    AnnotatorSecret::from_seed(&[5; 32])
}

fn consent(windows_per_month: u16) -> Consent {
    Consent {
        annotator: secret().key(),
        windows_per_month,
    }
}

fn bench() -> Bench {
    bench_with(Buffers::default())
}

fn bench_with(memory: Buffers) -> Bench {
    let mut config = config();
    config.block_bytes = 512;
    let mut bench = Bench::with_memory(config, blank_flash(Recipe::default().capsule()), memory);
    bench.agent.give_consent(consent(16));
    bench
}

fn order(order: u32, count: u8, windows: u16) -> Collect {
    Collect {
        order,
        count,
        windows,
        annotator: secret().key().id(),
    }
}

fn collect(bench: &mut Bench, asked: Collect) -> Answer {
    bench.send(&Downlink::Collect(asked));
    answers(bench).pop().expect("an answer")
}

fn annotations(bench: &Bench) -> impl Iterator<Item = Annotation<'_>> {
    bench
        .reports
        .iter()
        .filter_map(|report| match Frame::decode(&report.body) {
            Ok(Frame::Annotation(annotation)) => Some(annotation),
            _ => None,
        })
}

fn answers(bench: &Bench) -> Vec<Answer> {
    let told = annotations(bench).filter_map(|annotation| match annotation {
        Annotation::Answer(answer) => Some(answer),
        Annotation::Part(_) => None,
    });
    told.collect()
}

/// The parcel, put together from parts, of which `lost` says which get lost.
fn fetch(bench: &mut Bench, answer: &Answer, lost: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut parcel = vec![None; answer.bytes as usize];
    let mut came = 0;
    for _ in 0..100 {
        let Some(at) = parcel.iter().position(Option::is_none) else {
            return parcel.into_iter().flatten().collect();
        };
        let gap = parcel[at..]
            .iter()
            .take_while(|byte| byte.is_none())
            .count();
        bench.reports.clear();
        bench.send(&Downlink::PartRequest(PartRequest {
            order: answer.order,
            offset: at as u32,
            bytes: gap as u32,
        }));
        let mut is_last = false;
        for annotation in annotations(bench) {
            let Annotation::Part(part) = annotation else {
                panic!("a part: {annotation:?}");
            };
            assert!(!is_last, "nothing comes after the last");
            is_last = part.is_last;
            came += 1;
            if !lost(came) {
                for (at, byte) in part.bytes.iter().enumerate() {
                    parcel[part.offset as usize + at] = Some(*byte);
                }
            }
        }
        assert!(is_last);
    }
    panic!("the parcel does not become whole");
}

/// Number, class, readings and vector of a window.
type Opened = (u16, Option<u8>, Vec<f32>, Vec<u8>);

fn opened(answer: &Answer, mut parcel: Vec<u8>) -> Vec<Opened> {
    let bound = Bound {
        device: DEVICE,
        model: model_of(&Recipe::default().capsule()),
        order: answer.order,
        count: answer.count,
    };
    let len = open(&secret(), &bound, &mut parcel).expect("it opens");
    parcel[32..]
        .chunks_exact(len + TAG_BYTES)
        .map(|window| {
            let window = OpenWindow::decode(&window[..len]).expect("a window");
            assert_eq!((window.head.channel_count, window.head.rate_hz), (1, 10.0));
            let readings = window.readings().collect();
            (
                window.head.number,
                window.head.class,
                readings,
                window.vector.to_vec(),
            )
        })
        .collect()
}

/// Windows of three classes, of which the last two are rare.
fn stream() -> Vec<[f32; WINDOW]> {
    let window = |index: usize| {
        let mut window = [0.0; WINDOW];
        let class = match index {
            20 => 1,
            31 => 2,
            _ => 0,
        };
        window[class % CLASSES] = 1.0 + (index % 3) as f32 / 64.0;
        window
    };
    (0..40).map(window).collect()
}

#[test]
fn windows_that_lie_apart_come_sealed_as_they_were() {
    let mut bench = bench();
    let answer = collect(&mut bench, order(9, 3, 40));
    assert_eq!(
        (answer.state, answer.count, answer.left),
        (OrderState::Collecting, 3, 16)
    );
    for window in stream() {
        bench.window(window);
    }
    let ready = *answers(&bench).last().unwrap();
    assert_eq!(
        (ready.state, ready.order, ready.count),
        (OrderState::Ready, 9, 3)
    );
    assert_eq!((ready.left, bench.agent.windows_left()), (13, 13));
    assert_eq!(
        ready.bytes as usize,
        memory_len(3, WINDOW, WINDOW) - WINDOW,
        "without the room behind it"
    );
    let parcel = fetch(&mut bench, &ready, |_| false);
    for window in stream() {
        let readings: Vec<u8> = window
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let is_in = parcel
            .windows(readings.len())
            .any(|bytes| bytes == readings);
        assert!(!is_in, "nothing of it can be read");
    }
    // Every other part is lost at first.
    let again = fetch(&mut bench, &ready, |came| came % 2 == 1 && came < 8);
    assert_eq!(parcel, again, "asked again, it is the same");
    let windows = opened(&ready, parcel);
    for (number, _, readings, _) in &windows {
        assert_eq!(readings[..], stream()[usize::from(*number)]);
    }
    let mut classes: Vec<_> = windows.iter().map(|window| window.1.unwrap()).collect();
    classes.sort_unstable();
    assert_eq!(classes, [0, 1, 2], "the rare ones are there");
    // It lets go of it when the server has it all.
    bench.send(&Downlink::PartRequest(PartRequest {
        order: 9,
        offset: 0,
        bytes: 0,
    }));
    let chosen = &bench.agent.memory_mut().chosen;
    assert!(chosen.iter().all(|byte| *byte == 0));
    assert_eq!(bench.agent.counters().refused, 0);
}

#[test]
fn parts_fit_the_link_and_an_order_told_twice_is_one() {
    let mut bench = bench();
    collect(&mut bench, order(9, 8, 8));
    let again = collect(&mut bench, order(9, 8, 8));
    assert_eq!(again.state, OrderState::Collecting);
    for window in stream() {
        bench.window(window);
    }
    let ready = *answers(&bench).last().unwrap();
    assert_eq!(ready.state, OrderState::Ready);
    assert_eq!(
        collect(&mut bench, order(9, 8, 8)),
        ready,
        "told again, nothing begins again"
    );
    assert_eq!(bench.agent.windows_left(), 16 - u16::from(ready.count));
    bench.reports.clear();
    fetch(&mut bench, &ready, |_| false);
    let longest = bench.reports.iter().map(|report| report.body.len()).max();
    assert!(longest <= Some(103), "an outbox of 128 bytes: {longest:?}");
}

#[test]
fn nothing_leaves_without_consent() {
    let mut bench = Bench::new(config(), blank_flash(Recipe::default().capsule()));
    let answer = collect(&mut bench, order(1, 8, 8));
    assert_eq!(
        (answer.state, answer.reason, answer.left),
        (OrderState::Refused, OrderReason::Consent, 0)
    );
    for window in stream() {
        bench.window(window);
    }
    bench.send(&Downlink::PartRequest(PartRequest {
        order: 1,
        offset: 0,
        bytes: 999,
    }));
    let told = answers(&bench);
    assert_eq!(told.last().unwrap().reason, OrderReason::Lost);
    assert!(annotations(&bench).all(|told| matches!(told, Annotation::Answer(_))));
    assert_eq!(bench.agent.counters().refused, 1);
}

#[test]
fn windows_are_sealed_for_nobody_else() {
    let mut bench = bench();
    let stranger = AnnotatorSecret::from_seed(&[6; 32]).key();
    let asked = Collect {
        annotator: stranger.id(),
        ..order(1, 8, 8)
    };
    assert_eq!(collect(&mut bench, asked).reason, OrderReason::Annotator);
    let nobody = Collect {
        annotator: KeyId([0; 4]),
        ..asked
    };
    assert_eq!(collect(&mut bench, nobody).reason, OrderReason::Annotator);
    // Chosen for one, they are not sealed for the next who is allowed.
    bench.entropy = None;
    collect(&mut bench, order(2, 8, 8));
    for window in stream() {
        bench.window(window);
    }
    bench.agent.give_consent(Consent {
        annotator: stranger,
        windows_per_month: 16,
    });
    bench.entropy = Some(Digest::of(b"later").0);
    bench.window([0.0; WINDOW]);
    assert!(
        answers(&bench)
            .iter()
            .all(|told| told.state != OrderState::Ready)
    );
    // A key that anybody could share is none.
    let weak = AnnotatorKey([0; 32]);
    bench.agent.give_consent(Consent {
        annotator: weak,
        windows_per_month: 16,
    });
    collect(
        &mut bench,
        Collect {
            annotator: weak.id(),
            ..order(3, 8, 8)
        },
    );
    for window in stream() {
        bench.window(window);
    }
    assert_eq!(answers(&bench).last().unwrap().reason, OrderReason::Key);
}

#[test]
fn nothing_is_sealed_with_what_can_be_guessed() {
    let mut bench = bench();
    bench.entropy = None;
    collect(&mut bench, order(1, 2, 2));
    for window in stream() {
        bench.window(window);
    }
    assert_eq!(answers(&bench).len(), 1, "it waits");
    bench.entropy = Some(Digest::of(b"later").0);
    bench.window([0.0; WINDOW]);
    let ready = *answers(&bench).last().unwrap();
    assert_eq!(ready.state, OrderState::Ready);
    // It came unasked for: nothing is made of it.
    bench.run(Event::Entropy(&Digest::of(b"unasked").0));
    assert_eq!(*answers(&bench).last().unwrap(), ready);
}

/// Whether the newest thing that the device has said of an order is that its parcel is ready.
fn is_ready(bench: &Bench) -> bool {
    answers(bench).last().unwrap().state == OrderState::Ready
}

#[test]
fn what_a_broken_generator_gives_is_asked_for_again() {
    let mut bench = bench();
    bench.repeats_entropy = true;
    bench.entropy = None;
    collect(&mut bench, order(1, 2, 2));
    for window in stream() {
        bench.window(window);
    }
    let weak: [[u8; 32]; 4] = [
        [0; 32],
        [0xff; 32],
        std::array::from_fn(|at| 7 * at as u8),
        std::array::from_fn(|at| Digest::of(b"half").0[at % 16]),
    ];
    for (refused, entropy) in (1..).zip(weak) {
        bench.entropy = Some(entropy);
        bench.window([0.0; WINDOW]);
        assert!(!is_ready(&bench), "{entropy:?}");
        assert_eq!(bench.agent.counters().refused, refused);
    }
    let windows_left = bench.agent.windows_left();
    let good = Digest::of(b"good").0;
    bench.entropy = Some(good);
    bench.window([0.0; WINDOW]);
    assert!(is_ready(&bench));
    let count = u16::from(answers(&bench).last().unwrap().count);
    assert_eq!(
        bench.agent.windows_left(),
        windows_left - count,
        "paid once"
    );
    // The same again is for no other parcel.
    collect(&mut bench, order(2, 2, 2));
    for window in stream() {
        bench.window(window);
    }
    assert!(!is_ready(&bench));
    bench.entropy = Some(Digest::of(b"better").0);
    bench.window([0.0; WINDOW]);
    assert!(is_ready(&bench));
}

#[test]
fn a_generator_that_begins_alike_after_each_boot_gives_no_key_twice() {
    let mut bench = bench();
    bench.repeats_entropy = true;
    let mut sealed = |number: u32, shift: f32| {
        bench.boot();
        bench.agent.give_consent(consent(16));
        collect(&mut bench, order(number, 2, 2));
        for window in stream() {
            bench.window(window.map(|value| value + shift));
        }
        bench.window([0.0; WINDOW]);
        let ready = *answers(&bench).last().unwrap();
        assert_eq!(ready.state, OrderState::Ready);
        fetch(&mut bench, &ready, |_| false)[..32].to_vec()
    };
    assert_ne!(sealed(1, 0.0), sealed(2, 0.125));
}

fn deliver(bench: &mut Bench, number: u32) -> Answer {
    let answer = collect(bench, order(number, 8, 40));
    if answer.state == OrderState::Refused {
        return answer;
    }
    // Ten different windows and more.
    for index in 0..40_usize {
        let mut window = [0.0; WINDOW];
        window[index % WINDOW] = (index % 10) as f32 / 10.0;
        bench.window(window);
    }
    *answers(bench).last().unwrap()
}

#[test]
fn a_quota_is_spent_once_and_over_resets() {
    let mut bench = bench();
    assert_eq!(deliver(&mut bench, 1).left, 8);
    bench.boot();
    assert_eq!(bench.agent.windows_left(), 8);
    // What it had is gone, and it says so.
    bench.send(&Downlink::PartRequest(PartRequest {
        order: 1,
        offset: 0,
        bytes: 9,
    }));
    assert_eq!(answers(&bench).last().unwrap().reason, OrderReason::Lost);
    bench.agent.give_consent(consent(13));
    let fewer = deliver(&mut bench, 2);
    assert_eq!(
        (fewer.state, fewer.count, fewer.left),
        (OrderState::Ready, 5, 0)
    );
    let spent = deliver(&mut bench, 3);
    assert_eq!(
        (spent.state, spent.reason),
        (OrderState::Refused, OrderReason::Quota)
    );
    bench.boot();
    assert_eq!(deliver(&mut bench, 4).reason, OrderReason::Quota);
    bench.now_ms += MONTH_MS;
    assert_eq!(deliver(&mut bench, 5).left, 5, "a month later");
}

#[test]
fn no_window_leaves_that_is_not_written_down() {
    // The power goes at every operation that the flash does while they are sealed.
    for cut in 0..10_000 {
        let mut bench = bench();
        collect(&mut bench, order(1, 8, 40));
        let windows: Vec<[f32; WINDOW]> = (0..40_usize)
            .map(|index| {
                let mut window = [0.0; WINDOW];
                window[index % WINDOW] = (index % 10) as f32 / 10.0;
                window
            })
            .collect();
        for window in &windows[..39] {
            bench.window(*window);
        }
        let begun = bench.agent.flash_mut().operations();
        bench.agent.flash_mut().cut_power_at(begun + cut, 7 + cut);
        bench.window(windows[39]);
        let is_told = answers(&bench)
            .iter()
            .any(|told| told.state == OrderState::Ready);
        bench.agent.flash_mut().restore_power();
        bench.boot();
        bench.agent.give_consent(consent(16));
        let left = bench.agent.windows_left();
        assert!(left == 8 || left == 16, "{cut}: {left}");
        assert!(!is_told || left == 8, "{cut}: told, and not written down");
        if is_told {
            assert!(cut > 50, "a record is more words than {cut}");
            return;
        }
    }
    panic!("it is told at last");
}

#[test]
fn consent_that_is_taken_back_is_told_until_it_is_given() {
    let mut bench = bench();
    let ready = deliver(&mut bench, 1);
    assert_eq!(ready.state, OrderState::Ready);
    bench.agent.withdraw_consent();
    let chosen = &bench.agent.memory_mut().chosen;
    assert!(chosen.iter().all(|byte| *byte == 0), "nothing is kept");
    // An order that comes before it is told is answered after it, and not in its place.
    let told_before = answers(&bench).len();
    collect(&mut bench, order(3, 8, 8));
    let told: Vec<_> = answers(&bench).split_off(told_before);
    assert_eq!(told[1].reason, OrderReason::Consent);
    let told = told[0];
    assert_eq!((told.state, told.order), (OrderState::Withdrawn, 0));
    bench.send(&Downlink::PartRequest(PartRequest {
        order: 1,
        offset: 0,
        bytes: 99,
    }));
    assert_eq!(answers(&bench).last().unwrap().reason, OrderReason::Lost);
    bench.reports.clear();
    bench.boot();
    assert_eq!(answers(&bench), [told], "after every boot");
    assert_eq!(
        collect(&mut bench, order(2, 8, 8)).reason,
        OrderReason::Consent
    );
    bench.agent.give_consent(consent(16));
    bench.reports.clear();
    bench.boot();
    assert_eq!(answers(&bench), []);
    assert_eq!(bench.agent.windows_left(), 8, "what has left has left");
}

#[test]
fn a_slow_link_carries_vectors_alone() {
    let mut bench = bench();
    bench.agent.set_link_room(222);
    let mut config = config();
    config.block_bytes = 64;
    let mut slow = Bench::new(config, blank_flash(Recipe::default().capsule()));
    slow.agent.give_consent(consent(16));
    slow.agent.set_link_room(222);
    let ready = deliver(&mut slow, 1);
    assert_eq!(
        ready.bytes as usize,
        memory_len(ready.count.into(), WINDOW, 0) - WINDOW
    );
    let parcel = fetch(&mut slow, &ready, |_| false);
    for (_, _, readings, vector) in opened(&ready, parcel) {
        assert_eq!((readings.len(), vector.len()), (0, WINDOW));
    }
    assert!(slow.reports.iter().all(|report| report.body.len() <= 103));
}

#[test]
fn without_room_there_is_none_and_with_little_there_are_few() {
    let mut none = bench_with(Buffers {
        chosen: vec![0; memory_len(1, WINDOW, WINDOW) - 1],
        ..Buffers::default()
    });
    let answer = collect(&mut none, order(1, 8, 8));
    assert_eq!(
        (answer.state, answer.reason),
        (OrderState::Refused, OrderReason::Room)
    );
    let mut two = bench_with(Buffers {
        chosen: vec![0; memory_len(2, WINDOW, WINDOW)],
        ..Buffers::default()
    });
    assert_eq!(deliver(&mut two, 1).count, 2);
    let ready = *answers(&two).last().unwrap();
    let parcel = fetch(&mut two, &ready, |_| false);
    assert_eq!(opened(&ready, parcel).len(), 2);
}

#[test]
fn an_order_ends_with_the_model_that_it_was_for() {
    let mut bench = bench();
    collect(&mut bench, order(1, 8, 40));
    bench.install(&Recipe::numbered(2).capsule());
    for window in stream() {
        bench.window(window);
    }
    let states: Vec<OrderState> = answers(&bench).iter().map(|told| told.state).collect();
    assert_eq!(states, [OrderState::Collecting], "the reboot ends it");
    let mut blank = Bench::blank();
    blank.agent.give_consent(consent(16));
    assert_eq!(
        collect(&mut blank, order(1, 8, 8)).reason,
        OrderReason::Model
    );
    assert_eq!(blank.agent.model(), None::<ModelId>);
}

#[test]
fn a_model_without_an_embedding_chooses_by_its_features() {
    use tinyops_wire::section::{BodyKind, Task};
    let recipe = Recipe {
        task: Task::Anomaly,
        body: BodyKind::Distance,
        ..Recipe::default()
    };
    let mut config = config();
    config.block_bytes = 512;
    let mut bench = Bench::new(config, blank_flash(recipe.capsule()));
    bench.agent.give_consent(consent(16));
    let ready = deliver(&mut bench, 1);
    assert_eq!((ready.state, ready.count), (OrderState::Ready, 8));
    let mut parcel = fetch(&mut bench, &ready, |_| false);
    let bound = Bound {
        device: DEVICE,
        model: model_of(&recipe.capsule()),
        order: 1,
        count: 8,
    };
    let len = open(&secret(), &bound, &mut parcel).unwrap();
    let window = OpenWindow::decode(&parcel[32..][..len]).unwrap();
    assert_eq!((window.head.class, window.vector.len()), (None, WINDOW));
    assert_eq!(window.readings().count(), WINDOW);
}

#[test]
fn masks_forbid_nothing_that_was_consented_to() {
    let mut config = config();
    config.block_bytes = 512;
    config.privacy = Privacy::Masked(tinyops_device::Masked {
        key: tinyops_wire::mask::MaskKey([1; 32]),
        noise_tenths_min: 200,
        budgets: tinyops_device::Budgets::default(),
    });
    let mut bench = Bench::new(config, blank_flash(Recipe::default().capsule()));
    assert_eq!(deliver(&mut bench, 1).reason, OrderReason::Consent);
    bench.agent.give_consent(consent(16));
    assert_eq!(deliver(&mut bench, 2).state, OrderState::Ready);
}
