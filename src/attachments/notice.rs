//! What the person is told of a file that no bot can fetch: once, through the outbox.
//!
//! The delivery's key comes from the message and the file, so that a kill between the notice and the
//! note that it was given finds it in the outbox, and an edit of the caption gives no second one. The
//! gateway takes no session lock: its delivery may get the same millisecond as an agent's, and then the
//! key says which is first.

use super::state;
use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, SessionId};
use crate::mcp::holder::short_hash;
use crate::outbox::delivery::{Content, Delivery, DeliveryId};
use crate::outbox::disk::Outbox;
use crate::store::StoreError;
use crate::store::format::FORMAT;

/// As whose the notices of the gateway stand in the outbox; no agent has that name.
pub const GATEWAY: &str = "gateway";

/// A message with a file that cannot be fetched.
#[derive(Clone, Debug)]
pub struct TooBig<'a> {
    /// Whose message it is.
    pub session: &'a SessionId,
    /// Where the person wrote it.
    pub address: Address,
    /// The message.
    pub message_id: MessageId,
    /// Which file.
    pub content: &'a str,
    /// Bytes, if they are known.
    pub size: Option<u64>,
}

/// Tells the person, durably, unless that was done before.
pub fn give(outbox: &Outbox, about: &TooBig<'_>, now: Timestamp) -> Result<(), StoreError> {
    let key = short_hash(&[
        "too big",
        about.session.as_str(),
        &about.address.bot_id.to_string(),
        &about.address.to_string(),
        &about.message_id.to_string(),
        about.content,
    ]);
    if outbox.by_key(&key)?.is_some() {
        // Its own sync may have failed, or been cut short.
        return outbox.sync_names();
    }
    let last = outbox.all()?.last().map_or(0, |id| id.accepted);
    outbox.accept(&Delivery {
        format: FORMAT,
        id: DeliveryId {
            accepted: now.0.max(last + 1),
            key,
        },
        session: about.session.clone(),
        holder: GATEWAY.to_owned(),
        address: about.address,
        content: Content::Reply {
            text: state::told_person(about.size),
            files: Vec::new(),
            options: Vec::new(),
        },
        answers: Vec::new(),
        acked: Vec::new(),
        reply_to: Some(about.message_id),
        as_reply: true,
        resume: None,
        silent: true,
        turn: None,
    })
}
