//! What happens to one fan, hour by hour: the truth that devices never see and the scores are held against.

use crate::fan::{AXES, Condition, Dice, Fan, Machine};

use super::folder::WINDOW_LEN;

/// Dice streams of the fleet start here, far from those of the test bench.
const FLEET_STREAM: u64 = 1;
/// Share of spells that end with somebody looking at the fan and saying what it was.
const INSPECTED: f32 = 0.6;

/// One fan's life.
pub(super) struct Life {
    fan: Fan,
    dice: Dice,
    spell: Spell,
    hours_left: u32,
    /// Windows of this spell so far.
    hours: u16,
}

/// A few hours in one condition, between a fault's start and its repair.
#[derive(Clone, Copy)]
struct Spell {
    condition: Condition,
    severity: f32,
    load: f32,
}

/// What a maintenance visit found, for the windows since the visit before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) condition: Condition,
    pub(super) windows_back: u16,
}

/// One hour of a fan.
pub(super) struct Hour {
    pub(super) truth: Condition,
    pub(super) window: Vec<f32>,
    /// A visit at the end of the spell before this hour.
    pub(super) finding: Option<Finding>,
}

impl Life {
    pub(super) fn begin(seed: u64, index: u64) -> Self {
        let mut dice = Dice::new(seed, FLEET_STREAM + 2 * index);
        let machine = Machine::build(&mut dice);
        let fan = Fan::start(machine, Dice::new(seed, FLEET_STREAM + 2 * index + 1));
        let spell = Spell::draw(&mut dice);
        Self {
            fan,
            dice,
            spell,
            hours_left: 3,
            hours: 0,
        }
    }

    /// The next hour, with the mounting worn as far as `wear` says.
    pub(super) fn hour(&mut self, wear: f32) -> Hour {
        let mut finding = None;
        if self.hours_left == 0 {
            if self.dice.chance(INSPECTED) {
                finding = Some(Finding {
                    condition: self.spell.condition,
                    windows_back: self.hours,
                });
            }
            self.spell = Spell::draw(&mut self.dice);
            self.hours_left = 2 + self.dice.below(4) as u32;
            self.hours = 0;
        }
        self.hours_left -= 1;
        self.hours += 1;
        self.fan.set_wear(wear);
        let Spell {
            condition,
            severity,
            load,
        } = self.spell;
        let mut window = vec![0.0; WINDOW_LEN * AXES];
        if self.hours == 1 {
            // What rings from the condition before has died away after half a second.
            self.fan.measure(condition, severity, load, &mut window);
        }
        self.fan.measure(condition, severity, load, &mut window);
        Hour {
            truth: condition,
            window,
            finding,
        }
    }
}

impl Spell {
    fn draw(dice: &mut Dice) -> Self {
        let condition = if dice.chance(0.4) {
            Condition::Normal
        } else {
            Condition::ALL[1 + dice.below(Condition::ALL.len() - 1)]
        };
        Self {
            condition,
            // Faults begin small, and are found before they are as bad as those of the bench.
            severity: dice.between(0.35, 1.3),
            load: dice.between(0.8, 1.2),
        }
    }
}
