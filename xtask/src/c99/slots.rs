//! Slots and journal on flash that fails: schedules of operations, each with what `tinyops-device` answers and what its
//! flash holds afterwards.

use crate::c99::records::{Kind, Record};
use crate::c99::worn::{CUT, ERASES, Fault, REFUSED, SILENT, TORN, WRITES, Worn};
use crate::chance::Chance;
use tinyops_device::Refusal;
use tinyops_device::conformance::{Checker, NO_PLACE, Offered, Slots};
use tinyops_wire::crc::crc32;
use tinyops_wire::downlink::When;
use tinyops_wire::frame::Reason;
use tinyops_wire::key_set::RoleKeys;
use tinyops_wire::{Digest, KeySet, SigningKey};

/// Words that a step answers with.
const ANSWERS: usize = 6;
/// What a capsule that must not run begins with.
const BAD: u8 = 0xba;

/// What is done, by the numbers of `c/check/slots.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Boot = 0,
    Reserve = 1,
    Begin = 2,
    Block = 3,
    Finish = 4,
    Confirm = 5,
    Revert = 6,
    DropHeld = 7,
    GoBack = 8,
    TakeKeySet = 9,
    Rot = 10,
    SeeDownlink = 11,
    TryHeld = 12,
    Hold = 13,
    Blocks = 14,
    Unreadable = 15,
    Read = 16,
}

/// One step: three numbers and bytes, and what flash does meanwhile.
#[derive(Clone, Debug)]
struct Step {
    op: Op,
    numbers: [u32; 3],
    bytes: Vec<u8>,
    fault: Fault,
}

/// So many schedules.
///
/// # Errors
/// When a delta cannot be made.
pub(crate) fn records(count: usize) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    for index in 0..count {
        let mut chance = Chance(1_000 + index as u64);
        records.push(match index % 5 {
            0 => schedule::<1024, 4>(index, &mut chance),
            1 => schedule::<256, 8>(index, &mut chance),
            2 => schedule::<512, 1>(index, &mut chance),
            3 => schedule::<256, 64>(index, &mut chance),
            _ => schedule::<2048, 16>(index, &mut chance),
        }?);
    }
    Ok(records)
}

/// A device under test.
struct Device<const PAGE: usize, const UNIT: usize> {
    slots: Slots<Worn<PAGE, UNIT>>,
    /// What the last boot chose.
    running: u8,
    key_set: KeySet,
}

/// What a schedule goes by.
struct Plan {
    /// Counts statements and key sets.
    counter: u32,
    keys: [SigningKey; 3],
}

fn schedule<const PAGE: usize, const UNIT: usize>(
    index: usize,
    chance: &mut Chance,
) -> Result<Record, String> {
    let journal = 1024_usize.next_multiple_of(PAGE);
    let own_head_bytes = [0_usize, 0, 300][chance.below(3)];
    let slot = (900 + chance.below(1_500)).next_multiple_of(PAGE);
    let odd = [0, 0, UNIT][chance.below(3)];
    let len = 2 * (journal + slot + own_head_bytes.next_multiple_of(PAGE)) + odd;
    let factory = match chance.below(3) {
        0 => Vec::new(),
        _ => capsule(chance, 1, 200),
    };
    let seed = chance.next();
    let mut image = vec![0xff; len];
    match chance.below(8) {
        0 => image.fill_with(|| chance.next() as u8),
        1 | 2 => put_records(&mut image, journal, slot, chance),
        _ => {}
    }
    let mut head: Vec<u8> = Vec::new();
    for word in [PAGE, UNIT, own_head_bytes, len, factory.len()] {
        head.extend((word as u32).to_le_bytes());
    }
    head.extend(seed.to_le_bytes());
    head.extend(&factory);
    head.extend(&image);
    let flash = Worn::<PAGE, UNIT>::new(image, factory, own_head_bytes, seed);
    let keys = [1, 2, 3].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let mut device = Device {
        slots: Slots::open(flash),
        running: NO_PLACE,
        key_set: key_set(0, &keys, 3),
    };
    let mut plan = Plan { counter: 0, keys };
    let mut steps = Vec::new();
    let mut count = 0_u32;
    // Faults come in most schedules; a few are about what goes well, many times over.
    let seldom = [3, 6, 20, 1_000_000][chance.below(4)];
    let mut next = vec![step(Op::Boot, [0; 3], Vec::new())];
    while count < 90 {
        if next.is_empty() {
            next = drawn(&device, &mut plan, chance)?;
            next.reverse();
        }
        let Some(mut step) = next.pop() else { continue };
        if chance.below(seldom) == 0 {
            step.fault = fault(device.slots.flash_mut().operations, chance);
        }
        let answers = device.answer(&mut step, &plan);
        let (hash, has_power) = {
            let flash = device.slots.flash_mut();
            (flash.hash(), flash.has_power)
        };
        step.put(&answers, hash, &mut steps);
        count += 1;
        if !has_power {
            next = vec![self::step(
                Op::Boot,
                [chance.below(2_000) as u32, 0, 0],
                Vec::new(),
            )];
        }
    }
    let mut behind = count.to_le_bytes().to_vec();
    behind.extend(steps);
    Ok(Record::of_bytes(
        format!("slots {index}"),
        Kind::Slots,
        head,
        behind,
        1,
    ))
}

