//! Names that fit beside a chart.

use std::collections::BTreeSet;

/// At most `count_max` characters of each, cut in the middle, since names of one family often differ in their ends. Where
/// two would read the same, what all of them begin and end with is left out before.
pub(super) fn shortened<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    count_max: usize,
) -> Vec<String> {
    let cut: Vec<String> = names.clone().map(|name| cut(name, count_max)).collect();
    let distinct = |names: &mut dyn Iterator<Item = &str>| names.collect::<BTreeSet<_>>().len();
    if distinct(&mut cut.iter().map(String::as_str)) == distinct(&mut names.clone()) {
        return cut;
    }
    let names: Vec<Vec<char>> = names.map(|name| name.chars().collect()).collect();
    let head = common(&names, |name, at| name.get(at));
    let tail = common(&names, |name, at| {
        name[head..].get(name.len().checked_sub(head + at + 1)?)
    });
    let middle = |name: &Vec<char>| {
        let mut text = String::new();
        text.extend((head > 0).then_some('…'));
        text.extend(&name[head..name.len() - tail]);
        text.extend((tail > 0).then_some('…'));
        self::cut(&text, count_max)
    };
    names.iter().map(middle).collect()
}

/// How many characters in a row, asked for from 0 on, are the same in all names.
fn common(names: &[Vec<char>], of: impl Fn(&Vec<char>, usize) -> Option<&char>) -> usize {
    let is_shared = |at: &usize| {
        let first = names.first().and_then(|name| of(name, *at));
        first.is_some() && names.iter().all(|name| of(name, *at) == first)
    };
    (0..).take_while(is_shared).count()
}

fn cut(text: &str, count_max: usize) -> String {
    let count = text.chars().count();
    if count <= count_max {
        return text.to_owned();
    }
    let tail = (count_max - 1) / 2;
    let head = text.chars().take(count_max - 1 - tail);
    head.chain(['…'])
        .chain(text.chars().skip(count - tail))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_the_middle() {
        let names = ["ok", "bearing worn out", "bearing as new"];
        assert_eq!(
            shortened(names.into_iter(), 10),
            ["ok", "beari… out", "beari… new"]
        );
    }

    #[test]
    fn names_that_would_read_the_same_lose_what_they_share() {
        let names = [
            "fan_0_high_0_weight",
            "fan_0_high_1_weight",
            "fan_0_off_0_weight",
        ];
        assert_eq!(
            shortened(names.into_iter(), 14),
            ["…high_0…", "…high_1…", "…off_0…"]
        );
        // What one name is made of whole is the beginning of another.
        let names = ["abcdefgh", "abcdefgh-abcdefgh", "abcdefgh-x-abcdefgh"];
        assert_eq!(shortened(names.into_iter(), 7), ["…", "…-a…fgh", "…-x…fgh"]);
        // The same name twice stays the same.
        assert_eq!(shortened(["worn", "worn"].into_iter(), 9), ["worn", "worn"]);
        assert_eq!(
            shortened(["worn out now"; 2].into_iter(), 9),
            ["worn… now"; 2]
        );
    }
}
