//! What a device means that did not install, in a few words.

use tinyops_wire::frame::Reason;
use tinyops_wire::sensor::Mounting;

/// A reason as a report brings it, with the number behind it, for people: the field of the sensor contract that differs, and
/// what the model wants, or the reason and its number. `docs/formats/frames.md` lists both.
pub fn told(reason: &str, number: u64) -> String {
    let code = (0..=u8::MAX).filter_map(Reason::from_code);
    let known = code.into_iter().find(|code| code.as_str() == reason);
    let thousandths = || number as f64 / 1000.0;
    match known {
        Some(Reason::Channels) => format!("channels: the model takes {number}"),
        Some(Reason::Rate) => format!("rate: the model takes {} Hz", thousandths()),
        Some(Reason::Axis) => {
            format!("axis: the model takes another, or another order, from channel {number} on")
        }
        Some(Reason::Unit) => format!("unit: the model takes another for channel {number}"),
        Some(Reason::FullScale) => {
            format!("full-scale: the model takes {} of its unit", thousandths())
        }
        Some(Reason::Mounting) => match u8::try_from(number).ok().and_then(Mounting::from_code) {
            Some(mounting) => format!("mounting: the model takes `{mounting}`"),
            None => reason.to_owned(),
        },
        _ if number > 0 => format!("{reason} {number}"),
        _ => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn a_field_of_the_sensor_contract_is_named() {
        for (reason, number, expected) in [
            ("rate", 104_500, "rate: the model takes 104.5 Hz"),
            ("channels", 6, "channels: the model takes 6"),
            ("unit", 0, "unit: the model takes another for channel 0"),
            (
                "full-scale",
                4_000,
                "full-scale: the model takes 4 of its unit",
            ),
            ("mounting", 0x32, "mounting: the model takes `y -x z`"),
            ("mounting", 0x11, "mounting"),
            ("arena", 9, "arena 9"),
            ("golden", 0, "golden"),
            ("of a later version", 3, "of a later version 3"),
        ] {
            assert_eq!(told(reason, number), expected);
        }
    }
}
