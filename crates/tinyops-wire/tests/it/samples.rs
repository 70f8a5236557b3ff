//! One of everything, the same in every test.

pub(crate) mod enrolment;
pub(crate) mod provision;

use tinyops_sketch::{ChannelSummary, Direction, Summary};
use tinyops_wire::annotation::{
    Annotation, Answer, Collect, OrderReason, OrderState, Part as ParcelPart, PartRequest,
};
use tinyops_wire::block::BlockRequest;
use tinyops_wire::capsule;
use tinyops_wire::cost::Cost;
use tinyops_wire::downlink::{
    Block, Command, KeySetPart, Label, MaskedRequest, Offer, Restandardize, StatisticsRequest,
    What, When,
};
use tinyops_wire::envelope;
use tinyops_wire::frame::{
    Alarm, Features, Flags, Hello, Keys, Outcome, Reason, Trust, Update, UpdateState,
};
use tinyops_wire::key_set::{RoleKeys, RootSignature, Roots};
use tinyops_wire::lorawan::{self, Fragment, Missing, Part};
use tinyops_wire::mask::{HelperKey, Purpose, Task as MaskTask};
use tinyops_wire::masked::{
    Content, MaskedPart, MaskedReport, NoisedReport, PartHead, part_len, quantize, report_values,
};
use tinyops_wire::noise::NoiseKey;
use tinyops_wire::payload::{self, SectionId};
use tinyops_wire::section::{
    BodyKind, DecisionSection, Golden, GoldenSection, Labels, ScalerSection, Task,
};
use tinyops_wire::sensor::{Channel, Mounting, RATE_TOLERANCE_PPM, SensorContract, SensorSection};
use tinyops_wire::serial::Message;
use tinyops_wire::shadow::{Answers, Pairs, ShadowReport};
use tinyops_wire::smp;
use tinyops_wire::statistics::{Shape, encode_part, plan_parts};
use tinyops_wire::summary::{Format, Header, SummaryFrame};
use tinyops_wire::{
    DeviceId, DeviceKey, Digest, Downlink, Envelope, Frame, KeyId, KeySet, Manifest, ModelId,
    SigningKey, Statement,
};

pub(crate) const MODEL: ModelId = ModelId(0x0403_0201);
pub(crate) const KEY: DeviceKey = DeviceKey([7; 32]);
pub(crate) const DEVICE: DeviceId = DeviceId(0x0123_4567_89ab_cdef);
pub(crate) const SEQUENCE: u32 = 1000;

/// Nine channels and four classes, as the sizes of the design are counted.
pub(crate) fn summary() -> Summary {
    let channels: Vec<ChannelSummary> = (0..9_u8)
        .map(|index| {
            let part = f32::from(index) / 8.0;
            let mut shares = [0.125; 8];
            shares[usize::from(index) % 8] = 0.2;
            shares[(usize::from(index) + 1) % 8] = 0.05;
            ChannelSummary {
                mean: 2.0 * part - 1.0,
                ln_sd: 0.5 - part,
                shares: Some(shares),
            }
        })
        .collect();
    Summary::new(288.0, &channels, &[0.5, 0.25, 0.125, 0.125])
}

pub(crate) fn dither() -> (u64, u32) {
    (KEY.dither_seed(), SEQUENCE)
}

pub(crate) fn summary_frame(format: Format) -> Vec<u8> {
    let header = Header {
        model: MODEL.0 as u16,
        epoch: 3,
        count_code: 0,
        flags: Flags::LABELLED,
    };
    write(|out| SummaryFrame::encode(format, header, &summary(), dither(), out).expect("room"))
}

/// What scoring cost, in numbers that the codes have to round.
pub(crate) const COST: Cost = Cost {
    mean_us: 1234.0,
    max_us: 5678.0,
    ram_share: Some(0.71),
};

