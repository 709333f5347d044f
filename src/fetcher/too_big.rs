//! Files that are too big for a bot: the person gets one notice through the outbox, the agent a reason.

use crate::clock::Timestamp;
use crate::ids::{Address, MessageId, SessionId};
use crate::state::outbox::Outbox;
use crate::state::outbox::notice::{self, Notice};
use crate::store::StoreError;
use crate::telegram::update::file::FETCH_BYTES;
use crate::text::format_megabytes;

/// A file that is too big, and its message.
#[derive(Clone, Debug)]
pub(super) struct TooBigFile<'a> {
    pub(super) session: &'a SessionId,
    pub(super) address: Address,
    pub(super) message_id: MessageId,
    /// The identity of the bytes.
    pub(super) content: &'a str,
    pub(super) size: Option<u64>,
}

/// Notifies the person, durably and once. The key comes from message and file, so an edit of the caption
/// causes no second notice.
pub(super) fn notify_person(
    outbox: &Outbox,
    file: &TooBigFile<'_>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let key = [
        "too big",
        file.session.as_str(),
        &file.address.bot_id.to_string(),
        &file.address.to_string(),
        &file.message_id.to_string(),
        file.content,
    ];
    let size = file.size.map_or_else(
        || "This file is too big".to_owned(),
        |size| format!("This file is {}", format_megabytes(size)),
    );
    let told = Notice {
        session: file.session,
        address: file.address,
        about: &key,
        text: format!(
            "{size}, but a bot can download at most {}. The agent knows that you sent it, but cannot open it.",
            format_megabytes(FETCH_BYTES)
        ),
        reply_to: Some(file.message_id),
        silent: true,
    };
    notice::send_notice(outbox, told, now)
}

pub(super) fn explain_to_agent(size: Option<u64>) -> String {
    let size = size.map_or_else(
        || "it is too big".to_owned(),
        |size| format!("it is {}", format_megabytes(size)),
    );
    format!(
        "{size}, but bots can download at most {}. Ask the person for a part of it, a smaller version or a link",
        format_megabytes(FETCH_BYTES)
    )
}
