//! Each operation, computed by `tinyops-dsp` from what a file says.

use super::{Output, flatten, shape_of};
use serde_json::Value;
use tinyops_dsp::Real;
use tinyops_dsp::dct::{DctKind, DctNorm, dct};
use tinyops_dsp::fft::{bin_count, power_in_place, rfft};
use tinyops_dsp::filter::{
    Before, Butterworth, Pass, padding_len, pre_emphasize, sosfilt, sosfiltfilt,
};
use tinyops_dsp::mel::{Area, MelBank, MelScale};
use tinyops_dsp::spectrum::{
    Peak, band_energies, bandwidth, centroid, decibel, flatness, magnitudes, peaks, rolloff, welch,
};
use tinyops_dsp::speech::{BinBank, cepstra, normalize_sliding, stft_frame, stft_frame_count};
use tinyops_dsp::statistics::{
    crest_factor, crossing_count, extremes, mean, moments, rms, sample_deviation,
};
use tinyops_dsp::taper::{CosineTaper, Ends};

/// One operation of a file, with typed access to what it says.
pub(super) struct Op<'a> {
    pub(super) file: &'a Value,
    pub(super) op: &'a Value,
    /// Moves every bin of a short-time spectrum by [`super::RESOLUTION`] of the frame's strongest, in a direction of
    /// its own that this seed draws.
    pub(super) nudge: Option<u32>,
}

