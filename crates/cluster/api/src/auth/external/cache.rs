//! Answers that are good for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

/// More are not kept: an attacker would choose what is.
const MOST: usize = 4096;

/// Answers by the hash of their question: no token stays in memory.
#[derive(Debug)]
pub(super) struct Cache<T>(Mutex<HashMap<[u8; 32], (T, Instant)>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Cache<T> {
    pub(super) fn get(&self, question: &str) -> Option<T> {
        let mut all = self.0.lock();
        let key: [u8; 32] = Sha256::digest(question).into();
        match all.get(&key) {
            Some((answer, until)) if *until > Instant::now() => Some(answer.clone()),
            Some(_) => {
                all.remove(&key);
                None
            }
            None => None,
        }
    }

    pub(super) fn put(&self, question: &str, answer: T, time: Duration) {
        let (mut all, now) = (self.0.lock(), Instant::now());
        if all.len() >= MOST {
            all.retain(|_, (_, until)| *until > now);
        }
        if all.len() < MOST {
            all.insert(Sha256::digest(question).into(), (answer, now + time));
        }
    }
}
