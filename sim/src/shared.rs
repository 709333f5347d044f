//! The state behind its mutex, and the two ways to wait for it: a condition variable for threads (tests), a watch
//! channel for calls that a fault holds.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::faults::FaultId;
use crate::state::State;

pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    faults_changed: watch::Sender<()>,
    /// Calls that go on when their client hangs up. They end with the runtime.
    workers: Mutex<JoinSet<()>>,
    pub(crate) clock: Clock,
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            faults_changed: watch::Sender::new(()),
            workers: Mutex::default(),
            clock: Clock::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panics inside a check must not take the other checks with it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state, then wakes everyone who waits for a change.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Waits until `check` finds something; `None` when the time is over.
    pub(crate) fn wait<T>(
        &self,
        deadline: Duration,
        mut check: impl FnMut(&State) -> Option<T>,
    ) -> Option<T> {
        let mut found = None;
        let (guard, _timeout) = self
            .changed
            .wait_timeout_while(self.lock(), deadline, |state| {
                found = check(state);
                found.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        found
    }

    /// Carries something out to its end, whether its result is awaited or not. `None` when the server stops.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        {
            let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
            while workers.try_join_next().is_some() {}
            workers.spawn(async move {
                // The receiver is gone when the client has hung up.
                drop(done.send(work.await));
            });
        }
        result.await.ok()
    }

    pub(crate) fn clear_faults(&self, which: Option<FaultId>) {
        self.change(|state| state.faults.clear(which));
        self.faults_changed.send_replace(());
    }

    /// Returns when the fault has been cleared.
    pub(crate) async fn fault_cleared(&self, id: FaultId) {
        let mut changes = self.faults_changed.subscribe();
        while self.read(|state| state.faults.holds(id)) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
