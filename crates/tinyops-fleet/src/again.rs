//! What is tried again: transactions that another writer got in the way of, and others who do not answer.

/// One who does not answer is asked again after this long, then after twice as long, and so on.
const RETRY_MS: i64 = 10_000;
/// At most so long lies between two attempts.
const RETRY_MAX_MS: i64 = 3_600_000;

/// How long after so many attempts in vain the next one comes, in milliseconds.
pub(crate) fn retry_ms(attempts: u32) -> i64 {
    let doublings = attempts.saturating_sub(1).min(20);
    (RETRY_MS << doublings).min(RETRY_MAX_MS)
}

/// How often one is begun, all in all.
pub(crate) const TRIES: u32 = 5;

/// Does the body, which is one transaction, and again if it ends in a conflict.
///
/// Over SQLite none does; over PostgreSQL a serializable transaction may, however it waits for its turn.
macro_rules! again {
    ($body:block) => {{
        let mut tries = 1;
        loop {
            let done: Result<_, $crate::FleetError> = async { $body }.await;
            match done {
                Err($crate::FleetError::Store(error))
                    if error.is_conflict() && tries < $crate::again::TRIES =>
                {
                    tries += 1
                }
                done => break done,
            }
        }
    }};
}
pub(crate) use again;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_at_longer_and_longer_intervals() {
        let waits: Vec<i64> = [1, 2, 3, 9, 10, 1000].map(|n| retry_ms(n) / 1000).to_vec();
        assert_eq!(waits, [10, 20, 40, 2560, 3600, 3600]);
    }
}
