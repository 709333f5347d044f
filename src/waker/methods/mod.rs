//! The ways of waking an agent, one file each.
//!
//! To add a way of waking:
//! 1. Write a file here with a unit struct that implements [`WakeMethod`]: an id of its own, its [`Patience`],
//!    [`available`](WakeMethod::available) and [`attempt`](WakeMethod::attempt).
//! 2. Add it to [`METHODS`], in the order in which the methods are to be tried.
//! 3. If it needs to know something of the client, let the MCP server record that in
//!    [`Reach`](crate::state::agents::Reach).
//!
//! The policy, `wake.json`, the hooks and `status` take everything else from the list.

pub(crate) mod codex_queue;
mod command;
pub(crate) mod inbox_socket;
pub(crate) mod tmux;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::state::SessionDir;
use crate::state::agents::Registered;
use crate::state::wake_log::{MethodId, TypingRefusal, Wake};
use crate::store::StoreError;
use crate::waker::methods::tmux::guard::TypingRules;
use crate::waker::methods::tmux::pane::AgentPane;
use crate::waker::policy::Patience;

/// Every method, the best first.
pub(crate) const METHODS: [&dyn WakeMethod; 3] = [
    &inbox_socket::InboxSocketMethod,
    &codex_queue::CodexQueueMethod,
    &tmux::TmuxMethod,
];

pub(crate) trait WakeMethod: Sync {
    /// Names it in `wake.json` and in `status`.
    fn id(&self) -> MethodId;

    /// How long to wait for the agent before the next method is tried.
    fn patience(&self) -> Patience;

    /// Whether it can wake this agent at all.
    fn available(&self, target: &WakeTarget<'_>) -> bool;

    /// Wakes the agent. The wake is in `wake.json` already, so that it is not repeated after a kill.
    fn attempt(
        &self,
        target: &WakeTarget<'_>,
        context: &AttemptContext<'_>,
    ) -> Result<AttemptResult, StoreError>;

    /// The result of an attempt that was [`AttemptResult::Pending`]. Asked at every check until it is known.
    fn follow_up(
        &self,
        _target: &WakeTarget<'_>,
        _wake: &Wake,
        _now: Timestamp,
    ) -> Result<Option<AttemptResult>, StoreError> {
        Ok(None)
    }

    /// Whether it types into the terminal of the agent. A command that was pasted and not sent is then
    /// recorded in `wake.json`, and so is the reason why nothing can be typed.
    fn types(&self) -> bool {
        false
    }

    /// Checks the terminal before an attempt. `is_ours`: our command may stand in the input line.
    fn preflight(&self, _target: &WakeTarget<'_>, _is_ours: bool, _clock: &Clock) -> Preflight {
        Preflight::Go
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct WakeTarget<'a> {
    pub(crate) dir: &'a SessionDir,
    /// The MCP server that it calls, if it is connected.
    pub(crate) server: Option<&'a Registered>,
    /// The thread, if its client has threads.
    pub(crate) thread: Option<&'a str>,
    /// The pane in which an agent was found that is not connected.
    pub(crate) pane: Option<&'a AgentPane>,
    /// The configuration of typing, if there is any.
    pub(crate) typing: Option<&'a TypingRules>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptContext<'a> {
    pub(crate) wake: &'a Wake,
    /// Whether our command may stand in the input line of the agent, from an earlier attempt.
    pub(crate) is_ours: bool,
    pub(crate) clock: &'a Clock,
    /// Cancelled when the gateway stops.
    pub(crate) stop: &'a CancellationToken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptResult {
    Given,
    /// It certainly did not reach the client.
    Failed(String),
    /// It is not known yet; [`WakeMethod::follow_up`] will tell, after this time at the latest.
    Pending(Duration),
    /// Nothing was sent, and the attempt does not count. The command may stand in the input line.
    Refused(TypingRefusal),
    /// The gateway stops. The next one finds what was pasted.
    Stopped,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Preflight {
    Go,
    /// The input line is empty, and the agent has been idle for this long.
    Empty {
        idle_for: Option<Duration>,
    },
    /// The input line holds our command, not sent yet.
    Unsent,
    Refused(TypingRefusal),
}

pub(crate) fn list_available(target: &WakeTarget<'_>) -> Vec<MethodId> {
    let available = METHODS.iter().filter(|method| method.available(target));
    available.map(|method| method.id()).collect()
}

/// The method of this name. A newer telepost may have recorded one that this one does not know.
pub(crate) fn find_method(id: &MethodId) -> Option<&'static dyn WakeMethod> {
    METHODS.into_iter().find(|method| method.id() == *id)
}

pub(crate) fn find_patience(id: &MethodId) -> Patience {
    find_method(id).map_or(Patience::QUEUED, WakeMethod::patience)
}
