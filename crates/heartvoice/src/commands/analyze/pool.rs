//! A few threads that work through a list, and give what they make back in the order of the list.
//!
//! Two things are bounded. A thread does not begin a piece of work that is far ahead of the one whose result is due
//! next, so finished results never pile up. And work that needs much memory waits for [`Room`] until other such work is
//! done; how the waiting falls out changes when results come, never what they are.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Pieces of work begun beyond the one that is due next, for each thread.
const AHEAD: usize = 8;
/// Samples that may be decoded at the same time: what one file may have at most, 480 MB.
const ROOM_SAMPLES: u64 = voice::analyzer::MAX_SPAN_SAMPLES as u64;

/// Memory for decoded audio, shared by all threads.
#[derive(Debug)]
pub(super) struct Room {
    taken: Mutex<u64>,
    freed: Condvar,
}

/// A share of the room, until it is dropped.
#[derive(Debug)]
pub(super) struct Share<'a> {
    room: &'a Room,
    samples: u64,
}

impl Room {
    pub(super) fn new() -> Self {
        Self { taken: Mutex::new(0), freed: Condvar::new() }
    }

    /// Waits until there is room for so many samples; for more than everything, until there is nothing else.
    pub(super) fn take(&self, samples: u64) -> Share<'_> {
        let samples = samples.min(ROOM_SAMPLES);
        let mut taken = lock(&self.taken);
        while *taken + samples > ROOM_SAMPLES {
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken += samples;
        Share { room: self, samples }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *lock(&self.room.taken) -= self.samples;
        self.room.freed.notify_all();
    }
}

/// How far things have come.
#[derive(Debug, Default)]
struct State {
    /// The next piece of work that nobody has begun.
    next: usize,
    /// The next result to give out.
    due: usize,
    stopped: bool,
}

/// Does `work` for every item on up to `threads` threads, and gives the results to `emit` one by one in the order of
/// the items, until that breaks off.
pub(super) fn in_order<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(usize, &T) -> R + Sync,
    mut emit: impl FnMut(R) -> ControlFlow<()>,
) -> std::io::Result<ControlFlow<()>> {
    let threads = threads.clamp(1, items.len().max(1));
    let (state, moved) = (Mutex::new(State::default()), Condvar::new());
    let (done, results) = sync_channel(threads);
    let work = &work;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, state, moved) = (done.clone(), &state, &moved);
            let thread = std::thread::Builder::new().name("analyse".into());
            let started = thread.spawn_scoped(scope, move || {
                while let Some(index) = begin(state, moved, items.len(), threads * AHEAD)
                    && let Some(item) = items.get(index)
                    && done.send((index, work(index, item))).is_ok()
                {}
            });
            if let Err(error) = started {
                lock(state).stopped = true;
                moved.notify_all();
                drop(results);
                return Err(error);
            }
        }
        drop(done);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        for (index, result) in &results {
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(&due) {
                due += 1;
                let flow = emit(result);
                let mut state = lock(&state);
                state.due = due;
                state.stopped = flow.is_break();
                drop(state);
                moved.notify_all();
                if flow.is_break() {
                    // Threads that are about to give a result find nobody there and end.
                    drop(results);
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// The next piece of work, once it is not too far ahead.
fn begin(state: &Mutex<State>, moved: &Condvar, count: usize, ahead: usize) -> Option<usize> {
    let mut state = lock(state);
    while !state.stopped && state.next < count && state.next >= state.due + ahead {
        state = moved.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    if state.stopped || state.next >= count {
        return None;
    }
    state.next += 1;
    Some(state.next - 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn results_come_in_order_whoever_is_slow() {
        let items: Vec<u64> = (0..200).collect();
        for threads in [1, 2, 7, 500] {
            let mut got = Vec::new();
            let flow = in_order(
                &items,
                threads,
                |index, item| {
                    std::thread::sleep(Duration::from_micros(if index % 13 == 0 { 900 } else { 10 }));
                    item * 3
                },
                |result| {
                    got.push(result);
                    ControlFlow::Continue(())
                },
            );
            assert!(flow.unwrap().is_continue());
            assert_eq!(got, items.iter().map(|item| item * 3).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nobody_runs_far_ahead_of_a_slow_first_piece() {
        let begun = AtomicUsize::new(0);
        let mut most_ahead = 0;
        let count = |index: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            if index == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        let mut due = 0;
        let flow = in_order(
            &[(); 1_000],
            2,
            |index, ()| count(index),
            |()| {
                most_ahead = most_ahead.max(begun.load(Ordering::SeqCst) - due);
                due += 1;
                ControlFlow::Continue(())
            },
        );
        assert!(flow.unwrap().is_continue() && due == 1_000);
        assert!(most_ahead <= 2 * AHEAD + 2, "{most_ahead}");
    }

    #[test]
    fn a_reader_that_has_enough_ends_the_work() {
        let begun = AtomicUsize::new(0);
        let mut left = 3;
        let flow = in_order(
            &[(); 10_000],
            4,
            |_, ()| begun.fetch_add(1, Ordering::SeqCst),
            |_| {
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert!(flow.unwrap().is_break() && begun.load(Ordering::SeqCst) < 100);
    }

    #[test]
    fn large_pieces_wait_for_each_other() {
        let room = Room::new();
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let sizes = [ROOM_SAMPLES / 2, 10 * ROOM_SAMPLES, ROOM_SAMPLES / 2, 1, ROOM_SAMPLES, 7];
        let flow = in_order(
            &sizes,
            6,
            |_, size| {
                let share = room.take(*size);
                most.fetch_max(now.fetch_add(share.samples, Ordering::SeqCst) + share.samples, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(2));
                now.fetch_sub(share.samples, Ordering::SeqCst);
            },
            |()| ControlFlow::Continue(()),
        );
        assert!(flow.unwrap().is_continue() && most.load(Ordering::SeqCst) <= ROOM_SAMPLES);
    }
}
