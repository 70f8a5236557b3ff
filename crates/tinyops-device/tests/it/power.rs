//! Power that goes in the middle of any word written or page erased.

use tinyops_device::Event;
use tinyops_wire::Digest;
use tinyops_wire::ModelId;

use crate::fixture::{
    Bench, DIRECTOR, Flash, Recipe, blank_flash, config, downlink, model_of, offer, signed, stated,
};

/// A device whose first model came with the firmware and whose second, OLD, is confirmed in a slot.
struct Story {
    flash: Flash,
    old: ModelId,
    new: ModelId,
    new_capsule: Vec<u8>,
}

impl Story {
    fn begin() -> Story {
        let old = Recipe {
            ballast: 64,
            ..Recipe::numbered(2)
        }
        .capsule();
        let new_capsule = Recipe {
            ballast: 128,
            ..Recipe::numbered(3)
        }
        .capsule();
        let mut bench = Bench::new(config(), blank_flash(Recipe::numbered(1).capsule()));
        bench.install(&old);
        assert_eq!(bench.agent.model(), Some(model_of(&old)));
        Story {
            flash: bench.agent.into_flash(),
            old: model_of(&old),
            new: model_of(&new_capsule),
            new_capsule,
        }
    }

    /// Boots, takes the update and confirms it; gets as far as the power lasts.
    fn update(&self, flash: Flash) -> Bench {
        let mut bench = Bench::new(config(), flash);
        self.offer_to(&mut bench);
        for _ in 0..2 {
            bench.window([1.0, 0.0, 0.0, 0.0]);
        }
        bench
    }

    fn offer_to(&self, bench: &mut Bench) {
        let digest = Digest::of(&self.new_capsule);
        bench.capsules.insert(digest, self.new_capsule.clone());
        // The server's numbers go on rising, whatever the device has lost.
        for sequence in 100..104 {
            if bench.agent.model() == Some(self.new) {
                break;
            }
            bench.run(Event::Downlink(&self.offer(sequence)));
            bench.now_ms += 10_000;
        }
    }

    /// After the power is back, the device runs one of the two, whole, and can still be updated.
    fn check_recovery(&self, mut flash: Flash, what: &str) {
        flash.restore_power();
        let mut bench = Bench::new(config(), flash);
        let model = bench.agent.model();
        assert!(
            model == Some(self.old) || model == Some(self.new),
            "{what}: runs {model:?}"
        );
        bench.window([0.0, 1.5, 0.0, 0.0]);
        assert_eq!(
            bench.answers()[0].class(),
            Some(1),
            "{what}: answers as it should"
        );
        bench.run(Event::Tick);
        // Offers go on until the device says that it runs what it should.
        for round in 0..3 {
            if bench.agent.model() == Some(self.new) && !bench.agent.is_on_trial() {
                break;
            }
            self.resume(&mut bench, 200 + 10 * round);
        }
        assert_eq!(
            bench.agent.model(),
            Some(self.new),
            "{what}: updated in the end"
        );
        bench.boot();
        assert_eq!(bench.agent.model(), Some(self.new), "{what}: and stays so");
        assert!(!bench.agent.is_on_trial(), "{what}: confirmed");
    }

    fn offer(&self, sequence: u32) -> Vec<u8> {
        let statement = signed(&stated(&self.new_capsule, sequence), DIRECTOR);
        downlink(&offer(&self.new_capsule, &statement), sequence)
    }

    fn resume(&self, bench: &mut Bench, sequence: u32) {
        let digest = Digest::of(&self.new_capsule);
        bench.capsules.insert(digest, self.new_capsule.clone());
        bench.run(Event::Downlink(&self.offer(sequence)));
        bench.now_ms += 10_000;
        bench.run(Event::Tick);
        for _ in 0..2 {
            bench.window([0.0, 1.5, 0.0, 0.0]);
        }
    }
}

#[test]
fn an_update_survives_a_power_cut_anywhere() {
    let story = Story::begin();
    let first = story.flash.operations();
    let whole = story.update(story.flash.clone());
    assert_eq!(whole.agent.model(), Some(story.new));
    assert!(!whole.agent.is_on_trial());
    let last = whole.agent.into_flash().operations();
    assert!(last - first > 300, "only {} operations", last - first);
    for operation in first..last {
        let mut flash = story.flash.clone();
        flash.cut_power_at(operation, operation);
        let flash = story.update(flash).agent.into_flash();
        assert!(!flash.has_power(), "operation {operation} was reached");
        story.check_recovery(flash, &format!("operation {operation}"));
    }
}

#[test]
fn a_second_cut_while_recovering_does_no_more_harm() {
    let story = Story::begin();
    let first = story.flash.operations();
    let last = story
        .update(story.flash.clone())
        .agent
        .into_flash()
        .operations();
    for operation in (first..last).step_by(7) {
        let mut flash = story.flash.clone();
        flash.cut_power_at(operation, 2);
        let flash = story.update(flash).agent.into_flash();
        let cut_at = flash.operations();
        for later in (0..200).step_by(23) {
            let mut flash = flash.clone();
            flash.restore_power();
            flash.cut_power_at(cut_at + later, 3);
            let flash = story.update(flash).agent.into_flash();
            story.check_recovery(flash, &format!("operations {operation} and {later} later"));
        }
    }
}

#[test]
fn no_sequence_number_is_used_twice_whenever_the_power_goes() {
    let story = Story::begin();
    let first = story.flash.operations();
    for operation in first..first + 120 {
        let mut flash = story.flash.clone();
        flash.cut_power_at(operation, 4);
        let before = story.update(flash);
        let mut sequences: Vec<u32> = before
            .reports
            .iter()
            .map(|report| report.sequence)
            .collect();
        let mut flash = before.agent.into_flash();
        flash.restore_power();
        let after = Bench::new(config(), flash);
        sequences.extend(after.reports.iter().map(|report| report.sequence));
        assert!(
            sequences.is_sorted_by(|a, b| a < b),
            "operation {operation}: {sequences:?}"
        );
    }
}
