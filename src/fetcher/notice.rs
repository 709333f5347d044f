//! What the person is told of a file that no bot can fetch: once, through the outbox.
//!
//! What it is about comes from the message and the file, so that an edit of the caption gives no second
//! one.

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, SessionId};
use crate::state::files::state;
use crate::state::outbox::Outbox;
use crate::state::outbox::notice::{self, Notice};
use crate::store::StoreError;

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
    let key = [
        "too big",
        about.session.as_str(),
        &about.address.bot_id.to_string(),
        &about.address.to_string(),
        &about.message_id.to_string(),
        about.content,
    ];
    let told = Notice {
        session: about.session,
        address: about.address,
        about: &key,
        text: state::told_person(about.size),
        reply_to: Some(about.message_id),
        silent: true,
    };
    notice::send_notice(outbox, told, now)
}