impl Op<'_> {
    fn get(&self, name: &str) -> &Value {
        let inner = &self.op["params"][name];
        if inner.is_null() {
            &self.op[name]
        } else {
            inner
        }
    }

    fn number(&self, name: &str) -> Result<f64, String> {
        self.get(name)
            .as_f64()
            .ok_or_else(|| format!("`{name}` is not a number"))
    }

    fn count(&self, name: &str) -> Result<usize, String> {
        let value = self
            .get(name)
            .as_u64()
            .ok_or_else(|| format!("`{name}` is not a count"))?;
        usize::try_from(value).map_err(|_| format!("`{name}` is too large"))
    }

    fn text(&self, name: &str) -> &str {
        self.get(name).as_str().unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).as_bool().unwrap_or(false)
    }

    fn list<T: Real>(&self, name: &str) -> Result<Vec<T>, String> {
        let mut numbers = Vec::new();
        flatten(self.get(name), &mut numbers)?;
        Ok(numbers.into_iter().map(T::of).collect())
    }

    fn rate_hz(&self) -> Result<f64, String> {
        for name in ["fs", "sr", "samplerate", "sampling_frequency"] {
            if let Some(rate_hz) = self.get(name).as_f64() {
                return Ok(rate_hz);
            }
        }
        self.file["fs_hz"]
            .as_f64()
            .ok_or_else(|| "no rate".to_string())
    }

    fn signal<T: Real>(&self) -> Result<Vec<T>, String> {
        let channel = self.get("channel").as_u64().unwrap_or(0) as usize;
        let samples = self.file["samples"]
            .get(channel)
            .ok_or_else(|| format!("no channel {channel}"))?;
        let mut numbers = Vec::new();
        flatten(samples, &mut numbers)?;
        Ok(numbers.into_iter().map(T::of).collect())
    }

    /// The first `n` readings from `start`.
    fn excerpt<T: Real>(&self) -> Result<Vec<T>, String> {
        let (signal, n) = (self.signal::<T>()?, self.count("n")?);
        let start = self.get("start").as_u64().unwrap_or(0) as usize;
        let excerpt = signal
            .get(start..start + n)
            .ok_or("the signal is too short")?;
        Ok(excerpt.to_vec())
    }

    fn expected(&self) -> &Value {
        &self.op["output"]
    }

    /// What we give, beside the reference.
    pub(super) fn outputs<T: Real>(&self) -> Result<Vec<Output>, String> {
        match self.op["op"].as_str().unwrap_or_default() {
            "window" => self.window::<T>(),
            "dct" => self.dct::<T>(),
            "butter" => self.butter::<T>(),
            "mel_filterbank" => self.mel_filterbank::<T>(),
            "rfft_magnitude" => self.rfft_magnitude::<T>(),
            "rfft_complex" => self.rfft_complex::<T>(),
            "psd_welch" => self.psd_welch::<T>(),
            "sosfilt" | "sosfiltfilt" => self.filtered::<T>(),
            "stats" => self.stats::<T>(),
            "fft_peaks" => self.fft_peaks::<T>(),
            "band_energy" => self.band_energy::<T>(),
            "stft_magnitude" => self.stft_magnitude::<T>(),
            "stft_complex" => self.stft_complex::<T>(),
            "mel_power" | "mel_db" | "mfcc_librosa" => self.librosa_mel::<T>(),
            "psf_fbank" | "psf_mfcc" => self.psf::<T>(),
            "speechpy_mfe" | "speechpy_mfcc" | "speechpy_cmvnw" => self.speechpy::<T>(),
            "preemphasis" => self.preemphasis::<T>(),
            "spectral_centroid" | "spectral_bandwidth" | "spectral_rolloff"
            | "spectral_flatness" => self.spectral::<T>(),
            other => Err(format!("unknown operation `{other}`")),
        }
    }

    fn window<T: Real>(&self) -> Result<Vec<Output>, String> {
        let taper = match self.text("window") {
            "hann" => CosineTaper::Hann,
            "hamming" => CosineTaper::Hamming,
            "blackman" => CosineTaper::Blackman,
            "boxcar" | "rect" => CosineTaper::Rectangular,
            other => return Err(format!("unknown window `{other}`")),
        };
        let ends = if self.flag("sym") {
            Ends::Symmetric
        } else {
            Ends::Periodic
        };
        let mut weights = vec![T::ZERO; self.count("length")?];
        taper.fill(ends, &mut weights);
        Ok(vec![Output::row(&weights, self.expected())])
    }

    fn dct<T: Real>(&self) -> Result<Vec<Output>, String> {
        let kind = match self.count("type")? {
            2 => DctKind::Two,
            3 => DctKind::Three,
            other => return Err(format!("unknown type {other}")),
        };
        let norm = if self.text("norm") == "ortho" {
            DctNorm::Orthonormal
        } else {
            DctNorm::Plain
        };
        let input = self.list::<T>("input")?;
        let mut output = vec![T::ZERO; input.len()];
        dct(kind, norm, &input, &mut output);
        Ok(vec![Output::row(&output, self.expected())])
    }

    fn design<T: Real>(&self) -> Result<Butterworth<T>, String> {
        let corners = self.list::<f64>("Wn_nyquist_fraction")?;
        let pass = match (self.text("btype"), corners.as_slice()) {
            ("lowpass", [corner]) => Pass::Low(*corner),
            ("highpass", [corner]) => Pass::High(*corner),
            ("bandpass", [low, high]) => Pass::Band(*low, *high),
            (other, _) => return Err(format!("unknown type `{other}`")),
        };
        Butterworth::design(self.count("order")?, pass).ok_or_else(|| "no such filter".to_string())
    }

    fn butter<T: Real>(&self) -> Result<Vec<Output>, String> {
        let design = self.design::<T>()?;
        let sections = design.sections();
        let rows: Vec<T> = sections
            .iter()
            .flat_map(|s| [s.b[0], s.b[1], s.b[2], T::ONE, s.a[0], s.a[1]])
            .collect();
        let (mut b, mut a) = (vec![T::ONE], vec![T::ONE]);
        for section in sections {
            b = product(&b, &section.b);
            a = product(&a, &[T::ONE, section.a[0], section.a[1]]);
        }
        let response: Vec<f64> = self
            .list::<f64>("freq_rad")?
            .iter()
            .map(|&angle| {
                sections
                    .iter()
                    .map(|section| section.magnitude(angle))
                    .product()
            })
            .collect();
        // An odd order leaves an empty last power in both polynomials.
        b.truncate(shape_of(&self.op["b"]).first().copied().unwrap_or(0));
        a.truncate(shape_of(&self.op["a"]).first().copied().unwrap_or(0));
        Ok(vec![
            Output::new(&rows, &[sections.len(), 6], &self.op["sos"]),
            Output::row(&b, &self.op["b"]),
            Output::row(&a, &self.op["a"]),
            Output::row(&response, &self.op["mag"]),
        ])
    }

    fn bank(&self, mel_norm: &str) -> Result<MelBank, String> {
        Ok(MelBank {
            rate_hz: self.rate_hz()?,
            fft_len: self.count("n_fft")?,
            filter_count: self.count("n_mels")?,
            low_hz: self.number("fmin")?,
            high_hz: self.number("fmax")?,
            scale: if self.flag("htk") {
                MelScale::Htk
            } else {
                MelScale::Slaney
            },
            area: if self.text(mel_norm) == "slaney" {
                Area::Unit
            } else {
                Area::Peak
            },
        })
    }

    fn mel_filterbank<T: Real>(&self) -> Result<Vec<Output>, String> {
        let bank = self.bank("norm")?;
        let bins = bin_count(bank.fft_len);
        let mut rows = vec![T::ZERO; bank.filter_count * bins];
        for (index, row) in rows.chunks_exact_mut(bins).enumerate() {
            bank.fill_row(index, row);
        }
        let mut dense = Vec::new();
        for sparse in self.op["sparse"].as_array().into_iter().flatten() {
            let mut values = Vec::new();
            flatten(&sparse["values"], &mut values)?;
            let mut row = vec![0.0; bins];
            let start = sparse["start"].as_u64().unwrap_or(0) as usize;
            row.get_mut(start..start + values.len())
                .ok_or("a row of the reference is too long")?
                .copy_from_slice(&values);
            dense.push(Value::from(row));
        }
        Ok(vec![Output::new(
            &rows,
            &[bank.filter_count, bins],
            &Value::from(dense),
        )])
    }

    fn rfft_magnitude<T: Real>(&self) -> Result<Vec<Output>, String> {
        let mut frame = self.excerpt::<T>()?;
        if self.text("window").starts_with("hann") {
            weigh(&mut frame);
        }
        let mut found = vec![T::ZERO; bin_count(frame.len())];
        magnitudes(&spectrum_of(&frame), &mut found);
        Ok(vec![Output::row(&found, self.expected())])
    }

    fn rfft_complex<T: Real>(&self) -> Result<Vec<Output>, String> {
        Ok(pairs(&spectrum_of(&self.excerpt::<T>()?), self.expected()))
    }

    fn psd_welch<T: Real>(&self) -> Result<Vec<Output>, String> {
        let len = self.count("nperseg")?;
        let hop = len
            .checked_sub(self.count("noverlap")?)
            .ok_or("segments overlap too much")?;
        let mut taper = vec![T::ZERO; len];
        CosineTaper::Hann.fill(Ends::Periodic, &mut taper);
        let mut density = vec![T::ZERO; bin_count(len)];
        let mut scratch = vec![T::ZERO; 2 * len + 2];
        welch(
            &self.signal::<T>()?,
            T::of(self.rate_hz()?),
            &taper,
            hop,
            &mut density,
            &mut scratch,
        );
        Ok(vec![Output::row(&density, self.expected())])
    }

    fn filtered<T: Real>(&self) -> Result<Vec<Output>, String> {
        let (design, mut signal) = (self.design::<T>()?, self.signal::<T>()?);
        if self.op["op"] == "sosfilt" {
            sosfilt(design.sections(), &mut signal);
        } else {
            let pad = padding_len(design.sections());
            let mut extended = vec![T::ZERO; signal.len() + 2 * pad];
            sosfiltfilt(design.sections(), &mut signal, &mut extended);
        }
        signal.truncate(shape_of(self.expected()).first().copied().unwrap_or(0));
        Ok(vec![Output::row(&signal, self.expected())])
    }

    fn stats<T: Real>(&self) -> Result<Vec<Output>, String> {
        let signal = self.signal::<T>()?;
        let m = moments(&signal);
        let (low, high) = extremes(&signal);
        let found = [
            m.mean,
            m.deviation,
            sample_deviation(&signal),
            rms(&signal),
            m.deviation,
            low,
            high,
            m.skewness,
            m.kurtosis,
            high - low,
            crest_factor(&signal),
            T::of_count(crossing_count(&signal, m.mean)),
        ];
        // The count is exact, and would drown the other errors as the largest value.
        let expected = self.expected();
        let others = expected
            .as_array()
            .map(|row| row[..row.len().min(11)].to_vec());
        if expected[11].as_f64() != Some(found[11].double()) {
            return Err(format!(
                "{} crossings, reference has {}",
                found[11].double(),
                expected[11]
            ));
        }
        Ok(vec![Output::row(
            &found[..11],
            &Value::from(others.unwrap_or_default()),
        )])
    }

    /// The mean-removed, Hann-tapered first `n` readings of a channel.
    fn tapered<T: Real>(&self) -> Result<Vec<T>, String> {
        let mut signal = self.signal::<T>()?;
        let mean = mean(signal.iter().copied());
        signal.truncate(self.count("n")?);
        for x in &mut signal {
            *x -= mean;
        }
        weigh(&mut signal);
        Ok(signal)
    }

    fn fft_peaks<T: Real>(&self) -> Result<Vec<Output>, String> {
        let frame = self.tapered::<T>()?;
        let n = frame.len();
        let mut found = vec![T::ZERO; bin_count(n)];
        magnitudes(&spectrum_of(&frame), &mut found);
        let mut highest = vec![Peak::default(); self.count("top")?];
        let count = peaks(&found, T::of(0.1), &mut highest);
        let mut taper = vec![T::ZERO; n];
        CosineTaper::Hann.fill(Ends::Periodic, &mut taper);
        let mut weight = T::ZERO;
        for &w in &taper {
            weight += w;
        }
        let (expected, bin_hz) = (self.expected(), self.rate_hz()? / n as f64);
        let column = |index: usize| {
            let rows = expected.as_array().into_iter().flatten();
            Value::from(rows.map(|row| row[index].clone()).collect::<Vec<_>>())
        };
        let hz: Vec<f64> = highest[..count]
            .iter()
            .map(|peak| peak.bin as f64 * bin_hz)
            .collect();
        let amplitudes: Vec<T> = highest[..count]
            .iter()
            .map(|peak| T::of(2.0) * peak.height / weight)
            .collect();
        Ok(vec![
            Output::row(&hz, &column(0)),
            Output::row(&amplitudes, &column(1)),
        ])
    }

    fn band_energy<T: Real>(&self) -> Result<Vec<Output>, String> {
        let frame = self.tapered::<T>()?;
        let mut spectrum = spectrum_of(&frame);
        let mut energies = vec![T::ZERO; self.count("bands")?];
        band_energies(power_in_place(&mut spectrum), frame.len(), &mut energies);
        Ok(vec![Output::row(&energies, self.expected())])
    }

    /// The spectra of all frames, row by row, and the number of bins.
    fn stft<T: Real>(&self, centred: bool) -> Result<(Vec<Vec<T>>, usize), String> {
        let (signal, fft_len, hop) = (
            self.signal::<T>()?,
            self.count("n_fft")?,
            self.count("hop")?,
        );
        let mut taper = vec![T::ZERO; self.count("win_length")?];
        CosineTaper::Hann.fill(Ends::Periodic, &mut taper);
        let mut frame = vec![T::ZERO; fft_len];
        let count = stft_frame_count(signal.len(), fft_len, hop, centred);
        let rows = (0..count).map(|index| {
            let mut spectrum = vec![T::ZERO; 2 * bin_count(fft_len)];
            stft_frame(
                &signal,
                &taper,
                hop,
                centred,
                index,
                &mut frame,
                &mut spectrum,
            );
            if let Some(seed) = self.nudge {
                move_bins(&mut spectrum, seed, index);
            }
            spectrum
        });
        Ok((rows.collect(), bin_count(fft_len)))
    }

    fn stft_magnitude<T: Real>(&self) -> Result<Vec<Output>, String> {
        let (mut rows, bins) = self.stft::<T>(self.flag("center"))?;
        rows.truncate(shape_of(self.expected()).first().copied().unwrap_or(0));
        let found = rows_of(&rows, bins, |spectrum, row| magnitudes(spectrum, row));
        Ok(vec![Output::new(
            &found,
            &[rows.len(), bins],
            self.expected(),
        )])
    }

    fn stft_complex<T: Real>(&self) -> Result<Vec<Output>, String> {
        let note = self.text("note");
        let digits: String = note.chars().filter(char::is_ascii_digit).collect();
        let index: usize = digits
            .parse()
            .map_err(|_| format!("no frame in `{note}`"))?;
        let (rows, _) = self.stft::<T>(self.flag("center"))?;
        Ok(pairs(
            rows.get(index).ok_or("too few frames")?,
            self.expected(),
        ))
    }

    /// Power, level or cepstra; the parameters of the latter two stand at the mel power with the same scale.
    fn librosa_mel<T: Real>(&self) -> Result<Vec<Output>, String> {
        let kind = self.op["op"].as_str().unwrap_or_default();
        let norm = if kind == "mfcc_librosa" {
            "mel_norm"
        } else {
            "norm"
        };
        let ops = self.file["ops"].as_array().into_iter().flatten();
        let source = ops
            .map(|op| Op {
                file: self.file,
                op,
                nudge: self.nudge,
            })
            .find(|other| {
                other.op["op"] == "mel_power"
                    && other.flag("htk") == self.flag("htk")
                    && other.get("norm") == self.get(norm)
            })
            .ok_or("no mel power with the same scale")?;
        let bank = source.bank("norm")?;
        let (spectra, bins) = source.stft::<T>(source.flag("center"))?;
        let mut weights = vec![T::ZERO; bank.filter_count * bins];
        for (index, row) in weights.chunks_exact_mut(bins).enumerate() {
            bank.fill_row(index, row);
        }
        let mel = |spectrum: &[T], row: &mut [T]| {
            let mut spectrum = spectrum.to_vec();
            let power = power_in_place(&mut spectrum);
            for (weights, y) in weights.chunks_exact(bins).zip(row) {
                for (&weight, &p) in weights.iter().zip(power.iter()) {
                    *y += weight * p;
                }
                if kind != "mel_power" {
                    *y = decibel(*y, T::of(1e-10));
                }
            }
        };
        let found = rows_of(&spectra, bank.filter_count, mel);
        if kind != "mfcc_librosa" {
            return Ok(vec![Output::new(
                &found,
                &[spectra.len(), bank.filter_count],
                self.expected(),
            )]);
        }
        let width = self.count("n_mfcc")?;
        let levels: Vec<Vec<T>> = found
            .chunks_exact(bank.filter_count)
            .map(<[T]>::to_vec)
            .collect();
        let found = rows_of(&levels, width, |level, row| {
            dct(DctKind::Two, DctNorm::Orthonormal, level, row);
        });
        Ok(vec![Output::new(
            &found,
            &[spectra.len(), width],
            self.expected(),
        )])
    }

    fn psf<T: Real>(&self) -> Result<Vec<Output>, String> {
        let (mut signal, rate_hz) = (self.signal::<T>()?, self.rate_hz()?);
        let half_up = |x: f64| (x + 0.5).floor() as usize;
        let (len, step) = (
            half_up(self.number("winlen")? * rate_hz),
            half_up(self.number("winstep")? * rate_hz),
        );
        let count = 1 + signal.len().saturating_sub(len).div_ceil(step);
        pre_emphasize(&mut signal, T::of(self.number("preemph")?), Before::Nothing);
        signal.resize(signal.len().max((count - 1) * step + len), T::ZERO);
        let mut taper = vec![T::ZERO; len];
        CosineTaper::Hamming.fill(Ends::Symmetric, &mut taper);
        let (fft_len, filter_count) = (self.count("nfft")?, self.count("nfilt")?);
        let low_hz = self.number("lowfreq").unwrap_or(0.0);
        let high_hz = self.number("highfreq").unwrap_or(rate_hz / 2.0);
        let bank = BinBank::psf(rate_hz, fft_len, filter_count, low_hz, high_hz);
        let frames = (0..count).map(|index| {
            let frame = &signal[index * step..index * step + len];
            frame
                .iter()
                .zip(&taper)
                .map(|(&x, &w)| x * w)
                .collect::<Vec<T>>()
        });
        let lifter = if self.op["op"] == "psf_mfcc" {
            self.count("ceplifter")?
        } else {
            0
        };
        let width = self
            .count("numcep")
            .ok()
            .filter(|_| self.op["op"] == "psf_mfcc");
        Ok(vec![
            bank_rows(&bank, frames, width, lifter, self.expected()).0,
        ])
    }

    fn speechpy<T: Real>(&self) -> Result<Vec<Output>, String> {
        let kind = self.op["op"].as_str().unwrap_or_default();
        let source = if kind == "speechpy_cmvnw" {
            let ops = self.file["ops"].as_array().into_iter().flatten();
            ops.map(|op| Op {
                file: self.file,
                op,
                nudge: self.nudge,
            })
            .find(|other| other.op["op"] == "speechpy_mfcc")
            .ok_or("no cepstra to normalise")?
        } else {
            Op {
                file: self.file,
                op: self.op,
                nudge: self.nudge,
            }
        };
        let (signal, rate_hz) = (source.signal::<T>()?, source.rate_hz()?);
        let len = (source.number("frame_length")? * rate_hz).round_ties_even() as usize;
        let stride = (source.number("frame_stride")? * rate_hz).round_ties_even() as usize;
        let count = signal
            .len()
            .checked_sub(len)
            .ok_or("the signal is too short")?
            / stride;
        let high_hz = source.number("high_frequency").unwrap_or(rate_hz / 2.0);
        let (fft_len, filter_count) = (source.count("fft_length")?, source.count("num_filters")?);
        let bank = BinBank::speechpy(
            rate_hz,
            fft_len,
            filter_count,
            source.number("low_frequency")?,
            high_hz,
        );
        let frames = (0..count).map(|index| signal[index * stride..index * stride + len].to_vec());
        let width = source
            .count("num_cepstral")
            .ok()
            .filter(|_| kind != "speechpy_mfe");
        let (output, mut rows) = bank_rows(&bank, frames, width, 0, self.expected());
        if kind != "speechpy_cmvnw" {
            return Ok(vec![output]);
        }
        let width = width.ok_or("no width")?;
        let mut removed = vec![T::ZERO; rows.len()];
        let variance = self.flag("variance_normalization");
        normalize_sliding(
            &mut rows,
            width,
            self.count("win_size")?,
            variance,
            &mut removed,
        );
        Ok(vec![Output::new(&rows, &[count, width], self.expected())])
    }

    fn preemphasis<T: Real>(&self) -> Result<Vec<Output>, String> {
        let mut signal = self.signal::<T>()?;
        let before = if self.op["lib"]
            .as_str()
            .unwrap_or_default()
            .starts_with("speechpy")
        {
            Before::Last
        } else {
            Before::Nothing
        };
        pre_emphasize(&mut signal, T::of(self.number("cof")?), before);
        signal.truncate(shape_of(self.expected()).first().copied().unwrap_or(0));
        Ok(vec![Output::row(&signal, self.expected())])
    }

    fn spectral<T: Real>(&self) -> Result<Vec<Output>, String> {
        let (spectra, bins) = self.stft::<T>(false)?;
        let bin_hz = T::of(self.rate_hz()? / self.count("n_fft")? as f64);
        let kind = self.op["op"].as_str().unwrap_or_default();
        let found = rows_of(&spectra, 1, |spectrum, value| {
            let mut row = vec![T::ZERO; bins];
            magnitudes(spectrum, &mut row);
            value[0] = match kind {
                "spectral_centroid" => centroid(&row, bin_hz),
                "spectral_bandwidth" => bandwidth(&row, bin_hz),
                "spectral_rolloff" => rolloff(&row, bin_hz, T::of(0.85)),
                _ => {
                    let power: Vec<T> = row.iter().map(|&m| m * m).collect();
                    flatness(&power)
                }
            };
        });
        Ok(vec![Output::row(&found, self.expected())])
    }
}

