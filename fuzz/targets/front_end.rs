//! Settings that decode must extract features from any window without a panic.
#![no_main]
use libfuzzer_sys::fuzz_target;

use tinyops_dsp::FrontEnd;

/// Longer windows than this only take longer.
const READINGS_MAX: usize = 1 << 14;

fuzz_target!(|bytes: &[u8]| {
    let Ok((front_end, used)) = FrontEnd::decode(bytes) else {
        return;
    };
    let readings = front_end.window_len as usize * usize::from(front_end.channel_count);
    if readings > READINGS_MAX || front_end.feature_count() > READINGS_MAX {
        return;
    }
    let window: Vec<f32> = (0..readings)
        .map(|index| f32::from(bytes[(used + index) % bytes.len()]) - 100.0)
        .collect();
    let mut features = vec![0.0; front_end.feature_count()];
    let mut scratch = vec![0.0; front_end.scratch_len()];
    let _ = front_end.extract(&window, &mut features, &mut scratch);
});
