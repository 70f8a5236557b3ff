//! What a device has told about itself, in units of differential privacy, and how much more it may tell.
//!
//! ```text
//! offset  bytes
//!  0       8   spent in this period: monitoring, update; u32, millionths of ρ
//!  8       4   windows that have left it for an annotator in this period, u32
//! 12       2   minutes of this period that have passed while the device was on, u16
//! ```
//! A device without a clock counts the time that it is on, as its driver tells it. That is never more than the time that
//! has passed, so a period is never shorter than it should be; what a reset forgets makes it longer.

use tinyops_wire::mask::Purpose;

use crate::settings::Budgets;

pub(crate) const LEDGER_BYTES: usize = 14;

/// Minutes of a period: 30 days.
const PERIOD_MINUTES: u16 = 30 * 24 * 60;

/// What is spent. It is written before what it pays for is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ledger {
    spent: [u32; 3],
    minutes: u16,
}

impl Ledger {
    pub(crate) const NEW: Ledger = Ledger {
        spent: [0; 3],
        minutes: 0,
    };

    /// Lets time pass; a period that is over begins anew.
    pub(crate) fn pass(&mut self, minutes: u64) {
        let minutes = u64::from(self.minutes).saturating_add(minutes);
        if minutes >= u64::from(PERIOD_MINUTES) {
            *self = Ledger::NEW;
        } else {
            self.minutes = minutes as u16;
        }
    }

    /// Pays for something to be told; `None` if it costs more than is left, and nothing is paid. A budget of 0 pays for
    /// nothing, not even for what costs nothing.
    #[must_use]
    pub(crate) fn pay(self, purpose: Purpose, cost: u32, budgets: &Budgets) -> Option<Ledger> {
        let mut after = self;
        let spent = &mut after.spent[index(purpose)];
        *spent = spent.checked_add(cost)?;
        let budget = budgets.of(purpose);
        (budget > 0 && *spent <= budget).then_some(after)
    }

    /// Notes that so many windows leave the device, of so many in a period; `None` if that is more than are left.
    #[must_use]
    pub(crate) fn pay_windows(self, count: u32, quota: u32) -> Option<Ledger> {
        let mut after = self;
        let spent = &mut after.spent[index(Purpose::Windows)];
        *spent = spent.checked_add(count)?;
        (*spent <= quota).then_some(after)
    }

    /// What is spent for a purpose in this period, in millionths of ρ; of windows, how many.
    pub(crate) fn spent(&self, purpose: Purpose) -> u32 {
        self.spent[index(purpose)]
    }

    /// What is left for a purpose: 1 not even for something of this cost, 2 less than half, 3 half or more.
    pub(crate) fn class(&self, purpose: Purpose, cost: u32, budgets: &Budgets) -> u8 {
        let budget = budgets.of(purpose);
        let left = budget.saturating_sub(self.spent(purpose));
        if budget == 0 || left < cost {
            1
        } else if left < budget / 2 {
            2
        } else {
            3
        }
    }

    pub(crate) fn encode(&self) -> [u8; LEDGER_BYTES] {
        let mut out = [0; LEDGER_BYTES];
        for (place, spent) in out.chunks_exact_mut(4).zip(&self.spent) {
            place.copy_from_slice(&spent.to_le_bytes());
        }
        out[12..].copy_from_slice(&self.minutes.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; LEDGER_BYTES]) -> Ledger {
        let word = |at: usize| u32::from_le_bytes(core::array::from_fn(|index| bytes[at + index]));
        Ledger {
            spent: [word(0), word(4), word(8)],
            minutes: u16::from_le_bytes([bytes[12], bytes[13]]),
        }
    }
}

fn index(purpose: Purpose) -> usize {
    purpose as usize - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_to_its_end_and_not_beyond() {
        let budgets = Budgets::default();
        let mut ledger = Ledger::NEW;
        let cost = 1_250;
        for paid in 0..30 {
            let class = ledger.class(Purpose::Monitoring, cost, &budgets);
            assert_eq!(class, if paid <= 15 { 3 } else { 2 }, "{paid}");
            ledger = ledger.pay(Purpose::Monitoring, cost, &budgets).unwrap();
        }
        assert_eq!(ledger.spent(Purpose::Monitoring), 37_500);
        assert_eq!(ledger.pay(Purpose::Monitoring, cost, &budgets), None);
        assert_eq!(ledger.pay(Purpose::Monitoring, 1, &budgets), None);
        assert_eq!(ledger.class(Purpose::Monitoring, cost, &budgets), 1);
        // One without noise costs nothing, and still has to be allowed.
        assert_eq!(ledger.pay(Purpose::Monitoring, 0, &budgets), Some(ledger));
        assert_eq!(ledger.pay(Purpose::Windows, 0, &budgets), None);
        assert_eq!(ledger.class(Purpose::Windows, 0, &budgets), 1);
        // Windows are counted, whatever the budgets say.
        let told = ledger.pay_windows(5, 8).unwrap();
        assert_eq!(told.spent(Purpose::Windows), 5);
        assert_eq!(told.pay_windows(4, 8), None);
        assert_eq!(told.pay_windows(u32::MAX, u32::MAX), None);
        assert_eq!(told.pay_windows(3, 8).unwrap().spent(Purpose::Windows), 8);
        assert_eq!(Ledger::decode(&told.encode()), told);
        // Another purpose has a budget of its own.
        assert!(ledger.pay(Purpose::Update, 20_000, &budgets).is_some());
        assert_eq!(ledger.pay(Purpose::Update, u32::MAX, &budgets), None);
        assert_eq!(Ledger::decode(&ledger.encode()), ledger);
        ledger.pass(43_199);
        assert_eq!(ledger.spent(Purpose::Monitoring), 37_500);
        ledger.pass(1);
        assert_eq!(ledger, Ledger::NEW);
        ledger.pass(u64::MAX);
        assert_eq!(ledger, Ledger::NEW);
    }
}
