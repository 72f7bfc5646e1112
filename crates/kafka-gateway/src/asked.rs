//! What a request names more than once is answered once: else a short request could ask for an
//! answer that fills the memory.

use std::collections::HashSet;
use std::hash::Hash;

/// What is asked, without repetitions, in its order.
pub(crate) fn once<T: Clone + Eq + Hash>(asked: Vec<T>) -> Vec<T> {
    once_by(asked, T::clone)
}

/// The same where `name` says what two have in common.
pub(crate) fn once_by<T, N: Eq + Hash>(mut asked: Vec<T>, name: impl Fn(&T) -> N) -> Vec<T> {
    if asked.len() > 1 {
        let mut seen = HashSet::with_capacity(asked.len());
        asked.retain(|it| seen.insert(name(it)));
    }
    asked
}
