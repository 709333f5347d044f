//! Notices of the gateway itself to a person, each sent once through the outbox.
//!
//! The key of the delivery names the subject of the notice. After a kill between the notice and the record
//! of it, the gateway finds the delivery in the outbox. The gateway takes no session lock: its delivery may
//! get the same millisecond as a delivery of an agent, and then the key decides which goes first.

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, SessionId};
use crate::state::agents::holder::short_hash;
use crate::state::outbox::{Content, Delivery, DeliveryId, Outbox};
use crate::store::StoreError;

/// The holder of the gateway's notices; no agent has this name.
pub const GATEWAY: &str = "gateway";

/// One notice.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// The session.
    pub session: &'a SessionId,
    /// The chat and topic.
    pub address: Address,
    /// Its subject, in parts that are always the same for the same subject.
    pub about: &'a [&'a str],
    /// Its text.
    pub text: String,
    /// The message that this one replies to.
    pub reply_to: Option<MessageId>,
    /// Whether the phone stays silent.
    pub silent: bool,
}

/// Sends a notice durably, unless it was sent before.
pub fn send_notice(outbox: &Outbox, notice: Notice<'_>, now: Timestamp) -> Result<(), StoreError> {
    let key = short_hash(notice.about);
    if outbox.by_key(&key)?.is_some() {
        // The sync of its commit may have failed.
        return outbox.sync_names();
    }
    let last = outbox.newest(now)?;
    outbox.accept(&Delivery {
        id: DeliveryId {
            accepted: now.0.max(last + 1),
            key,
        },
        session: notice.session.clone(),
        holder: GATEWAY.to_owned(),
        address: notice.address,
        content: Content::Reply {
            text: notice.text,
            files: Vec::new(),
            options: Vec::new(),
        },
        answers: Vec::new(),
        acked: Vec::new(),
        reply_to: notice.reply_to,
        as_reply: notice.reply_to.is_some(),
        resume: None,
        silent: notice.silent,
        turn: None,
    })
}
