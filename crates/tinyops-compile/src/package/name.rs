//! What a model is called in languages that know fewer letters than people do.

/// Words that a name cannot be: of C99, C++11 and Rust, and folders and libraries that a package may stand beside.
const TAKEN: &str = " abstract alignas alignof and asm async auto await become bitand bitor bool box break case catch char \
class compl const constexpr continue core crate decltype default delete do double dyn else enum explicit export extern false \
final float fn for friend goto if impl in inline int let long loop macro main match mod move mut mutable namespace new \
noexcept not nullptr operator or override pin priv private protected pub ref register restrict return self setup short signed \
sizeof static std struct super switch template this thread_local throw trait true try type typedef typeid typename typeof \
union unsafe unsigned unsized use using virtual void volatile wchar_t where while xor yield ";

/// The longest identifier: with what is added to it, C99 tells 63 letters apart.
const LEN_MAX: usize = 40;

/// The identifier of a name: its ASCII letters, made small, and digits, with `_` between what stood apart. `None` where no
/// letter or digit is left, or too many are.
///
/// Before a digit comes `model_`; after a word that a language has already, `_model`.
pub(super) fn identifier(name: &str) -> Option<String> {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => out.push(c.to_ascii_lowercase()),
            _ if out.is_empty() || out.ends_with('_') => {}
            _ => out.push('_'),
        }
    }
    let out = out.trim_end_matches('_');
    let is_taken = TAKEN.contains(&format!(" {out} ")) || out.starts_with("tinyops");
    let out = match out.chars().next()? {
        '0'..='9' => format!("model_{out}"),
        _ if is_taken => format!("{out}_model"),
        _ => out.to_owned(),
    };
    // What begins with the runtime's own prefix would meet its names.
    let out = match out.starts_with("tinyops") {
        true => format!("model_{out}"),
        false => out,
    };
    (out.len() <= LEN_MAX).then_some(out)
}

/// Whether a text is a version as semantic versioning has it: three numbers without leading zeros, and perhaps what follows
/// `-` or `+`.
pub(super) fn is_semver(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let is_number = |number: &str| {
        let is_digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        is_digits && (number == "0" || !number.starts_with('0')) && number.len() <= 9
    };
    let (version, build) = match text.split_once('+') {
        Some((version, build)) => (version, Some(build)),
        None => (text, None),
    };
    let (core, pre) = match version.split_once('-') {
        Some((core, pre)) => (core, Some(pre)),
        None => (version, None),
    };
    let numbers: Vec<&str> = core.split('.').collect();
    let is_pre = |word: &str| {
        is_word(word) && (is_number(word) || !word.chars().all(|c| c.is_ascii_digit()))
    };
    numbers.len() == 3
        && numbers.into_iter().all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(is_pre))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers() {
        for (name, expected) in [
            ("fan", Some("fan")),
            ("Fan-ESP32.v2", Some("fan_esp32_v2")),
            ("--a  b--", Some("a_b")),
            ("3d", Some("model_3d")),
            ("class", Some("class_model")),
            ("tinyops", Some("model_tinyops_model")),
            ("Lüfter", Some("l_fter")),
            ("扇", None),
            ("", None),
            (&"a".repeat(41), None),
        ] {
            assert_eq!(identifier(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn versions() {
        for text in ["0.1.0", "3.0.0", "1.2.3-rc.1+build.05"] {
            assert!(is_semver(text), "{text}");
        }
        for text in [
            "", "1", "1.2", "01.2.3", "1.2.3-", "1.2.3+", "1.2.3-01", "1.2.3 ", "v1.2.3",
        ] {
            assert!(!is_semver(text), "{text}");
        }
    }
}
