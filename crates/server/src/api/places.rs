//! Places for what takes long or much: so many at once, and of one caller only some of them, so that nobody can keep all
//! others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many there are, and who has some of them. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    most: usize,
    of_one: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    caller: String,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

impl Places {
    /// `most` places, `of_one` of them for a single caller.
    pub(super) fn new(most: usize, of_one: usize) -> Self {
        Self { most, of_one, taken: Arc::default() }
    }

    /// A place for this caller; `None` while there is none.
    pub(super) fn take(&self, caller: &str) -> Option<Place> {
        // The lock is held for a few lines of map access only, and none of them panics.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(caller).copied().unwrap_or(0);
        if own >= self.of_one || taken.values().sum::<usize>() >= self.most {
            return None;
        }
        taken.insert(caller.to_owned(), own + 1);
        Some(Place { caller: caller.to_owned(), taken: self.taken.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.caller) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.caller)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nobody_takes_them_all_and_what_is_given_back_can_be_had() {
        let places = Places::new(3, 2);
        let ann: Vec<Place> = (0..2).map(|_| places.take("ann").unwrap()).collect();
        assert!(places.take("ann").is_none(), "two are for one");
        let joy = places.take("joy").unwrap();
        assert!(places.take("joy").is_none(), "there are three");
        drop(ann);
        let again = places.take("ann").unwrap();
        drop((joy, again));
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }
}