/// Moves every bin by [`super::RESOLUTION`] of the strongest, each at an angle of its own.
fn move_bins<T: Real>(spectrum: &mut [T], seed: u32, frame: usize) {
    let strongest = spectrum.chunks_exact(2).fold(0.0_f64, |strongest, pair| {
        strongest.max(pair[0].double().hypot(pair[1].double()))
    });
    for (bin, pair) in spectrum.chunks_exact_mut(2).enumerate() {
        // Steps of the golden ratio's multiples spread the angles over bins and frames, differently for each seed.
        let step = (f64::from(seed + 1) * 0.618_033_988_75).fract();
        let place = (bin + 1 + 1009 * frame) as f64 * step;
        let (sin, cos) = (std::f64::consts::TAU * place.fract()).sin_cos();
        pair[0] += T::of(super::RESOLUTION * strongest * cos);
        pair[1] += T::of(super::RESOLUTION * strongest * sin);
    }
}

/// Energies of all frames, or their cepstra where a width is given.
fn bank_rows<T: Real>(
    bank: &BinBank,
    frames: impl Iterator<Item = Vec<T>>,
    cepstrum_count: Option<usize>,
    lifter: usize,
    expected: &Value,
) -> (Output, Vec<T>) {
    let mut padded = vec![T::ZERO; bank.fft_len];
    let mut spectrum = vec![T::ZERO; 2 * bin_count(bank.fft_len)];
    let mut energies = vec![T::ZERO; bank.filter_count];
    let (mut rows, mut count) = (Vec::new(), 0);
    for frame in frames {
        count += 1;
        let energy = bank.energies(&frame, &mut padded, &mut spectrum, &mut energies);
        match cepstrum_count {
            Some(width) => {
                let mut row = vec![T::ZERO; width];
                cepstra(&mut energies, energy, lifter, &mut row);
                rows.extend(row);
            }
            None => rows.extend_from_slice(&energies),
        }
    }
    let width = cepstrum_count.unwrap_or(bank.filter_count);
    (Output::new(&rows, &[count, width], expected), rows)
}