/// Puts records of any version into a journal, most of them as a firmware of then may have written them.
fn put_records(image: &mut [u8], journal: usize, slot: usize, chance: &mut Chance) {
    let version = 1 + chance.below(7) as u8;
    let record_bytes = if version < 4 { 128 } else { 256 };
    for copy in 0..2 {
        let first = if version == 1 { 0 } else { 512 / record_bytes };
        let count = chance.below(journal / record_bytes - first + 1);
        for place in first..first + count {
            let at = copy * journal + place * record_bytes;
            let record = &mut image[at..at + record_bytes];
            record.fill(0);
            record[..4].copy_from_slice(b"TOPJ");
            record[4] = version;
            record[8] = (place - first) as u8 + 1;
            // Places, and none of them.
            for at in [5, 6, 28, 29, 113] {
                record[at] = [0, 1, 2, 255, 130][chance.below(5)];
            }
            record[5] = chance.below(3) as u8;
            (record[7], record[30], record[31]) =
                (2, chance.below(31) as u8, chance.below(2) as u8);
            (record[16], record[32], record[44], record[88]) = (200, 90, 80, 70);
            // Fields that this version may not have, and bytes that are no field.
            for _ in 0..chance.below(5) {
                let at = 5 + chance.below(record_bytes - 9);
                record[at] = chance.next() as u8;
            }
            let slot_bytes = slot as u32;
            for at in [32, 44, 88] {
                let bytes = u32::from_le_bytes([0, 1, 2, 3].map(|index| record[at + index]));
                let bytes = bytes % slot_bytes;
                record[at..at + 4].copy_from_slice(&bytes.to_le_bytes());
            }
            let crc = crc32(&record[..record_bytes - 4]) ^ u32::from(chance.below(12) == 0);
            record[record_bytes - 4..].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

fn step(op: Op, numbers: [u32; 3], bytes: Vec<u8>) -> Step {
    Step {
        op,
        numbers,
        bytes,
        fault: Fault::default(),
    }
}

/// A capsule as far as slots are concerned: whether it may run, its number, and bytes.
fn capsule(chance: &mut Chance, sequence: u8, most: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..2 + chance.below(most))
        .map(|at| (at / 3) as u8)
        .collect();
    bytes[0] = if chance.below(6) == 0 { BAD } else { 1 };
    bytes[1] = sequence;
    for _ in 0..chance.below(12) {
        let at = 2 + chance.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = chance.next() as u8;
        }
    }
    bytes
}

/// A key set of two of three keys, which a number tells.
fn key_set(sequence: u32, keys: &[SigningKey; 3], roles: u32) -> KeySet {
    let role = |index: u32| RoleKeys::one(keys[index as usize % 3].verifying_key());
    KeySet {
        sequence,
        release: role(roles),
        director: role(roles / 3),
    }
}

fn fault(operations: u64, chance: &mut Chance) -> Fault {
    let kind = [CUT, CUT, CUT, TORN, REFUSED, SILENT][chance.below(6)];
    let of = [0, 0, ERASES, WRITES][chance.below(4)];
    let within = [2, 12, 80, 400][chance.below(4)];
    Fault {
        kind: kind | of,
        at: operations + chance.below(within) as u64,
        count: [1, 1, 3, 10_000][chance.below(4)],
    }
}

/// What is done next, as far as it can be known beforehand.
fn drawn<const PAGE: usize, const UNIT: usize>(
    device: &Device<PAGE, UNIT>,
    plan: &mut Plan,
    chance: &mut Chance,
) -> Result<Vec<Step>, String> {
    let word = |chance: &mut Chance, most: usize| chance.below(most) as u32;
    let place = |chance: &mut Chance| [1, 2, 1, 2, 0][chance.below(5)];
    let reason = [11, 13, 15, 2, 14][chance.below(5)];
    let boot = step(Op::Boot, [word(chance, 600), 0, 0], Vec::new());
    Ok(match chance.below(16) {
        0..5 => transfer(device, plan, chance)?,
        5 => vec![boot],
        6 => vec![step(Op::Reserve, [word(chance, 3_000), 0, 0], Vec::new())],
        7 => vec![step(
            Op::Confirm,
            [place(chance), word(chance, 40), 0],
            Vec::new(),
        )],
        8 => vec![step(
            Op::Revert,
            [place(chance), reason, word(chance, 9)],
            Vec::new(),
        )],
        9 => vec![
            step(Op::GoBack, [reason, word(chance, 9), 0], Vec::new()),
            boot,
        ],
        10 => {
            plan.counter += 1;
            let signed = (0..1 + chance.below(380)).map(|_| chance.next() as u8);
            let signed = signed.collect();
            vec![step(
                Op::TakeKeySet,
                [plan.counter, 0, word(chance, 9)],
                signed,
            )]
        }
        11 => {
            let mask = 1 << chance.below(8);
            vec![step(Op::Rot, [chance.next() as u32, mask, 0], Vec::new())]
        }
        12 => vec![
            step(Op::SeeDownlink, [word(chance, 5_000), 0, 0], Vec::new()),
            step(Op::Read, [place(chance), 0, 0], Vec::new()),
        ],
        13 => {
            let op = [Op::TryHeld, Op::Hold, Op::DropHeld][chance.below(3)];
            let numbers = match op {
                Op::DropHeld => [place(chance), reason, word(chance, 9)],
                _ => [word(chance, 4), when(chance), 0],
            };
            vec![step(op, numbers, Vec::new())]
        }
        14 => {
            let from = chance.next() as u32;
            vec![
                step(Op::Unreadable, [from, word(chance, 200), 0], Vec::new()),
                step(Op::Reserve, [u32::MAX - 5, 0, 0], Vec::new()),
            ]
        }
        _ => vec![boot, step(Op::Read, [place(chance), 0, 0], Vec::new())],
    })
}

/// When, as a number: whether later, and above that how many windows.
fn when(chance: &mut Chance) -> u32 {
    match chance.below(3) {
        0 => 0,
        1 => 1,
        _ => 1 | (1 + chance.below(500) as u32) << 16,
    }
}

/// A whole transfer, some of whose blocks may be wrong or lacking, and a boot of what it brought.
fn transfer<const PAGE: usize, const UNIT: usize>(
    device: &Device<PAGE, UNIT>,
    plan: &mut Plan,
    chance: &mut Chance,
) -> Result<Vec<Step>, String> {
    let floor = device.slots.floor().0.min(250) as u8;
    let sequence = floor.saturating_add(chance.below(3) as u8);
    let most = [500, 500, 2_600][chance.below(3)];
    let new = capsule(chance, sequence, most);
    let is_delta = chance.below(2) == 0;
    let fetched = if is_delta {
        let old = device.slots.capsule(device.running);
        let mut delta = tinyops_compile::delta(old, &new).map_err(|error| error.to_string())?;
        if chance.below(8) == 0 {
            let at = chance.below(delta.len());
            delta[at] ^= 1;
        }
        delta
    } else {
        new
    };
    plan.counter += 1;
    let digest = Digest::of(&fetched);
    let statement = (0..chance.below(136)).map(|_| chance.next() as u8);
    let mut bytes = digest.0.to_vec();
    bytes.extend(statement);
    let when = if chance.below(3) == 0 {
        when(chance)
    } else {
        0
    };
    let flags = u32::from(is_delta) << 1 | when;
    let mut steps = vec![step(
        Op::Begin,
        [fetched.len() as u32, flags, plan.counter],
        bytes,
    )];
    // In blocks, some of which come twice, out of order, or with other bytes.
    let mut blocks: Vec<usize> = (0..fetched.len().div_ceil(64)).collect();
    if chance.below(3) == 0 {
        chance.shuffle(&mut blocks);
    }
    let joined = 1 + chance.below(3);
    for at in blocks.chunks(joined) {
        for &block in at {
            let start = 64 * block;
            let end = (start + 64).min(fetched.len());
            let mut bytes = fetched[start..end].to_vec();
            if chance.below(60) == 0 {
                bytes[0] ^= 1;
            }
            if chance.below(80) > 0 {
                steps.push(step(Op::Block, [start as u32, 0, 0], bytes));
            }
        }
    }
    // Fewer steps: many blocks are one write of them all.
    if steps.len() > 12 {
        steps.truncate(1);
        steps.push(step(Op::Block, [0; 3], fetched.clone()));
    }
    let mut is_fresh = 1;
    if chance.below(3) == 0 {
        steps.push(step(Op::Boot, [0; 3], Vec::new()));
        is_fresh = 0;
    }
    steps.push(step(Op::Blocks, [0; 3], Vec::new()));
    let tries = 1 + chance.below(3) as u32;
    let checked_by = chance.below(3) as u32;
    steps.push(step(Op::Finish, [tries, is_fresh, checked_by], Vec::new()));
    if chance.below(2) == 0 {
        let place = 1 + chance.below(2) as u32;
        let now = [checked_by, chance.below(3) as u32][chance.below(2)];
        steps.push(step(Op::Read, [place, now, 0], Vec::new()));
    }
    if chance.below(4) > 0 {
        steps.push(step(Op::Boot, [0; 3], Vec::new()));
    }
    if chance.below(2) == 0 {
        // Of what runs then: 255 is filled in by the device under test.
        steps.push(step(
            Op::Confirm,
            [u32::from(NO_PLACE), u32::from(sequence), 0],
            Vec::new(),
        ));
    }
    Ok(steps)
}

/// The name of keys, by a number; 0 of none.
fn keys(number: u32) -> [u8; 8] {
    [number as u8; 8]
}

/// Whether a capsule may run: nothing of it is looked at but its first byte, and its number where it is new.
fn check(floor: (u32, [u8; 8]), capsule: &[u8], is_new: bool) -> Result<(), Refusal> {
    let refused = |reason, detail| Err(Refusal { reason, detail });
    let [kind, sequence, ..] = *capsule else {
        return refused(Reason::Malformed, 0);
    };
    let sequence = u32::from(sequence);
    let is_newest = sequence == floor.0 && Digest::of(capsule).prefix() == floor.1;
    match kind {
        BAD => refused(Reason::Golden, u32::from(is_new)),
        _ if is_new && sequence <= floor.0 && !is_newest => refused(Reason::Rollback, floor.0),
        _ => Ok(()),
    }
}

impl<const PAGE: usize, const UNIT: usize> Device<PAGE, UNIT> {
    /// Does a step, and says what came of it; numbers that only the device knows are filled in.
    fn answer(&mut self, step: &mut Step, plan: &Plan) -> [u32; ANSWERS] {
        let slots = &mut self.slots;
        let len = slots.flash_mut().bytes.len();
        slots.flash_mut().fault = step.fault;
        let floor = slots.floor();
        let check = |_: u8, capsule: &[u8], is_new| check(floor, capsule, is_new);
        let when = |flags: u32| match (flags & 1, flags >> 16) {
            (0, _) => When::AtOnce,
            (_, 0) => When::Later,
            (_, windows) => When::Shadow {
                windows: windows as u16,
            },
        };
        if step.op == Op::Confirm && step.numbers[0] == u32::from(NO_PLACE) {
            step.numbers[0] = u32::from(self.running);
        }
        let [a, b, c] = step.numbers;
        let refusal = || Refusal {
            reason: Reason::from_code(b as u8).unwrap_or(Reason::Commanded),
            detail: c,
        };
        let mut told = [0; 2];
        let done = match step.op {
            Op::Boot => {
                // Of what it had in memory nothing is left.
                let mut flash = slots.flash_mut().clone();
                flash.has_power = true;
                *slots = Slots::open(flash);
                let booted = slots.boot(a, &check);
                let [trial, gave_up, shadow] = booted.places.map(u32::from);
                told = [
                    booted.sequence,
                    trial | gave_up << 8 | shadow << 16 | u32::from(booted.running) << 24,
                ];
                self.running = booted.running;
                match booted.may_shadow {
                    true => Ok(()),
                    false => Err(Refusal {
                        reason: Reason::Flash,
                        detail: 0,
                    }),
                }
            }
            Op::Reserve => slots.reserve_sequence(a),
            Op::Begin => {
                let (digest, statement) = step.bytes.split_at(32);
                let offered = Offered {
                    is_delta: b & 2 != 0,
                    digest: Digest(std::array::from_fn(|index| digest[index])),
                    bytes: a,
                    when: when(b & !2),
                    statement,
                    counter: c,
                };
                slots.begin_transfer(offered, self.running)
            }
            Op::Block => slots.write_block(a, &step.bytes),
            Op::Finish => {
                let checker = (keys(c), &check as Checker<'_>);
                slots.finish_transfer(self.running, b != 0, a as u8, checker)
            }
            Op::Confirm => slots.confirm(a as u8, b),
            Op::Revert => slots.revert_trial(a as u8, refusal()),
            Op::DropHeld => slots.drop_held(a as u8, refusal()),
            Op::GoBack => {
                let refusal = Refusal {
                    reason: Reason::from_code(a as u8).unwrap_or(Reason::Commanded),
                    detail: b,
                };
                slots.go_back(refusal).map(|place| told[0] = place.into())
            }
            Op::TakeKeySet => {
                let set = key_set(a, &plan.keys, c);
                let is_new = |now: &RoleKeys, before: &RoleKeys| u32::from(now != before);
                step.numbers[1] = is_new(&set.director, &self.key_set.director)
                    | is_new(&set.release, &self.key_set.release) << 1;
                let taken = slots.take_key_set(&set, &step.bytes, &self.key_set);
                if taken.is_ok() {
                    self.key_set = set;
                }
                taken
            }
            Op::Rot => {
                step.numbers[0] = a % len as u32;
                slots.flash_mut().bytes[a as usize % len] ^= b as u8;
                Ok(())
            }
            Op::SeeDownlink => {
                slots.see_downlink(a);
                Ok(())
            }
            Op::TryHeld => slots.try_held(a as u8),
            Op::Hold => slots.hold(when(b), a as u8),
            Op::Blocks => {
                let blocks = slots.blocks();
                told = [blocks as u32, (blocks >> 32) as u32];
                Ok(())
            }
            Op::Unreadable => {
                let from = a as usize % len;
                step.numbers[0] = from as u32;
                slots.flash_mut().unreadable = from..from + b as usize;
                Ok(())
            }
            Op::Read => {
                let place = a as u8;
                let statement = crc32(slots.statement(place));
                told[0] = crc32(slots.capsule(place)) ^ statement;
                told[0] ^= u32::from(slots.is_installed(place, keys(b)));
                told[1] = slots.key_set().map_or(1, crc32);
                Ok(())
            }
        };
        let refusal = done.err();
        let reason = refusal.map_or(0, |refusal| refusal.reason as u32);
        let detail = refusal.map_or(0, |refusal| refusal.detail);
        let operations = slots.flash_mut().operations as u32;
        let record = crc32(&slots.record_bytes());
        [reason, detail, told[0], told[1], operations, record]
    }
}

impl Step {
    fn put(&self, answers: &[u32; ANSWERS], hash: u64, out: &mut Vec<u8>) {
        let [a, b, c] = self.numbers;
        let fault = self.fault;
        let words = [
            self.op as u32,
            a,
            b,
            c,
            fault.kind,
            fault.at as u32,
            fault.count,
            self.bytes.len() as u32,
        ];
        let words = words.iter().chain(answers);
        out.extend(words.flat_map(|word| word.to_le_bytes()));
        out.extend(hash.to_le_bytes());
        out.extend(&self.bytes);
    }
}
