//! `cargo xtask bench listen`: monitoring, and learning without the data, against the figures they must reach.

mod average;
mod coverage;
mod dap;
mod delays;
mod elec2;
mod episodes;
mod exact;
mod heads;
mod labelled;
mod ladder;
mod monitor;
mod personal;
mod private;
mod product;
mod report;
mod rounds;
mod sets;
mod simulation;
mod speed;
mod tales;
mod under_masks;

pub(crate) use self::report::of_a_table;

use crate::figure::{Measurement, Row, measure};
use crate::steps::Answer;

const MEASUREMENTS: &[Measurement] = &[
    ("speed", speed::races),
    ("monitor", monitor::on_device),
    ("one device", delays::devices),
    ("fleet", delays::fleets),
    ("drift report", of_a_table),
    ("heads digits", heads::digit_rows),
    ("heads fsdd", heads::spoken_rows),
    ("exact", exact::rows),
    ("labelled", labelled::rows),
    ("elec2", elec2::rows),
    ("personal", personal::rows),
    ("episodes har-phone-watch", || {
        let names = [
            "har-phone-watch",
            "har-phone-watch, bytes up",
            "har-phone-watch, reports",
            "har-phone-watch, the product alone",
            "har-phone-watch, the product's bytes up",
            "har-phone-watch, the product's reports",
            "har-phone-watch, the product, features moved",
            "har-phone-watch, features moved, bytes up",
            "har-phone-watch, features moved, reports",
        ];
        episodes::rows(names, tales::phone_to_watch)
    }),
    ("episodes fsdd", || {
        let names = [
            "fsdd",
            "fsdd, bytes up",
            "fsdd, reports",
            "fsdd, the product alone",
            "fsdd, the product's bytes up",
            "fsdd, the product's reports",
            "fsdd, the product, features moved",
            "fsdd, features moved, bytes up",
            "fsdd, features moved, reports",
        ];
        episodes::rows(names, tales::new_speakers)
    }),
    ("episodes fan-esp32", || {
        let names = [
            "fan-esp32",
            "fan-esp32, bytes up",
            "fan-esp32, reports",
            "fan-esp32, the product alone",
            "fan-esp32, the product's bytes up",
            "fan-esp32, the product's reports",
            "fan-esp32, the product, features moved",
            "fan-esp32, features moved, bytes up",
            "fan-esp32, features moved, reports",
        ];
        episodes::rows(names, tales::weighted_fan)
    }),
    ("episodes drift-gas-sensor", || {
        let names = [
            "drift-gas-sensor",
            "drift-gas-sensor, bytes up",
            "drift-gas-sensor, reports",
            "drift-gas-sensor, the product alone",
            "drift-gas-sensor, the product's bytes up",
            "drift-gas-sensor, the product's reports",
            "drift-gas-sensor, the product, features moved",
            "drift-gas-sensor, features moved, bytes up",
            "drift-gas-sensor, features moved, reports",
        ];
        episodes::rows(names, tales::ageing_sensors)
    }),
    ("episodes under masks", || {
        let names = [
            "fsdd, sums under masks",
            "fsdd, sums under masks, bytes up",
            "fsdd, sums under masks, reports",
        ];
        episodes::masked_rows(names, tales::new_speakers)
    }),
    ("coverage har-phone-watch", coverage::of_activities),
    ("coverage digits", coverage::of_digits),
    ("coverage fsdd", coverage::of_speech),
    ("private sums", private::sums),
    ("private budgets", private::budgets),
    ("private delays", private::delays),
    ("dap", dap::rows),
    ("private local", private::local),
];

/// Measures the groups whose name contains one of `groups`, and prints.
pub(crate) fn run(groups: &[String]) -> Answer {
    measure(MEASUREMENTS, groups)
}
