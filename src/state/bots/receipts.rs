//! The messages of a bot that may wear 👀: `bots/<bot_id>/receipts.json`.
//!
//! It names a message before 👀 is put on it and until the reaction is surely gone, so that no kill
//! leaves one behind.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{BotId, ChatId, MessageId};
use crate::state::StateDir;
use crate::store::{ReadError, StateFile, Step, StoreError};

/// A message of a chat, as a bot sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageRef {
    /// The bot that sees the chat.
    pub bot: BotId,
    /// The chat.
    pub chat: ChatId,
    /// The message.
    pub message: MessageId,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReceiptsFile {
    worn: Vec<ReceiptRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ReceiptRecord {
    chat_id: ChatId,
    message_id: MessageId,
}

/// Reads which messages of a bot may wear 👀. A damaged file counts as none: a 👀 may stay then.
pub fn load_receipts(
    state: &StateDir,
    bot: BotId,
    now: Timestamp,
) -> Result<Vec<MessageRef>, ReadError> {
    let file = receipts_file(state, bot).read_or_missing(now)?;
    let records = file.into_iter().flat_map(|file| file.worn);
    let messages = records.map(|record| MessageRef {
        bot,
        chat: record.chat_id,
        message: record.message_id,
    });
    Ok(messages.collect())
}

/// Records which messages of a bot may wear 👀, durably.
pub fn save_receipts(
    state: &StateDir,
    bot: BotId,
    messages: impl Iterator<Item = MessageRef>,
) -> Result<(), StoreError> {
    let records = messages.map(|message| ReceiptRecord {
        chat_id: message.chat,
        message_id: message.message,
    });
    state.prepare_bot(bot)?;
    receipts_file(state, bot).write(&ReceiptsFile {
        worn: records.collect(),
    })
}

fn receipts_file(state: &StateDir, bot: BotId) -> StateFile<ReceiptsFile> {
    state.storage().file(state.receipts(bot), Step::Receipt)
}
