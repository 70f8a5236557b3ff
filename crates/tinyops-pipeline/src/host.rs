//! What this process has taken of its machine so far, where the system tells.

use tinyops_store::Json;

/// Seconds of processor time, and memory at most, under the names that trackers of experiments chart.
///
/// # Units
/// `process_cpu_seconds` in seconds, of all cores; `process_memory_max_megabytes` in 10⁶ bytes. Both are absent where
/// there is no `/proc`.
pub(crate) fn figures() -> Json {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let mut found = serde_json::Map::new();
    if let Some(seconds) = cpu_seconds(&read("/proc/self/stat")) {
        found.insert("process_cpu_seconds".to_owned(), seconds.into());
    }
    if let Some(megabytes) = memory_max_megabytes(&read("/proc/self/status")) {
        found.insert("process_memory_max_megabytes".to_owned(), megabytes.into());
    }
    Json::Object(found)
}

/// `utime` and `stime`, fields 14 and 15 of proc_pid_stat(5), in ticks of which every Linux has 100 a second.
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of the program stands in parentheses and may hold spaces.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

/// `VmHWM` of proc_pid_status(5), which the system tells in units of 1024 bytes.
fn memory_max_megabytes(status: &str) -> Option<f64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        let status = "Name:\ttinyops\nVmHWM:\t   62500 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(memory_max_megabytes(status), Some(64.0));
        assert_eq!(
            (cpu_seconds(""), memory_max_megabytes("VmHWM: x kB")),
            (None, None)
        );
    }
}