fn rows_of<T: Real>(sources: &[Vec<T>], width: usize, fill: impl Fn(&[T], &mut [T])) -> Vec<T> {
    let mut rows = vec![T::ZERO; sources.len() * width];
    for (source, row) in sources.iter().zip(rows.chunks_exact_mut(width)) {
        fill(source, row);
    }
    rows
}

fn spectrum_of<T: Real>(frame: &[T]) -> Vec<T> {
    let mut spectrum = vec![T::ZERO; 2 * bin_count(frame.len())];
    rfft(frame, &mut spectrum);
    spectrum
}

fn weigh<T: Real>(frame: &mut [T]) {
    let mut taper = vec![T::ZERO; frame.len()];
    CosineTaper::Hann.fill(Ends::Periodic, &mut taper);
    for (x, weight) in frame.iter_mut().zip(taper) {
        *x *= weight;
    }
}

fn pairs<T: Real>(spectrum: &[T], expected: &Value) -> Vec<Output> {
    let part = |offset: usize| {
        spectrum
            .iter()
            .skip(offset)
            .step_by(2)
            .copied()
            .collect::<Vec<T>>()
    };
    vec![
        Output::row(&part(0), &expected["re"]),
        Output::row(&part(1), &expected["im"]),
    ]
}

fn product<T: Real>(a: &[T], b: &[T]) -> Vec<T> {
    let mut product = vec![T::ZERO; a.len() + b.len() - 1];
    for (i, &x) in a.iter().enumerate() {
        for (j, &y) in b.iter().enumerate() {
            product[i + j] += x * y;
        }
    }
    product
}