/// A summary that also says what scoring cost.
pub(crate) fn costed_frame(format: Format, cost: &Cost) -> Vec<u8> {
    let frame = summary_frame(format);
    write(|out| {
        out[..frame.len()].copy_from_slice(&frame);
        cost.append(format, frame.len(), dither(), out)
            .expect("room")
    })
}

pub(crate) fn frame(frame: &Frame<'_>) -> Vec<u8> {
    write(|out| frame.encode(out).expect("room"))
}

/// Messages of a serial link, as they go over the line.
pub(crate) fn serial_lines() -> Vec<(&'static str, Vec<u8>)> {
    let (up, down) = (
        envelope(envelope::Direction::Up, b"frame"),
        envelope(envelope::Direction::Down, b"message"),
    );
    let long: Vec<u8> = (0..300).map(|index| (index % 255 + 1) as u8).collect();
    vec![
        ("up", serial_line(&Message::Up(&up))),
        ("down", serial_line(&Message::Down(&down))),
        ("room", serial_line(&Message::Room { body_bytes: 1062 })),
        ("long", serial_line(&Message::Down(&long))),
        ("enrol", serial_line(&Message::Enrol(b"request"))),
        (
            "enrolled",
            serial_line(&Message::Enrolled {
                nonce: [9; 16],
                answer: b"answer",
            }),
        ),
        (
            "not-enrolled",
            serial_line(&Message::Enrolled {
                nonce: [9; 16],
                answer: &[],
            }),
        ),
    ]
}

/// Payloads of LoRaWAN, each after its port.
pub(crate) fn lorawan_payloads() -> Vec<(&'static str, Vec<u8>)> {
    let up = Envelope {
        direction: envelope::Direction::Up,
        device: DEVICE,
        model: MODEL,
        sequence: SEQUENCE,
        body: b"frame",
    };
    let down = Envelope {
        direction: envelope::Direction::Down,
        model: ModelId(0),
        body: b"message",
        ..up
    };
    let fragment = Part::Fragment(Fragment {
        number: 5,
        index: 1,
        last: 2,
        bytes: b"part",
    });
    let missing = Part::Missing(Missing {
        number: 5,
        bitmap: 0b101,
    });
    let part = |part: Part<'_>| write(|out| part.encode(out).expect("room"));
    let digest = Digest([9; 32]).prefix();
    vec![
        ("up-71", short(&up, false)),
        ("up-with-model-71", short(&up, true)),
        ("down-71", short(&down, false)),
        ("fragment-72", part(fragment)),
        ("missing-72", part(missing)),
        (
            "block-73",
            write(|out| lorawan::encode_block(&digest, 96, b"bytes", out).expect("room")),
        ),
    ]
}

pub(crate) fn short(envelope: &Envelope<'_>, with_model: bool) -> Vec<u8> {
    write(|out| lorawan::seal(envelope, with_model, &KEY, out).expect("room"))
}

/// Frames and console lines of SMP.
pub(crate) fn smp_frames() -> Vec<(&'static str, Vec<u8>)> {
    let (up, down) = (
        envelope(envelope::Direction::Up, b"frame"),
        envelope(envelope::Direction::Down, b"message"),
    );
    let frame = |operation, exchange: smp::Exchange<'_>| {
        let body = write(|out| exchange.encode(out).expect("room"));
        let frame = smp::Frame {
            operation,
            group: smp::GROUP,
            sequence: 7,
            command: smp::EXCHANGE,
            body: &body,
        };
        write(|out| frame.encode(out).expect("room"))
    };
    let write_down = smp::Exchange {
        down: Some(&down),
        ..smp::Exchange::default()
    };
    let answer_up = smp::Exchange {
        up: Some(&up),
        more: 2,
        ..smp::Exchange::default()
    };
    let request = frame(smp::Operation::Write, write_down);
    let answer = frame(smp::Operation::WriteAnswer, answer_up);
    let lines = |frame: &[u8]| write(|out| smp::encode_console(frame, out).expect("room"));
    vec![
        ("request-console", lines(&request)),
        ("answer-console", lines(&answer)),
        ("request", request),
        ("answer", answer),
        (
            "ask",
            frame(smp::Operation::Write, smp::Exchange::default()),
        ),
    ]
}

