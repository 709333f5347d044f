//! Updates that are not admitted, in the log once a day, so that the owner finds what to write into `sessions.json`.

use std::collections::BTreeMap;

use crate::ids::{Address, BotId, ChatId, SessionId, UserId};
use crate::routing::RefusedUpdate;
use crate::telegram::update::content::short;
use crate::text::one_line;

const NAME_CHARS: usize = 64;
/// How many refused senders are remembered for "once a day".
const STRANGERS_MOST: usize = 10_000;

/// The outsiders that the log has named, each with the day (since 1970).
#[derive(Debug, Default)]
pub(super) struct Outsiders {
    strangers: BTreeMap<Option<UserId>, i64>,
    /// Chats with messages that do not name the bot.
    quiet_chats: BTreeMap<ChatId, i64>,
}

impl Outsiders {
    /// Logs a refused sender once a day. A name is a text of a stranger, so it is made harmless for a terminal.
    pub(super) fn log_refusal(
        &mut self,
        bot: BotId,
        refused: &RefusedUpdate,
        to_admit: &str,
        day: i64,
    ) {
        if self.strangers.len() > STRANGERS_MOST {
            self.strangers.clear();
        }
        let user = refused.user.as_ref();
        if self.strangers.insert(user.map(|user| user.id), day) == Some(day) {
            return;
        }
        let harmless = |name: &str| one_line(&short(name, NAME_CHARS));
        let username = user.and_then(|user| user.username.as_deref());
        tracing::info!(
            bot_id = bot.0,
            user_id = user.map(|user| user.id.0),
            chat_id = refused.chat.map(|chat| chat.0),
            name = user.map(|user| harmless(&user.name())),
            username = username.map(|name| format!("@{}", harmless(name))),
            why = refused.why.as_str(),
            to_admit,
            "refused an update (logged once a day for this sender); no answer was sent"
        );
    }

    /// Logs a chat once a day in which messages do not name the bot.
    pub(super) fn log_not_addressed(&mut self, place: Address, session: &SessionId, day: i64) {
        if self.quiet_chats.insert(place.chat_id, day) == Some(day) {
            return;
        }
        tracing::info!(
            bot_id = place.bot_id.0,
            chat_id = place.chat_id.0,
            %session,
            "a message does not name the bot and is left out (said once a day for this chat; `telepost status --json` counts them). To hear all of them, set require_mention of the session to false"
        );
    }
}
