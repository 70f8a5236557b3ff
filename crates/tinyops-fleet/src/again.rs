//! Transactions that begin again after another writer got in their way.

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