pub(crate) fn serial_line(message: &Message<'_>) -> Vec<u8> {
    write(|out| message.encode(out).expect("room"))
}

pub(crate) fn downlink(message: &Downlink<'_>) -> Vec<u8> {
    write(|out| message.encode(out).expect("room"))
}

pub(crate) fn envelope(direction: envelope::Direction, body: &[u8]) -> Vec<u8> {
    let envelope = Envelope {
        direction,
        device: DEVICE,
        model: MODEL,
        sequence: SEQUENCE,
        body,
    };
    write(|out| envelope.seal(&KEY, out).expect("room"))
}

pub(crate) fn statistics_part() -> Vec<u8> {
    let values = [3, 5, -1, 255, 1000, 0, 65_025, 130_050, 7];
    let shape = Shape {
        round: 4,
        class_count: 2,
        width: 2,
        window_count: 8,
    };
    let cut = plan_parts(values.into_iter(), 200, 0)
        .expect("fits")
        .expect("a part");
    write(|out| encode_part(shape, 0, cut, values.into_iter(), out).expect("room"))
}

/// A candidate's report of 48 windows.
pub(crate) fn shadow_report(counts: &[u16]) -> ShadowReport<'_> {
    let answers = Answers {
        is_over: true,
        windows: 48,
        agreed: 45,
        failed: 1,
        output: -0.375,
        pairs: Pairs {
            both: 17,
            only_active: 2,
            only_candidate: 1,
            neither: 300,
        },
    };
    ShadowReport::new(ModelId(0x0bad_cafe), answers, counts)
}

/// The task of nine channels, four classes and a hundred devices.
pub(crate) const TASK: MaskTask = MaskTask {
    purpose: Purpose::Monitoring,
    number: 0x0605,
    model: MODEL,
    ring_bits: 13,
    norm_max: 15,
    clip: 0.53,
    noise_tenths: 200,
};

const UPDATE_TASK: MaskTask = MaskTask {
    purpose: Purpose::Update,
    number: 4,
    ring_bits: 18,
    norm_max: 900,
    clip: 24.0,
    noise_tenths: 50,
    ..TASK
};

pub(crate) fn masked_report() -> Vec<u8> {
    let masks = HelperKey([8; 32]).mask_key(DEVICE).masks(&TASK, SEQUENCE);
    let summary = summary();
    let values: Vec<f64> = report_values(&summary).map(f64::from).collect();
    let values = quantize(&TASK, values.iter().copied()).expect("fine enough");
    let mut out = [0; 64];
    let flags = Flags::LOW_BATTERY.with_privacy_class(2);
    let len = MaskedReport::encode(&TASK, flags, values, masks, &mut out).expect("room");
    out[..len].to_vec()
}

pub(crate) fn noised_report() -> Vec<u8> {
    let task = MaskTask {
        norm_max: 33,
        ..TASK
    };
    let secret = core::array::from_fn(|index| index as u8);
    let key = NoiseKey::new(secret, &DeviceKey([7; 32])).expect("a secret of its own");
    let summary = summary();
    let values: Vec<f64> = report_values(&summary).map(f64::from).collect();
    let values = quantize(&task, values.iter().copied()).expect("fine enough");
    let noise = key.noise(&task, SEQUENCE, values.clone()).expect("noise");
    let mut out = [0; 64];
    let flags = Flags::LOW_BATTERY.with_privacy_class(2);
    let len = NoisedReport::encode(&task, flags, values, noise, &mut out).expect("room");
    out[..len].to_vec()
}

