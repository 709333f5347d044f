//! Waking by typing a command into the agent's pane of tmux, for Claude Code only.
//!
//! [`guard`] decides which key may be pressed, [`screen`] reads the screen for it, `pane` talks to tmux, and
//! `typist` types and makes sure that the command was sent.

pub(crate) mod guard;
pub(crate) mod pane;
pub(crate) mod screen;
mod typist;

use std::time::Duration;

use crate::clock::Clock;
use crate::ids::SessionId;
use crate::state::agents::list_registered;
use crate::state::wake_log::{AgentKey, MethodId, TypingRefusal};
use crate::state::{SessionDir, StateDir};
use crate::store::StoreError;
use crate::waker::activity::{Activity, AgentState};
use crate::waker::methods::tmux::guard::{NextKey, TypingRules};
use crate::waker::methods::tmux::pane::{AgentPane, TmuxServer};
use crate::waker::methods::tmux::typist::{Typist, find_pane};
use crate::waker::methods::{AttemptContext, AttemptResult, Preflight, WakeMethod, WakeTarget};
use crate::waker::policy::Patience;

/// An agent that has just started may be about to connect, perhaps to another session.
const CONNECTS_WITHIN: Duration = Duration::from_secs(4);

/// Wakes by typing into a pane.
#[derive(Debug)]
pub(crate) struct TmuxMethod;

impl TmuxMethod {
    pub(crate) const ID: MethodId = MethodId::new("tmux");
}

impl WakeMethod for TmuxMethod {
    fn id(&self) -> MethodId {
        Self::ID
    }

    fn patience(&self) -> Patience {
        Patience::PROMPT
    }

    fn available(&self, target: &WakeTarget<'_>) -> bool {
        target.typing.is_some() && target.thread.is_none() && find_pane(target).is_some()
    }

    fn attempt(
        &self,
        target: &WakeTarget<'_>,
        context: &AttemptContext<'_>,
    ) -> Result<AttemptResult, StoreError> {
        Ok(match Typist::new(target, context.clock) {
            Some(typist) => typist.type_command(context.is_ours, context.stop),
            None => AttemptResult::Refused(TypingRefusal::Gone),
        })
    }

    fn types(&self) -> bool {
        true
    }

    fn preflight(&self, target: &WakeTarget<'_>, is_ours: bool, clock: &Clock) -> Preflight {
        let Some(typist) = Typist::new(target, clock) else {
            return Preflight::Refused(TypingRefusal::Gone);
        };
        let activity = typist.observe();
        match typist.next_key(is_ours) {
            Ok(NextKey::Enter) => Preflight::Unsent,
            Ok(NextKey::Paste) => Preflight::Empty {
                idle_for: activity.age.filter(|_| activity.state == AgentState::Idle),
            },
            Err(refusal) => Preflight::Refused(refusal),
        }
    }
}

/// An agent that was found in a pane and is not connected.
#[derive(Clone, Debug)]
pub(crate) struct FoundAgent {
    pub(crate) key: AgentKey,
    pub(crate) pane: AgentPane,
    pub(crate) activity: Activity,
}

/// Finds the only agent in the panes of the configured session, if it belongs to no other session and has had
/// the time to connect.
pub(crate) fn find_unconnected(
    tmux: &TmuxServer,
    state: &StateDir,
    dir: &SessionDir,
    rules: &TypingRules,
    clock: &Clock,
) -> Result<Option<FoundAgent>, TypingRefusal> {
    let Some(pane) = tmux.find_agent(&rules.session)? else {
        return Ok(None);
    };
    if let Some(session) = find_owner(state, &pane) {
        return Err(TypingRefusal::OfSession(session.to_string()));
    }
    let target = WakeTarget {
        dir,
        server: None,
        thread: None,
        pane: Some(&pane),
        typing: Some(rules),
    };
    let Some(activity) = Typist::new(&target, clock).map(|typist| typist.observe()) else {
        return Ok(None);
    };
    if activity.age.is_none_or(|age| age < CONNECTS_WITHIN) {
        return Ok(None);
    }
    let key = AgentKey {
        registration: format!("pane-{}-{}", pane.agent.pid, pane.agent.start),
        thread: None,
    };
    Ok(Some(FoundAgent {
        key,
        pane,
        activity,
    }))
}

/// The session to which an agent is connected. A session that cannot be read is not known to have it.
fn find_owner(state: &StateDir, pane: &AgentPane) -> Option<SessionId> {
    let sessions = state.all_sessions().unwrap_or_default();
    sessions.into_iter().find(|id| {
        let servers = list_registered(&state.session(id)).unwrap_or_default();
        let mut clients = servers.iter().map(|server| &server.file.client_process);
        clients.any(|client| *client == pane.agent)
    })
}
