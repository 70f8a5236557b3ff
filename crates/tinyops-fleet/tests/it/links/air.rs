//! What lies between two ends: time, a rate, and everything that goes wrong, all from one seed.

/// What a link does to what goes over it. Times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) seed: u64,
    /// Shares of messages.
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    pub(crate) damage: f64,
    /// Up to so much later than it should, each by itself.
    pub(crate) reorder_ms: u64,
    pub(crate) latency_ms: u64,
    pub(crate) bits_per_second: u64,
    /// Share of the time that a sender may send; 1 for all.
    pub(crate) duty: f64,
    /// Every so often, for so long, nothing passes.
    pub(crate) cut: Option<(u64, u64)>,
}

impl Weather {
    pub(crate) fn clear(latency_ms: u64, bits_per_second: u64) -> Weather {
        Weather {
            seed: 1,
            loss: 0.0,
            duplicates: 0.0,
            damage: 0.0,
            reorder_ms: 0,
            latency_ms,
            bits_per_second,
            duty: 1.0,
            cut: None,
        }
    }

    pub(crate) fn is_cut(&self, at_us: u64) -> bool {
        self.cut
            .is_some_and(|(every, lasts)| at_us / 1000 % every + lasts >= every)
    }
}

/// One direction of a link.
pub(crate) struct Way {
    pub(crate) weather: Weather,
    state: u64,
    free_at_us: u64,
}

impl Way {
    pub(crate) fn new(weather: Weather, direction: u64) -> Way {
        let state = weather.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ direction;
        Way {
            weather,
            state,
            free_at_us: 0,
        }
    }

    /// When, and as what, a message arrives: not at all, once or more. `airtime_us` is what the link itself says it takes.
    pub(crate) fn send(
        &mut self,
        now_us: u64,
        message: &[u8],
        airtime_us: Option<u64>,
    ) -> Vec<(u64, Vec<u8>)> {
        let weather = self.weather;
        let takes_us =
            airtime_us.unwrap_or(message.len() as u64 * 8_000_000 / weather.bits_per_second);
        let begins = self.free_at_us.max(now_us);
        self.free_at_us = begins + (takes_us as f64 / weather.duty) as u64;
        let ends = begins + takes_us;
        let mut arrivals = Vec::new();
        let copies = 1 + u32::from(self.chance(weather.duplicates));
        for _ in 0..copies {
            let late_us = match weather.reorder_ms {
                0 => 0,
                ms => self.draw() % (ms * 1000),
            };
            let at = ends + weather.latency_ms * 1000 + late_us;
            let is_lost = self.chance(weather.loss) || weather.is_cut(begins) || weather.is_cut(at);
            let mut bytes = message.to_vec();
            if self.chance(weather.damage) && !bytes.is_empty() {
                let bit = self.draw() as usize % (8 * bytes.len());
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            if !is_lost {
                arrivals.push((at, bytes));
            }
        }
        arrivals
    }

    fn chance(&mut self, share: f64) -> bool {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64 <= share && share > 0.0
    }

    fn draw(&mut self) -> u64 {
        // Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators".
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
