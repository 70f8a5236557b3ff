//! How often something may be tried: a bucket a key, which fills again by and by.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;

use tinyops_store::Timestamp;

use crate::fleet::lock;

/// Keys remembered at once; beyond that those that were used least make room.
const KEYS_MAX: usize = 10_000;
/// A try in parts of which a bucket gets, every millisecond, as many as it has tries a minute.
const ONE: i64 = 60_000;

/// Buckets of so many tries, each of which fills within a minute.
#[derive(Debug)]
pub(crate) struct Buckets<K>(Mutex<HashMap<K, Level>>);

#[derive(Clone, Copy, Debug)]
struct Level {
    parts: i64,
    at: Timestamp,
}

impl<K> Default for Buckets<K> {
    fn default() -> Buckets<K> {
        Buckets(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash> Buckets<K> {
    /// Takes one try out of a key's bucket; false if it is empty.
    pub(crate) fn take(&self, key: K, per_minute: u32, now: Timestamp) -> bool {
        let full = i64::from(per_minute) * ONE;
        let mut levels = lock(&self.0);
        if levels.len() >= KEYS_MAX && !levels.contains_key(&key) {
            make_room(&mut levels, per_minute, now);
        }
        let level = levels.entry(key).or_insert(Level {
            parts: full,
            at: now,
        });
        *level = level.filled(per_minute, now);
        let may = level.parts >= ONE;
        if may {
            level.parts -= ONE;
        }
        may
    }
}

impl Level {
    fn filled(self, per_minute: u32, now: Timestamp) -> Level {
        let elapsed = now.ms_since(self.at).clamp(0, 60_000);
        let rise = elapsed * i64::from(per_minute);
        Level {
            parts: (self.parts + rise).min(i64::from(per_minute) * ONE),
            at: now,
        }
    }
}

/// Forgets who has all tries left, and if need be the half that has used the fewest.
fn make_room<K: Copy + Eq + Hash>(levels: &mut HashMap<K, Level>, per_minute: u32, now: Timestamp) {
    let parts_of = |level: &Level| level.filled(per_minute, now).parts;
    levels.retain(|_, level| parts_of(level) < i64::from(per_minute) * ONE);
    if levels.len() >= KEYS_MAX {
        let mut by_use: Vec<(i64, K)> = levels
            .iter()
            .map(|(key, level)| (parts_of(level), *key))
            .collect();
        by_use.sort_unstable_by_key(|(parts, _)| std::cmp::Reverse(*parts));
        for (_, key) in &by_use[..KEYS_MAX / 2] {
            levels.remove(key);
        }
    }
}

/// Whose bucket an address takes from: whoever has one address of IPv6 mostly has 2^64 of them.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills_within_a_minute() {
        let buckets = Buckets::default();
        let start = Timestamp(1_700_000_000_000);
        let taken = |now: Timestamp| (0..20).filter(|_| buckets.take(7, 10, now)).count();
        assert_eq!(taken(start), 10);
        assert_eq!(taken(start.plus_ms(5_999)), 0);
        assert_eq!(taken(start.plus_ms(6_000)), 1);
        assert_eq!(taken(start.plus_ms(36_000)), 5);
        assert_eq!(
            taken(start.plus_ms(3_600_000)),
            10,
            "no more than a minute's"
        );
        assert!(buckets.take(8, 10, start), "another key has its own");
        // A clock that is set back gives nothing and takes nothing.
        assert_eq!(taken(start), 0);
    }

    #[test]
    fn asking_often_does_not_keep_a_bucket_empty() {
        let buckets = Buckets::default();
        let start = Timestamp(0);
        while buckets.take(1, 2, start) {}
        let steps = (1..=60_000).filter(|ms| buckets.take(1, 2, start.plus_ms(*ms)));
        assert_eq!(steps.count(), 2);
    }

    #[test]
    fn it_remembers_so_many_and_keeps_those_that_are_used() {
        let buckets = Buckets::default();
        let start = Timestamp(0);
        while buckets.take(u32::MAX, 3, start) {}
        for key in 0..50_000 {
            assert!(buckets.take(key, 3, start));
        }
        assert!(lock(&buckets.0).len() <= KEYS_MAX);
        assert!(
            !buckets.take(u32::MAX, 3, start),
            "a flood does not free it"
        );
    }

    #[test]
    fn a_network_has_one_bucket() {
        let of = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:10.0.0.9"), "10.0.0.9");
        assert_eq!(of("10.0.0.9"), "10.0.0.9");
    }
}
