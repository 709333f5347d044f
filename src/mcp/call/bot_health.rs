//! Why nothing arrives, or something has not gone out, although a gateway runs: what an agent would
//! otherwise wait for in vain.

use crate::mcp::call::{Accepted, Mailbox};
use crate::mcp::tools::{Status, ToolResult};
use crate::state::gateway_status;

impl Mailbox {
    /// What the agent should know of its bot while a gateway runs. It informs only, so what cannot be read
    /// is left out.
    pub fn trouble(&self) -> Option<String> {
        let said = gateway_status::read(&self.state, self.clock.now())
            .ok()
            .flatten()?;
        // What an earlier gateway has left says nothing of the one that starts now.
        if !said.process.is_running() {
            return None;
        }
        let Some(serves) = said.sessions.get(&self.session) else {
            return Some("Nothing arrives or leaves: the gateway that runs does not serve this session. Its token is not set there, or sessions.json has changed. What you send is stored; ask the person to run `telepost gateway --replace`.".to_owned());
        };
        let bot = said.bots.iter().find(|bot| bot.id == Some(serves.bot_id))?;
        let why = bot.health.problem()?;
        // The end of a long notice is cut off.
        Some(format!(
            "Nothing arrives now; what you send is stored, and `telepost status` shows the person how it stands: {why}"
        ))
    }

    /// Says of what has not gone out in time what has kept it, if anything has.
    pub fn explained(&self, accepted: &Accepted, mut result: ToolResult) -> ToolResult {
        if result.status != Some(Status::Accepted) || result.held_until.is_some() {
            return result;
        }
        let progress = self.outbox.delivery_state(&accepted.id, self.clock.now());
        let failure = progress.ok().flatten().and_then(|made| made.last_failure);
        if let Some(failure) = failure {
            result.reason = Some(failure);
            result.notices.push("It has not gone out yet. It is stored and tried again by itself; do not send it once more.".to_owned());
        }
        result
    }
}
