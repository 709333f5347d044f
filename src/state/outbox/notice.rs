//! What the gateway itself tells a person, once, through the outbox.
//!
//! The delivery's key says what the notice is about, so that a kill between the notice and the note that it
//! was given finds it in the outbox. The gateway takes no session lock: its delivery may get the same
//! millisecond as an agent's, and then the key says which is first.

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, SessionId};
use crate::state::agents::holder::short_hash;
use crate::state::outbox::Outbox;
use crate::state::outbox::delivery::{Content, Delivery, DeliveryId};
use crate::store::StoreError;
use crate::store::format::FORMAT;

/// As whose the notices of the gateway stand in the outbox; no agent has that name.
pub const GATEWAY: &str = "gateway";

/// One notice.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// Of which session.
    pub session: &'a SessionId,
    /// In which chat.
    pub address: Address,
    /// What it is about, in parts that are always the same for the same thing.
    pub about: &'a [&'a str],
    /// What the person reads.
    pub text: String,
    /// The message that it is about.
    pub reply_to: Option<MessageId>,
    /// Whether the phone stays silent.
    pub silent: bool,
}

/// Tells the person, durably, unless that was done before.
pub fn give(outbox: &Outbox, notice: Notice<'_>, now: Timestamp) -> Result<(), StoreError> {
    let key = short_hash(notice.about);
    if outbox.by_key(&key)?.is_some() {
        // Its own sync may have failed, or been cut short.
        return outbox.sync_names();
    }
    let last = outbox.newest()?;
    outbox.accept(&Delivery {
        format: FORMAT,
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
