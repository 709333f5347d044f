//! The methods. Each takes the state, the time and the parameters, and returns a result or a refusal; none waits.
//!
//! `getUpdates` waits, and lives in [`crate::polling`].

mod chats;
mod commands;
mod files;
mod html;
mod markup;
mod messages;
mod reactions;
pub(crate) mod text;
mod topics;
mod webhook;

use serde_json::json;

use crate::answer::{Answer, Refusal, Verdict};
use crate::params::Params;
use crate::state::{Bot, State};

pub(crate) use text::auto_entities;
pub(crate) use topics::create_topic;

/// The methods that the simulator knows, in their documented spelling.
const METHODS: &[&str] = &[
    "getUpdates",
    "getMe",
    "setWebhook",
    "deleteWebhook",
    "getWebhookInfo",
    "sendMessage",
    "editMessageText",
    "editMessageReplyMarkup",
    "deleteMessage",
    "setMessageReaction",
    "sendChatAction",
    "getFile",
    "getChat",
    "setMyCommands",
    "getMyCommands",
    "deleteMyCommands",
    "answerCallbackQuery",
    "createForumTopic",
    "editForumTopic",
    "closeForumTopic",
    "reopenForumTopic",
    "deleteForumTopic",
    "sendDocument",
    "sendPhoto",
    "sendMediaGroup",
];

/// The documented spelling of a method, if there is such a method.
pub(crate) fn canonical(method: &str) -> Option<&'static str> {
    METHODS
        .iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(method))
}

/// One call: what it may look at and change.
pub(crate) struct Context<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) now_ms: i64,
    pub(crate) uptime_ms: i64,
    pub(crate) bot: i64,
    pub(crate) params: &'a Params,
}

impl Context<'_> {
    /// Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        self.now_ms.div_euclid(1_000)
    }

    pub(crate) fn me(&mut self) -> Result<&mut Bot, Refusal> {
        self.state
            .bots
            .get_mut(&self.bot)
            .ok_or_else(Refusal::unauthorized)
    }

    /// Takes `count` messages out of the rate buckets, if those are switched on.
    fn spend(&mut self, chat: i64, count: usize) -> Result<(), Refusal> {
        if !self.state.rate_limits {
            return Ok(());
        }
        self.state
            .buckets
            .admit(self.now_ms, self.bot, chat, count)
            .map_err(Refusal::too_many)
    }
}

/// Carries out one call.
pub(crate) fn apply(method: &str, context: &mut Context<'_>) -> Verdict {
    match method {
        "getMe" => get_me(context),
        "setWebhook" => webhook::set(context),
        "deleteWebhook" => webhook::delete(context),
        "getWebhookInfo" => webhook::info(context),
        "sendMessage" => messages::send(context),
        "editMessageText" => messages::edit_text(context),
        "editMessageReplyMarkup" => messages::edit_markup(context),
        "deleteMessage" => messages::delete(context),
        "setMessageReaction" => reactions::set(context),
        "sendChatAction" => chats::action(context),
        "getChat" => chats::get(context),
        "getFile" => files::get(context),
        "sendDocument" => files::send_document(context),
        "sendPhoto" => files::send_photo(context),
        "sendMediaGroup" => files::send_group(context),
        "setMyCommands" => commands::set(context),
        "getMyCommands" => commands::get(context),
        "deleteMyCommands" => commands::delete(context),
        "answerCallbackQuery" => commands::answer_callback(context),
        "createForumTopic" => topics::create(context),
        "editForumTopic" => topics::edit(context),
        "closeForumTopic" => topics::set_closed(context, true),
        "reopenForumTopic" => topics::set_closed(context, false),
        "deleteForumTopic" => topics::delete(context),
        _ => Err(Refusal::new(404, "Not Found: method not found")),
    }
}

fn get_me(context: &mut Context<'_>) -> Verdict {
    let bot = context.me()?;
    Ok(Answer::Result(json!({
        "id": bot.id,
        "is_bot": true,
        "first_name": bot.username,
        "username": bot.username,
        "can_join_groups": true,
        "can_read_all_group_messages": true,
        "supports_inline_queries": false,
        "can_connect_to_business": false,
        "has_main_web_app": false,
        "has_topics_enabled": bot.private_topics,
        "allows_users_to_create_topics": bot.private_topics,
    })))
}