pub(crate) fn masked_part() -> Vec<u8> {
    let masks = HelperKey([8; 32])
        .mask_key(DEVICE)
        .masks(&UPDATE_TASK, SEQUENCE);
    let per_part = part_len(40, UPDATE_TASK.ring_bits);
    let head = PartHead {
        task: UPDATE_TASK.number,
        ring_bits: UPDATE_TASK.ring_bits,
        part_count: 2,
        sequence: SEQUENCE,
        content: Content::Gram,
        class_count: 2,
        width: 2,
    };
    let values = [3, 1, 3, 6, 3, -1, 12, 3, 13];
    let mut out = [0; 64];
    let part = MaskedPart::encode(
        head,
        0,
        per_part,
        &UPDATE_TASK,
        values.into_iter(),
        masks,
        &mut out,
    );
    let len = part.expect("room");
    out[..len].to_vec()
}

pub(crate) fn frames() -> Vec<(&'static str, Vec<u8>)> {
    let flags = Flags::MOVED;
    let update = Update {
        state: UpdateState::Refused,
        reason: Reason::Arena,
        model: MODEL,
        sequence: 12,
        detail: 72_912,
    };
    let held = Update {
        state: UpdateState::Held,
        reason: Reason::None,
        detail: 0,
        ..update
    };
    let request = BlockRequest {
        digest: [1, 2, 3, 4, 5, 6, 7, 8],
        offset: 4096,
        block_bytes: 1024,
        wanted: 0b1011,
    };
    let hello = Hello {
        boot_count: 2,
        sequence: 11,
        arena_bytes: 40_960,
        slot_bytes: 65_536,
        board: "esp-eye",
        trust: None,
    };
    let trust = Trust {
        key_set: 5,
        features: Features::STATEMENTS,
    };
    let trusting = Hello {
        trust: Some(trust),
        ..hello
    };
    let noising = Hello {
        trust: Some(Trust {
            features: Features::STATEMENTS.with(Features::NOISES),
            ..trust
        }),
        ..hello
    };
    let keys = Keys {
        key_set: 6,
        reason: Reason::KeySetOld,
        detail: 6,
    };
    let shadow = shadow_report(&[30, 12, 0, 6]);
    let answer = Annotation::Answer(Answer {
        order: 70_000,
        state: OrderState::Ready,
        reason: OrderReason::None,
        count: 8,
        left: 16,
        bytes: 4384,
    });
    let parcel_part = Annotation::Part(ParcelPart {
        order: 70_000,
        offset: 4096,
        is_last: true,
        bytes: b"sealed",
    });
    vec![
        (
            "alarm",
            frame(&Frame::Alarm(Alarm {
                flags,
                moved: Some((8, Direction::Down)),
            })),
        ),
        (
            "heartbeat",
            frame(&Frame::Alarm(Alarm {
                flags: Flags::default(),
                moved: None,
            })),
        ),
        ("m6h8", summary_frame(Format::M6H8)),
        ("m8", summary_frame(Format::M8)),
        ("m4", summary_frame(Format::M4)),
        ("m6h8-2", costed_frame(Format::M6H8, &COST)),
        ("m8-2", costed_frame(Format::M8, &COST)),
        ("statistics", statistics_part()),
        (
            "outcome",
            frame(&Frame::Outcome(Outcome::new(1, &[2, 40, 0, 300]))),
        ),
        ("update", frame(&Frame::Update(update))),
        ("update-held", frame(&Frame::Update(held))),
        ("block-request", frame(&Frame::BlockRequest(request))),
        ("hello", frame(&Frame::Hello(hello))),
        ("hello-2", frame(&Frame::Hello(trusting))),
        ("hello-3", frame(&Frame::Hello(noising))),
        ("keys", frame(&Frame::Keys(keys))),
        ("shadow", frame(&Frame::Shadow(shadow))),
        (
            "shadow-measured",
            frame(&Frame::Shadow(shadow.with_cost(&COST, dither()))),
        ),
        ("masked-report", masked_report()),
        ("masked-part", masked_part()),
        ("noised-report", noised_report()),
        ("annotation-answer", frame(&Frame::Annotation(answer))),
        ("annotation-part", frame(&Frame::Annotation(parcel_part))),
    ]
}

