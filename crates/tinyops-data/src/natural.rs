//! The order in which people number files: `take2` before `take10`.

use std::cmp::Ordering;

/// Compares two names, runs of digits by their value; names that differ only in leading zeros by their bytes.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (mut rest_left, mut rest_right) = (left.as_bytes(), right.as_bytes());
    loop {
        match (rest_left.first(), rest_right.first()) {
            (None, None) => return left.cmp(right),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (number_left, after_left) = take_number(rest_left);
                let (number_right, after_right) = take_number(rest_right);
                // Without leading zeros, the longer number is the greater.
                let order = number_left
                    .len()
                    .cmp(&number_right.len())
                    .then_with(|| number_left.cmp(number_right));
                if order != Ordering::Equal {
                    return order;
                }
                (rest_left, rest_right) = (after_left, after_right);
            }
            (Some(a), Some(b)) if a == b => {
                (rest_left, rest_right) = (&rest_left[1..], &rest_right[1..]);
            }
            (Some(a), Some(b)) => return a.cmp(b),
        }
    }
}

/// The digits at the start without leading zeros, and what follows them.
fn take_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let zeros = text[..end].iter().take_while(|&&byte| byte == b'0').count();
    (&text[zeros..end], &text[end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = vec![
            "b",
            "a10",
            "a2",
            "a02",
            "a",
            "a2b",
            "a1000000000000000000000",
        ];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(
            names,
            [
                "a",
                "a02",
                "a2",
                "a2b",
                "a10",
                "a1000000000000000000000",
                "b"
            ]
        );
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in "[ab019]{0,6}", b in "[ab019]{0,6}", c in "[ab019]{0,6}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&a, &b) == Ordering::Equal, a == b);
            if compare(&a, &b).is_le() && compare(&b, &c).is_le() {
                prop_assert!(compare(&a, &c).is_le());
            }
        }
    }
}
