//! Is there one order of these operations, each at a moment between its call and its return, in which a single copy of
//! the object would have answered as it did? (Wing and Gong, with Lowe's memory of what was tried.)
//!
//! Knows nothing of Muster: a [`Model`] says what a single copy does. Histories are to be cut by object first, for the
//! search is exponential in the number of operations that overlap.

use std::collections::HashSet;
use std::hash::Hash;

/// What a single copy of an object does.
pub trait Model {
    /// The object.
    type State: Clone + Eq + Hash;
    /// What it is asked.
    type Input;
    /// What it answers.
    type Output: PartialEq;

    /// Carries out one operation.
    fn step(&self, state: &Self::State, input: &Self::Input) -> (Self::State, Self::Output);
}

/// One operation on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span<I, O> {
    /// When it was called. Moments of one history are all different.
    pub called: u64,
    /// When its answer came, and which; `None` if it never came. Then it may take place at any time after the call, or never.
    pub returned: Option<(u64, O)>,
    /// What was asked.
    pub input: I,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Legal,
    /// There is none. Holds the most operations that could be put in order, as indices into the history, so that one sees
    /// after which of them it ends.
    Illegal(Vec<usize>),
    /// Given up after that many steps.
    Undecided,
}

/// Steps after which the search gives up: a fraction of a second. A history of the simulation takes a few thousand.
pub const STEPS_MAX: usize = 1_000_000;

/// Looks for an order.
pub fn check<M: Model>(model: &M, initial: M::State, history: &[Span<M::Input, M::Output>]) -> Verdict {
    let by_call = |answered: bool| {
        let mut order: Vec<usize> =
            (0..history.len()).filter(|at| history[*at].returned.is_some() == answered).collect();
        order.sort_by_key(|index| history[*index].called);
        order
    };
    let (answered, lost) = (by_call(true), by_call(false));
    Search { model, history, answered, lost, tried: HashSet::new(), longest: Vec::new() }.run(initial)
}

struct Search<'a, M: Model> {
    model: &'a M,
    history: &'a [Span<M::Input, M::Output>],
    /// Operations with an answer, by call.
    answered: Vec<usize>,
    /// Operations without one, by call.
    lost: Vec<usize>,
    /// Sets of operations that were put in order before, and the object after them.
    tried: HashSet<(Vec<u64>, M::State)>,
    longest: Vec<usize>,
}

/// A point of the search: what is in order, and what to try next from there.
struct Frame<S> {
    state: S,
    done: Vec<u64>,
    /// Operations with an answer up to here (by call) are all in order.
    from: usize,
    next: Vec<usize>,
}

impl<M: Model> Search<'_, M> {
    fn run(mut self, initial: M::State) -> Verdict {
        let done = vec![0; self.history.len().div_ceil(64)];
        let mut order: Vec<usize> = Vec::new();
        let mut stack = vec![self.frame(initial, done, 0)];
        let mut steps = 0;
        while let Some(frame) = stack.last_mut() {
            if frame.from == self.answered.len() {
                return Verdict::Legal;
            }
            let Some(index) = frame.next.pop() else {
                stack.pop();
                order.pop();
                continue;
            };
            steps += 1;
            if steps > STEPS_MAX {
                return Verdict::Undecided;
            }
            let (state, output) = self.model.step(&frame.state, &self.history[index].input);
            let fits = match &self.history[index].returned {
                Some((_, answer)) => *answer == output,
                // Without an answer and without effect it may as well never have happened.
                None => state != frame.state,
            };
            let mut done = frame.done.clone();
            done[index / 64] |= 1 << (index % 64);
            if !fits || !self.tried.insert((done.clone(), state.clone())) {
                continue;
            }
            order.push(index);
            if order.len() > self.longest.len() {
                self.longest.clone_from(&order);
            }
            let from = frame.from;
            stack.push(self.frame(state, done, from));
        }
        Verdict::Illegal(self.longest)
    }

    /// What may come next: what was called before the first of the answers still missing came. Those with answers are tried
    /// first, the earliest call before the others.
    fn frame(&self, state: M::State, done: Vec<u64>, from: usize) -> Frame<M::State> {
        let passed = self.answered[from..].iter().take_while(|index| is_in(&done, **index)).count();
        let from = from + passed;
        let mut first_return = u64::MAX;
        let mut open = Vec::new();
        for index in self.answered[from..].iter().copied().filter(|index| !is_in(&done, *index)) {
            if self.history[index].called > first_return {
                break;
            }
            first_return = first_return.min(self.history[index].returned.as_ref().map_or(u64::MAX, |(at, _)| *at));
            open.push(index);
        }
        let lost = self.lost.iter().copied().take_while(|index| self.history[*index].called < first_return);
        // Taken from the end.
        let mut next: Vec<usize> = lost.filter(|index| !is_in(&done, *index)).collect();
        next.extend(open.into_iter().rev());
        Frame { state, done, from, next }
    }
}

fn is_in(set: &[u64], index: usize) -> bool {
    set[index / 64] & (1 << (index % 64)) != 0
}

#[cfg(test)]
mod tests;