pub(crate) fn downlinks() -> Vec<(&'static str, Vec<u8>)> {
    let digest = Digest::of(b"capsule");
    let statement = statement();
    let offer = Offer {
        what: What::Capsule,
        digest,
        bytes: 20_000,
        when: When::AtOnce,
        statement: None,
    };
    let stated = Offer {
        statement: Some(&statement),
        ..offer
    };
    let delta = Offer {
        what: What::Delta,
        ..stated
    };
    let held = Offer {
        when: When::Later,
        ..stated
    };
    let shadowed = Offer {
        when: When::Shadow { windows: 500 },
        ..stated
    };
    let part = KeySetPart {
        sequence: 6,
        total: 391,
        offset: 40,
        bytes: b"bytes",
    };
    let messages = [
        ("offer", Downlink::Offer(offer)),
        ("offer-2", Downlink::Offer(stated)),
        ("offer-2-delta", Downlink::Offer(delta)),
        ("offer-3", Downlink::Offer(held)),
        ("offer-3-shadow", Downlink::Offer(shadowed)),
        ("key-set-part", Downlink::KeySetPart(part)),
        (
            "block",
            Downlink::Block(Block {
                digest: digest.prefix(),
                offset: 64,
                bytes: b"bytes",
            }),
        ),
        (
            "statistics-request",
            Downlink::StatisticsRequest(StatisticsRequest {
                round: 4,
                frame_bytes: 200,
                forget: true,
            }),
        ),
        (
            "label",
            Downlink::Label(Label {
                class: 2,
                windows_back: 48,
            }),
        ),
        ("command", Downlink::Command(Command::Revert)),
        ("command-drop", Downlink::Command(Command::Drop)),
        (
            "command-drop-own-head",
            Downlink::Command(Command::DropOwnHead),
        ),
        ("report-every", Downlink::ReportEvery { windows: 288 }),
        ("task", Downlink::Task(TASK)),
        (
            "masked-request",
            Downlink::MaskedRequest(MaskedRequest {
                task: UPDATE_TASK,
                content: Content::Gram,
                frame_bytes: 200,
                forget: true,
            }),
        ),
        (
            "restandardize",
            Downlink::Restandardize(Restandardize {
                sixteenths: 8,
                windows: 288,
            }),
        ),
        ("own-head", Downlink::OwnHead(true)),
        (
            "collect",
            Downlink::Collect(Collect {
                order: 70_000,
                count: 8,
                windows: 500,
                annotator: KeyId([1, 2, 3, 4]),
            }),
        ),
        (
            "part-request",
            Downlink::PartRequest(PartRequest {
                order: 70_000,
                offset: 2048,
                bytes: 65_536,
            }),
        ),
    ];
    messages
        .into_iter()
        .map(|(name, message)| (name, downlink(&message)))
        .collect()
}

/// Sensor contracts: what version 1 says, and all that version 2 does.
pub(crate) fn sensors() -> Vec<(&'static str, Vec<u8>)> {
    let channel = |axis, unit, full_scale| Channel {
        axis,
        unit,
        full_scale,
    };
    let of = |rate_hz, rate_tolerance_ppm, mounting, channels: &[Channel<'_>]| {
        let contract = SensorContract {
            rate_hz,
            rate_tolerance_ppm,
            mounting,
            channels,
        };
        let bytes = write(|out| contract.encode(out).expect("room"));
        assert_eq!(contract.encoded_len(), bytes.len());
        bytes
    };
    let acc = ["acc.x", "acc.y", "acc.z"].map(|axis| channel(axis, "g", 4.0));
    vec![
        (
            "plain",
            of(104.0, RATE_TOLERANCE_PPM, None, &[channel("", "g", 4.0)]),
        ),
        (
            "mounted",
            of(
                104.0,
                RATE_TOLERANCE_PPM,
                Some("y -x z".parse().expect("a mounting")),
                &acc,
            ),
        ),
        ("exact", of(16_000.0, 0, None, &[channel("", "", 0.0)])),
        (
            "pictures",
            of(0.0, RATE_TOLERANCE_PPM, Some(Mounting::UPRIGHT), &[]),
        ),
    ]
}

