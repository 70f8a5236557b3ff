//! Processor time as the system counts it, in hundredths of a second.

/// Of this process so far, in its own code and in the system's, in seconds.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn own_seconds() -> Result<f64, String> {
    // Fields 14 and 15 of proc(5).
    seconds(14)
}

/// Of every process that was started from here and has ended, and of theirs, in seconds.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn children_seconds() -> Result<f64, String> {
    // Fields 16 and 17 of proc(5).
    seconds(16)
}

/// The sum of a field of `/proc/self/stat` and the next one.
fn seconds(field: usize) -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    // The name in brackets, field 2, may hold anything.
    let (_, fields) = stat
        .rsplit_once(')')
        .ok_or("no fields in /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(field - 3).take(2);
    let ticks: Option<Vec<f64>> = ticks.map(|ticks| ticks.parse().ok()).collect();
    match ticks.as_deref() {
        Some([user, system]) => Ok((user + system) / 100.0),
        _ => Err("no times in /proc/self/stat".to_owned()),
    }
}
