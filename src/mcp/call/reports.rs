//! Where accepted deliveries stand, and why one that is accepted does not go out.

use crate::clock::Timestamp;
use crate::ids::Address;
use crate::mcp::call::{Accepted, Mailbox};
use crate::mcp::tools::{Refusal, Status, ToolResult};
use crate::state::bots::migrations;
use crate::state::bots::rate_limits::{self, HeldUntil, TOPIC_IS_CLOSED};
use crate::state::gateway_status;
use crate::state::outbox::DeliveryStatus;
use crate::state::outbox::delivery::DeliveryOutcome;
use crate::store::state_file::ReadError;

/// Reports on the deliveries of a session.
impl Mailbox {
    /// Where an accepted delivery stands, and whether that is its end.
    pub(crate) fn report(&self, accepted: &Accepted) -> Result<(ToolResult, bool), Refusal> {
        let now = self.clock.now();
        let mut result = ToolResult {
            remaining: accepted.remaining,
            session: self.session.to_string(),
            status: Some(Status::Accepted),
            acked: accepted.acked.clone(),
            delivery_id: Some(accepted.id.to_string()),
            repeat: accepted.repeat,
            notices: accepted.notices.clone(),
            ..ToolResult::default()
        };
        let status = self.driver.outbox.status(&accepted.id, now)?;
        let ended = status != DeliveryStatus::Waiting;
        match status {
            DeliveryStatus::Finished(finished) => {
                result.notices.extend(finished.notes);
                match finished.outcome {
                    DeliveryOutcome::Delivered { message_ids, .. } => {
                        result.status = Some(Status::Delivered);
                        result.message_ids = message_ids;
                    }
                    DeliveryOutcome::Unknown => {
                        result.notices.push("Telegram's answer was lost, so this may or may not be in the chat; it is not sent again.".to_owned());
                    }
                    DeliveryOutcome::Superseded => {
                        result
                            .notices
                            .push("A newer message took its place before it was sent.".to_owned());
                    }
                    DeliveryOutcome::Failed {
                        reason,
                        message_ids,
                    } => {
                        result.status = Some(Status::Failed);
                        result.reason = Some(reason);
                        result.message_ids = message_ids;
                    }
                    DeliveryOutcome::Dropped { message_ids } => {
                        result.status = Some(Status::Failed);
                        result.reason =
                            Some("the person dropped it before all of it was sent".to_owned());
                        result.message_ids = message_ids;
                    }
                }
            }
            // Gone after it was accepted means finished so long ago that its record was swept.
            DeliveryStatus::Waiting | DeliveryStatus::Gone => {
                if let Some(held) = self.held(accepted.address, now)? {
                    result.held_until = Some(held.opens.rfc3339());
                    if let Some(reason) = held.reason {
                        let notice = if reason == TOPIC_IS_CLOSED {
                            "That topic is closed. What you send there is kept, and sent when the topic is opened again; tell the person if it is urgent."
                        } else {
                            "Nothing can be sent to that chat now. What you send is kept and retried every hour, and as soon as a person writes there."
                        };
                        result.reason = Some(reason);
                        result.notices.push(notice.to_owned());
                    }
                }
            }
        }
        Ok((result, ended))
    }

    /// Until when nothing goes to a chat; `None` if it is open.
    fn held(&self, address: Address, now: Timestamp) -> Result<Option<HeldUntil>, ReadError> {
        let moves = migrations::read_migrations(&self.state, address.bot_id, now)?;
        match rate_limits::read_limits(&self.state, address.bot_id, now) {
            Ok(gates) => Ok(gates.held(moves.current(address.chat_id), address.topic_id, now)),
            // The gateway will report it and write new ones.
            Err(ReadError::Quarantined { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Adds to the report of a delivery that is still accepted why it has not gone out, if that is known.
    pub(crate) fn explain(&self, accepted: &Accepted, mut result: ToolResult) -> ToolResult {
        if result.status != Some(Status::Accepted) || result.held_until.is_some() {
            return result;
        }
        let state = self
            .driver
            .outbox
            .delivery_state(&accepted.id, self.clock.now());
        let failure = state.ok().flatten().and_then(|state| state.last_failure);
        if let Some(failure) = failure {
            result.reason = Some(failure);
            result.notices.push("It has not been sent yet. It is stored and retried automatically; do not send it again.".to_owned());
        }
        result
    }

    /// Why nothing arrives although a gateway runs. It informs only, so an unreadable status is left out.
    pub(crate) fn bot_problem(&self) -> Option<String> {
        let status = gateway_status::read(&self.state, self.clock.now())
            .ok()
            .flatten()?;
        // The status of an earlier gateway says nothing about the one that starts now.
        if !status.process.is_running() {
            return None;
        }
        let Some(serves) = status.sessions.get(&self.session) else {
            return Some("No messages are received or sent: the running gateway does not serve this session. Its token is not set there, or sessions.json has changed. What you send is stored; ask the person to run `telepost gateway --replace`.".to_owned());
        };
        let bot = status
            .bots
            .iter()
            .find(|bot| bot.id == Some(serves.bot_id))?;
        let silent = "the gateway does not poll any more: it is stopped or hangs, or the machine has slept. If this stays, run `telepost gateway --detach --replace`.";
        let is_silent = status.is_silent(bot, self.clock.now());
        if let Some(why) = bot.health.problem().or(is_silent.then_some(silent)) {
            // The end of a long notice is cut off.
            return Some(format!(
                "No messages are received now; what you send is stored, and `telepost status` shows the person the details: {why}"
            ));
        }
        let bots = self.driver.outbox.oldest_bots(self.clock.now()).ok()?;
        let why = bots.into_iter().find_map(|bot| status.explain_missing(bot));
        match why {
            Some(why) => Some(format!(
                "An earlier message of this session cannot be sent; tell the person, who can fix this: {why}"
            )),
            None => status.explain_old_configuration(),
        }
    }
}