/// The contract of a section, written anew.
pub(crate) fn sensor(section: &SensorSection<'_>) -> Vec<u8> {
    let channels: Vec<Channel<'_>> = section.channels().collect();
    let contract = SensorContract {
        rate_hz: section.rate_hz().unwrap_or_default(),
        rate_tolerance_ppm: section.rate_tolerance_ppm(),
        mounting: section.mounting(),
        channels: &channels,
    };
    write(|out| contract.encode(out).expect("room"))
}

pub(crate) fn payload() -> Vec<u8> {
    let decision = DecisionSection {
        task: Task::Classify,
        body: BodyKind::Network,
        threshold: 0.0,
        min_confidence: 0.6,
    };
    let scaler = write(|out| ScalerSection::encode(&[1.0, 2.0], &[0.5, 4.0], out).expect("room"));
    let labels = write(|out| Labels::encode(&["idle", "läuft"], out).expect("room"));
    let vectors = [Golden::Tensor {
        input: &[1, 2, 255],
        output: &[128, 127],
    }];
    let golden = write(|out| GoldenSection::encode(&vectors, out).expect("room"));
    let decision = decision.encode();
    let sections: [(SectionId, &[u8]); 5] = [
        (SectionId::Program, b"program"),
        (SectionId::Scaler, &scaler),
        (SectionId::Labels, &labels),
        (SectionId::Decision, &decision),
        (SectionId::Golden, &golden),
    ];
    write(|out| payload::encode(&sections, out).expect("room"))
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[42; 32])
}

/// What the director of these tests says.
pub(crate) const STATEMENT: Statement = Statement {
    device: DEVICE,
    manifest: Digest([0x5a; 32]),
    counter: 70_000,
    last_uplink: 5000,
};

pub(crate) fn director() -> SigningKey {
    SigningKey::from_seed(&[43; 32])
}

pub(crate) fn statement() -> Vec<u8> {
    write(|out| STATEMENT.encode(&director(), out).expect("room"))
}

pub(crate) fn root_keys() -> [SigningKey; 3] {
    [50, 51, 52].map(|seed| SigningKey::from_seed(&[seed; 32]))
}

/// Three root keys, of which so many have to sign.
pub(crate) fn roots(threshold: u8) -> Roots {
    Roots::new(&root_keys().map(|key| key.verifying_key()), threshold).expect("three roots")
}

/// A key set with as many keys as there can be.
pub(crate) fn key_set() -> KeySet {
    let next = SigningKey::from_seed(&[44; 32]).verifying_key();
    KeySet {
        sequence: 70_000,
        release: RoleKeys::two(next, signing_key().verifying_key()),
        director: RoleKeys::two(director().verifying_key(), next),
    }
}

/// A key set, signed by these.
pub(crate) fn signed_key_set(set: &KeySet, keys: &[SigningKey]) -> Vec<u8> {
    let sign = |key: &SigningKey| RootSignature::new(set, key).expect("a sound key set");
    let signatures: Vec<RootSignature> = keys.iter().map(sign).collect();
    write(|out| set.encode(&signatures, out).expect("room"))
}

pub(crate) fn capsule() -> Vec<u8> {
    capsule_signed_by(&signing_key())
}

pub(crate) fn capsule_signed_by(key: &SigningKey) -> Vec<u8> {
    let manifest = Manifest {
        sequence: 7,
        board: "arduino-nano-33-ble-sense",
        payload_digest: Digest([0; 32]),
        payload_bytes: 0,
        program_digest: Digest::of(b"program"),
        name: "fan-condition",
        version: 3,
    };
    write(|out| capsule::encode(&manifest, &payload(), key, out).expect("room"))
}

pub(crate) fn write(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut out = vec![0xee; 4096];
    let written = encode(&mut out);
    out.truncate(written);
    out
}
