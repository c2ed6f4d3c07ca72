//! How far behind this machine is: measured, not guessed. Calls are admitted only while media is on time.
//!
//! A task that wants to be woken every 50 ms notes how late it is. The worst of the last seconds says whether another
//! call would make the calls that live stutter. Analysis gives way first, because the recording holds what it needs;
//! then new calls are turned away, politely; media of live calls never gives way.

use crate::limits;
use crate::metrics;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What may be done at the present lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Load {
    /// Everything.
    Normal,
    /// Voices are analysed after their calls.
    Shedding,
    /// No new calls.
    Full,
}

/// The lag as it is now.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    worst_us: AtomicU64,
    load: AtomicU8,
    /// At least [`Load::Shedding`], whatever is measured.
    drill: AtomicBool,
}

impl Lag {
    /// What may be done now.
    pub(crate) fn load(&self) -> Load {
        let measured = self.measured();
        if self.drill.load(Ordering::Relaxed) { measured.max(Load::Shedding) } else { measured }
    }

    /// From now on behaves as if voices could not be analysed in time.
    pub(crate) fn drill(&self, on: bool) {
        self.drill.store(on, Ordering::Relaxed);
    }

    /// What the lag says, drill or not.
    pub(crate) fn measured(&self) -> Load {
        match self.load.load(Ordering::Relaxed) {
            0 => Load::Normal,
            1 => Load::Shedding,
            _ => Load::Full,
        }
    }

    /// The worst lag of the last seconds.
    pub(crate) fn worst(&self) -> Duration {
        Duration::from_micros(self.worst_us.load(Ordering::Relaxed))
    }

    fn note(&self, window: &Window) {
        let worst = window.worst();
        let load = next(self.measured(), worst, window.is_full());
        self.worst_us.store(u64::try_from(worst.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.load.store(load as u8, Ordering::Relaxed);
        metrics::lag(worst, load as u8);
    }
}

/// The last so many measurements.
#[derive(Debug, Default)]
struct Window {
    late: std::collections::VecDeque<Duration>,
}

impl Window {
    fn push(&mut self, late: Duration) {
        if self.is_full() {
            self.late.pop_front();
        }
        self.late.push_back(late);
    }

    fn is_full(&self) -> bool {
        self.late.len() >= limits::LAG_WINDOW
    }

    /// The third worst: two hiccups are no overload.
    fn worst(&self) -> Duration {
        let mut late: Vec<Duration> = self.late.iter().copied().collect();
        late.sort_unstable_by(|a, b| b.cmp(a));
        late.get(2).copied().unwrap_or_default()
    }
}

/// What follows from the lag. Whatever gave way comes back at half the lag, so that it does not flutter.
fn next(before: Load, worst: Duration, known: bool) -> Load {
    if !known {
        return before;
    }
    let reached = |limit: Duration, had: bool| worst >= if had { limit / 2 } else { limit };
    if reached(limits::LAG_FULL, before >= Load::Full) {
        Load::Full
    } else if reached(limits::LAG_SHED, before >= Load::Shedding) {
        Load::Shedding
    } else {
        Load::Normal
    }
}

/// Measures until told to stop.
pub(crate) async fn watch(lag: std::sync::Arc<Lag>, stop: CancellationToken) {
    let mut window = Window::default();
    let mut before = Load::Normal;
    loop {
        let due = tokio::time::Instant::now() + limits::LAG_EVERY;
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = stop.cancelled() => return,
        }
        window.push(due.elapsed());
        lag.note(&window);
        let load = lag.load();
        if load != before {
            tracing::warn!(?load, worst_ms = lag.worst().as_millis(), "the load of this machine changed");
            before = load;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Duration = limits::LAG_FULL;

    #[test]
    fn what_gave_way_comes_back_at_half_the_lag() {
        assert_eq!(next(Load::Normal, FULL, true), Load::Full);
        assert_eq!(next(Load::Full, FULL * 2 / 3, true), Load::Full);
        assert_eq!(next(Load::Full, limits::LAG_SHED, true), Load::Shedding);
        assert_eq!(next(Load::Shedding, limits::LAG_SHED / 3, true), Load::Normal);
        assert_eq!(next(Load::Normal, FULL, false), Load::Normal, "one look is not enough");
    }

    #[test]
    fn two_hiccups_are_no_overload() {
        let mut window = Window::default();
        for n in 0..limits::LAG_WINDOW * 2 {
            window.push(if n % (limits::LAG_WINDOW / 2) == 0 { FULL } else { Duration::ZERO });
        }
        assert_eq!(window.worst(), Duration::ZERO);
        window.push(FULL);
        window.push(FULL);
        assert_eq!(window.worst(), FULL);
        assert_eq!(window.late.len(), limits::LAG_WINDOW);
    }
}
