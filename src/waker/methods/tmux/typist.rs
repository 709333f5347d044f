//! The waker's part of typing: whether the pane may be typed into when that is due, and what became of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::SessionId;
use crate::state::agents::{self, AgentState, Registered};
use crate::store::format::ReadError;
use crate::waker::methods::tmux::guard::{Key, Refusal};
use crate::waker::methods::tmux::typing::{Attempt, Typist};
use crate::waker::methods::tmux::{self, Target};
use crate::waker::policy::{
    self, Agent, AgentKey, Decision, Memory, Outcome, Rung, Situation, Wake,
};
use crate::waker::session_check::{Next, Session};

/// An agent that has just started may be about to register, perhaps for another session.
const REGISTERS_WITHIN: Duration = Duration::from_secs(4);

impl Session<'_> {
    /// Who can be typed to: the registered agent that is woken; else the only one in the panes of the
    /// configured session, which then is an agent of the situation.
    pub(crate) fn typist(
        &self,
        living: &[Registered],
        situation: &mut Situation,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Option<(AgentKey, Typist)> {
        let typing = self.typing.as_ref()?;
        if situation.waiting().is_empty() {
            return None;
        }
        if !living.is_empty() {
            let key = policy::target(situation)?.key.clone();
            let one = living.iter().find(|one| one.name == key.registration)?;
            return Some((key, Typist::of(&self.dir, one, typing)?));
        }
        let target = match tmux::find(self.around, &typing.session) {
            Ok(Some(target)) => target,
            Ok(None) => {
                tracing::debug!(session = %self.id, "nobody is there to be woken");
                memory.refused = None;
                return None;
            }
            Err(refusal) => {
                self.refused(memory, &refusal, now);
                return None;
            }
        };
        if let Some(session) = self.belongs_to(&target) {
            self.refused(memory, &Refusal::OfSession(session), now);
            return None;
        }
        let key = AgentKey {
            registration: format!("pane-{}-{}", target.agent.pid, target.agent.start),
            thread: None,
        };
        let typist = Typist {
            target,
            registered: None,
            typing: typing.clone(),
            dir: self.dir.clone(),
        };
        let seen = typist.sight(now);
        if seen.age.is_none_or(|age| age < REGISTERS_WITHIN) {
            return None;
        }
        situation.agents.push(Agent {
            key: key.clone(),
            holds: false,
            forgot: BTreeSet::new(),
            seen,
            rungs: [Rung::Tmux].into(),
        });
        Some((key, typist))
    }

    /// The other session whose agent this is.
    fn belongs_to(&self, target: &Target) -> Option<String> {
        let sessions = self.state.all_sessions().unwrap_or_default();
        let has = |id: &SessionId| {
            // One that cannot be seen is not known to have it.
            let living = agents::registered(&self.state.session(id)).unwrap_or_default();
            living
                .iter()
                .any(|one| one.file.client_process == target.agent)
        };
        sessions.into_iter().find(has).map(|id| id.to_string())
    }

    /// Where typing is due, or was begun: looks whether it may be. If not, what is done instead.
    pub(crate) fn ask_the_pane(
        &self,
        decision: Decision,
        typist: Option<&(AgentKey, Typist)>,
        situation: &Situation,
        memory: &mut Memory,
        now: Timestamp,
    ) -> Decision {
        if let Some(refusal) = policy::not_typed(situation, memory.wake.as_ref()) {
            self.refused(memory, &refusal, now);
        }
        let Some((key, typist)) = typist else {
            // Somebody may be found in the panes a moment later.
            let looks = self.typing.is_some()
                && situation.agents.is_empty()
                && !situation.unshown.is_empty();
            return match decision {
                Decision::Nothing if looks => Decision::Later(policy::LOOK_SELDOM),
                Decision::Nothing | Decision::Later(_) | Decision::Wake(_) => decision,
            };
        };
        let is_ours = memory.typed.as_ref() == Some(key);
        let is_due = matches!(&decision, Decision::Wake(plan) if plan.rung == Rung::Tmux);
        // A gateway that was killed may have pasted it and not sent.
        let cut_short = is_ours && policy::was_cut_short(memory.wake.as_ref());
        if !is_due && !cut_short {
            return decision;
        }
        let seen = typist.sight(now);
        let idle_for = seen.age.filter(|_| seen.state == AgentState::Idle);
        let next = typist.next_key(&mut || typist.sight(self.clock.now()), is_ours);
        if matches!(next, Ok(Key::Paste) | Err(Refusal::Draft)) {
            memory.typed = None;
        }
        match (next, &memory.wake) {
            (Ok(Key::Enter), Some(last)) if cut_short => policy::again(last),
            // It has done nothing since: the command never came to it.
            (Ok(Key::Paste), Some(last))
                if cut_short && idle_for.is_some_and(|span| span > now.since(last.at)) =>
            {
                policy::again(last)
            }
            (Err(refusal), last) if is_due => {
                let last = last.clone();
                self.refused(memory, &refusal, now);
                let since = memory.refused.as_ref().map_or(now, |(since, _)| *since);
                policy::decide_refused(situation, last.as_ref(), since, now)
            }
            (Ok(_) | Err(_), _) => decision,
        }
    }

    /// Types, and notes how that went. Before: the last wake, and whether our command may stand there.
    pub(crate) fn type_to(
        &self,
        typist: Option<&(AgentKey, Typist)>,
        memory: &mut Memory,
        wake: &Wake,
        before: (Option<Wake>, bool),
    ) -> Result<Next, ReadError> {
        let begun = self.clock.instant();
        let (last, is_ours) = before;
        let at = || self.clock.now();
        let attempt = match typist {
            Some((key, typist)) if *key == wake.agent => {
                let sight = || typist.sight(at());
                typist.wake(sight, is_ours, self.stop)
            }
            Some(_) | None => Attempt::NotSent(Refusal::Gone),
        };
        let waited = self.clock.instant().duration_since(begun);
        match attempt {
            Attempt::Sent => {
                memory.typed = None;
                memory.refused = None;
                self.ended(memory, wake.number, Outcome::Given);
            }
            Attempt::Failed(reason) => {
                memory.refused = None;
                self.ended(memory, wake.number, Outcome::Failed(reason));
            }
            Attempt::NotSent(refusal) => {
                self.refused(memory, &refusal, at());
                memory.wake = last;
            }
            Attempt::Stopped => {}
        }
        self.write(memory)?;
        let at = Some(policy::REFUSED_AGAIN);
        Ok(Next { at, waited })
    }

    fn refused(&self, memory: &mut Memory, refusal: &Refusal, now: Timestamp) {
        if memory.refuse(refusal, now) {
            tracing::info!(session = %self.id, "not typed: {refusal}");
        } else {
            tracing::debug!(session = %self.id, "still not typed: {refusal}");
        }
    }
}
