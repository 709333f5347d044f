//! Calls to the Bot API: our own transport on teloxide-core's `Bot` and typed payloads.
//!
//! teloxide's own transport drops `error_code`, turns a 429 with an extra parameter into a JSON
//! error and sleeps 10 s on each 5xx (docs/facts/telegram.md 10.4), so only its types are used. The token is
//! in the URL of every request: no URL ever leaves this file.

mod download;
mod upload;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use teloxide_core::Bot;
use teloxide_core::payloads::{
    AnswerCallbackQuery, EditMessageText, GetMe, SendChatAction, SendMessage, SetMessageReaction,
    SetMyCommands,
};
use teloxide_core::requests::Payload;
use teloxide_core::types::{
    BotCommand, BotCommandScope, CallbackQueryId, ChatAction, ChatId as WireChat,
    InlineKeyboardMarkup, LinkPreviewOptions, MessageEntity, MessageEntityKind,
    MessageId as WireMessage, ReactionType, ReplyMarkup, ReplyParameters, ThreadId,
};
use url::Url;

pub(crate) use self::download::DownloadSource;
use super::error::{ApiError, harmless, read_answer};
use super::format::{Entity, EntityStyle, Rich};
use crate::config::{Proxy, Token};
use crate::error_chain::Chain;
use crate::ids::{Address, BotId, MessageId};
use crate::telegram::update::ALLOWED_UPDATES;
pub use upload::{FileToSend, Media};

/// Longest time that a send may take. Telegram absorbs flood waits of up to 8 s as a slow answer
/// (docs/facts/telegram.md 4), so anything below 30 s would look like doubt.
const SEND_TIMEOUT: Duration = Duration::from_secs(40);
/// The time that a long poll may take beyond its wait.
const POLL_SLACK: Duration = Duration::from_secs(10);
/// A connection that has been idle this long is not used again: after a sleep of the machine it is
/// dead, and the first send on it would look lost.
const POOL_IDLE: Duration = Duration::from_secs(15);

/// Most bytes of an answer. The largest are batches of updates, which Telegram cuts at about 4 MiB
/// (docs/facts/telegram.md 2.1).
const ANSWER_BYTES: usize = 8 << 20;
/// Longest name of a bot that is shown.
const USERNAME_MAX: usize = 64;

/// A link shows its address, not a picture of what is behind it.
const NO_PREVIEW: LinkPreviewOptions = LinkPreviewOptions {
    is_disabled: true,
    url: None,
    prefer_small_media: false,
    prefer_large_media: false,
    show_above_text: false,
};

/// One message to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutgoingMessage {
    /// Its text; below files, their caption.
    pub text: Rich,
    /// The message that this one replies to.
    pub reply_to: Option<MessageId>,
    /// Whether the phone stays silent.
    pub silent: bool,
    /// The buttons below it.
    pub keyboard: Option<InlineKeyboardMarkup>,
}

impl OutgoingMessage {
    /// A text without anything else.
    pub fn new(text: Rich) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// One bot's access to the Bot API.
#[derive(Clone)]
pub struct Api {
    id: BotId,
    bot: Bot,
    polls: reqwest::Client,
}

// Not derived: `Debug` of `Bot` prints the token.
impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: {0}")]
pub struct ClientError(String);

/// In which chats a menu of commands is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MenuScope {
    /// Private chats.
    Private,
    /// Groups and supergroups.
    Groups,
}

/// The answer of `getMe`.
#[derive(Debug, Deserialize)]
pub struct Me {
    /// The bot's public name, without `@`.
    pub username: String,
}

/// `getUpdates`, whose typed form could not name newer kinds of update.
#[derive(Serialize)]
struct GetUpdates {
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    limit: u8,
    timeout: u64,
    allowed_updates: [&'static str; 5],
}

impl Payload for GetUpdates {
    type Output = Vec<serde_json::Value>;
    const NAME: &'static str = "getUpdates";
}

/// The HTTP clients, shared by all bots: they hold the system's certificates and the connections.
#[derive(Clone, Debug)]
pub struct HttpClients {
    /// For long polls. Each takes up the connection of the one before at once, so none is ever too old,
    /// and no timer has to look for one that is: an idle gateway sleeps until a poll is answered.
    polls: reqwest::Client,
    calls: reqwest::Client,
}

impl HttpClients {
    /// Reads the system's certificates. Requests go through the proxy, or directly whatever the environment says:
    /// the configuration has read it ([`crate::config::Proxy`]).
    pub fn new(proxy: Option<&Proxy>) -> Result<Self, ClientError> {
        Ok(Self {
            polls: client(None, proxy)?,
            calls: client(Some(POOL_IDLE), proxy)?,
        })
    }
}

fn client(
    pool_idle: Option<Duration>,
    proxy: Option<&Proxy>,
) -> Result<reqwest::Client, ClientError> {
    let failed = |error: reqwest::Error| ClientError(Chain(&error.without_url()).to_string());
    let mut builder = teloxide_core::net::default_reqwest_settings().no_proxy();
    if let Some(proxy) = proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.url.clone()).map_err(failed)?);
    }
    builder
        .timeout(SEND_TIMEOUT)
        .connect_timeout(Duration::from_secs(10))
        .pool_idle_timeout(pool_idle)
        .tcp_keepalive(Duration::from_secs(15))
        // A redirect would carry the token to another host.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(failed)
}

impl Api {
    /// Access with a token, at an address that [`crate::config`] has found safe to give it to.
    pub fn new(token: &Token, api_url: &Url, clients: HttpClients) -> Self {
        let bot = Bot::with_client(token.expose(), clients.calls).set_api_url(api_url.clone());
        Self {
            id: token.bot_id(),
            bot,
            polls: clients.polls,
        }
    }

    /// The bot.
    pub fn id(&self) -> BotId {
        self.id
    }

    /// The identity of a bot.
    pub async fn me(&self) -> Result<Me, ApiError> {
        let result = self.call(&GetMe::new(), SEND_TIMEOUT).await?;
        let me: Me = parse(&result)?;
        // It is shown at terminals, and compared with what people write.
        let username = me
            .username
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_');
        Ok(Me {
            username: username.take(USERNAME_MAX).collect(),
        })
    }

    /// Waits up to `wait` for updates. `offset` deletes everything below it on the server **when the
    /// request arrives**: only for what is durable.
    pub async fn updates(
        &self,
        offset: Option<i64>,
        wait: Duration,
    ) -> Result<Vec<Box<RawValue>>, ApiError> {
        let payload = GetUpdates {
            offset,
            limit: 100,
            timeout: wait.as_secs(),
            allowed_updates: ALLOWED_UPDATES,
        };
        let result = self
            .call_by(&self.polls, &payload, wait + POLL_SLACK)
            .await?;
        parse(&result)
    }

    /// Sends a message without files and returns the new message's id, or 0 if Telegram does not say it. If the
    /// message that it replies to is gone, it is sent all the same.
    pub async fn send_text(
        &self,
        to: Address,
        message: &OutgoingMessage,
    ) -> Result<MessageId, ApiError> {
        let mut payload = SendMessage::new(WireChat(to.chat_id.0), &message.text.text);
        payload.entities = wire_entities(&message.text);
        payload.link_preview_options = Some(NO_PREVIEW);
        payload.disable_notification = message.silent.then_some(true);
        payload.reply_parameters = message.reply_to.and_then(reply_parameters);
        payload.reply_markup = message.keyboard.clone().map(ReplyMarkup::InlineKeyboard);
        payload.message_thread_id = thread(to);
        let result = self.call(&payload, SEND_TIMEOUT).await?;
        Ok(sent_message(&result))
    }

    /// Replaces the text and the buttons of one of our messages.
    pub async fn edit_text(
        &self,
        to: Address,
        id: MessageId,
        message: &OutgoingMessage,
    ) -> Result<(), ApiError> {
        let text = &message.text;
        let mut payload = EditMessageText::new(WireChat(to.chat_id.0), wire(id)?, &text.text);
        payload.entities = wire_entities(text);
        payload.link_preview_options = Some(NO_PREVIEW);
        payload.reply_markup.clone_from(&message.keyboard);
        self.call(&payload, SEND_TIMEOUT).await.map(drop)
    }

    /// Sets our reaction on a message; an empty emoji removes it.
    pub async fn react(
        &self,
        to: Address,
        message: MessageId,
        emoji: &str,
    ) -> Result<(), ApiError> {
        let mut payload = SetMessageReaction::new(WireChat(to.chat_id.0), wire(message)?);
        payload.reaction = Some(if emoji.is_empty() {
            Vec::new()
        } else {
            vec![ReactionType::Emoji {
                emoji: emoji.to_owned(),
            }]
        });
        self.call(&payload, SEND_TIMEOUT).await.map(drop)
    }

    /// Shows "typing…" for five seconds at most, or until a message comes (docs/facts/telegram.md 8).
    pub async fn typing(&self, to: Address) -> Result<(), ApiError> {
        let mut payload = SendChatAction::new(WireChat(to.chat_id.0), ChatAction::Typing);
        payload.message_thread_id = thread(to);
        self.call(&payload, SEND_TIMEOUT).await.map(drop)
    }

    /// Tells Telegram that a press of a button has arrived, so that the phone stops waiting. Not
    /// limited, and taken for some minutes only.
    pub async fn answer_press(&self, id: &str) -> Result<(), ApiError> {
        let payload = AnswerCallbackQuery::new(CallbackQueryId(id.to_owned()));
        self.call(&payload, SEND_TIMEOUT).await.map(drop)
    }

    /// Sets the commands that are shown in a kind of chats: names and descriptions.
    pub async fn set_menu(
        &self,
        commands: &[(&str, &str)],
        scope: MenuScope,
    ) -> Result<(), ApiError> {
        let commands = commands.iter();
        let commands = commands.map(|(name, description)| BotCommand::new(*name, *description));
        let mut payload = SetMyCommands::new(commands);
        payload.scope = Some(match scope {
            MenuScope::Private => BotCommandScope::AllPrivateChats,
            MenuScope::Groups => BotCommandScope::AllGroupChats,
        });
        self.call(&payload, SEND_TIMEOUT).await.map(drop)
    }

    async fn call<P: Payload + Serialize>(
        &self,
        payload: &P,
        timeout: Duration,
    ) -> Result<Box<RawValue>, ApiError> {
        self.call_by(self.bot.client(), payload, timeout).await
    }

    async fn call_by<P: Payload + Serialize>(
        &self,
        client: &reqwest::Client,
        payload: &P,
        timeout: Duration,
    ) -> Result<Box<RawValue>, ApiError> {
        let body = serde_json::to_vec(payload)
            .map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let request = client.post(self.method_url(P::NAME)).timeout(timeout);
        hear(
            request
                .header("content-type", "application/json")
                .body(body),
        )
        .await
    }

    fn request(&self, method: &str, timeout: Duration) -> reqwest::RequestBuilder {
        let client = self.bot.client();
        client.post(self.method_url(method)).timeout(timeout)
    }

    fn method_url(&self, method: &str) -> Url {
        let mut url = self.bot.api_url();
        // An address with a path ("https://proxy/telegram/") keeps it.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .push(&format!("bot{}", self.bot.token()))
                .push(method);
        }
        url
    }
}

fn thread(to: Address) -> Option<ThreadId> {
    to.topic_id
        .and_then(|topic| i32::try_from(topic.0).ok())
        .map(|id| ThreadId(WireMessage(id)))
}

/// Sends a request and reads what Telegram answers.
async fn hear(request: reqwest::RequestBuilder) -> Result<Box<RawValue>, ApiError> {
    hear_answer(request.send().await.map_err(not_heard)?).await
}

/// Reads an answer as it comes, and not beyond [`ANSWER_BYTES`].
async fn hear_answer(mut response: reqwest::Response) -> Result<Box<RawValue>, ApiError> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(not_heard)? {
        if body.len() + piece.len() > ANSWER_BYTES {
            return Err(ApiError::Doubt(
                "the answer is longer than 8 MB, more than any Bot API server sends".to_owned(),
            ));
        }
        body.extend_from_slice(&piece);
    }
    read_answer(status, retry_after.as_deref(), &body)
}

/// The id of a message that was sent; 0 where the answer has no usable one. It is out all the same.
fn sent_message(result: &RawValue) -> MessageId {
    #[derive(Deserialize)]
    struct SentMessage {
        message_id: i32,
    }
    let sent: Option<SentMessage> = serde_json::from_str(result.get()).ok();
    MessageId(sent.map_or(0, |sent| sent.message_id.max(0).into()))
}

/// A message id as the typed payloads want it. An id beyond 32 bits exists in no chat.
fn wire(message: MessageId) -> Result<WireMessage, ApiError> {
    i32::try_from(message.0)
        .map(WireMessage)
        .map_err(|_| ApiError::Refused {
            code: 400,
            description: "message id out of range".to_owned(),
            retry_after: None,
            migrate_to: None,
        })
}

/// A reply to a message, and without it if it is gone. An id of 0 (ephemeral messages) or beyond 32
/// bits is no message that can be replied to.
fn reply_parameters(message: MessageId) -> Option<ReplyParameters> {
    let id = wire(message).ok().filter(|id| id.0 > 0)?;
    Some(ReplyParameters::new(id).allow_sending_without_reply())
}

/// Formatting as the typed payloads want it; `None` for a text without.
fn wire_entities(message: &Rich) -> Option<Vec<MessageEntity>> {
    let entities: Vec<MessageEntity> = message.entities.iter().filter_map(wire_entity).collect();
    (!entities.is_empty()).then_some(entities)
}

/// `None` for a link that leads nowhere: its text is sent without it.
fn wire_entity(entity: &Entity) -> Option<MessageEntity> {
    let kind = match entity.kind {
        EntityStyle::Bold => MessageEntityKind::Bold,
        EntityStyle::Italic => MessageEntityKind::Italic,
        EntityStyle::Underline => MessageEntityKind::Underline,
        EntityStyle::Strikethrough => MessageEntityKind::Strikethrough,
        EntityStyle::Spoiler => MessageEntityKind::Spoiler,
        EntityStyle::Blockquote => MessageEntityKind::Blockquote,
        EntityStyle::Code => MessageEntityKind::Code,
        EntityStyle::Pre => MessageEntityKind::Pre {
            language: entity.language.clone(),
        },
        EntityStyle::TextLink => MessageEntityKind::TextLink {
            url: Url::parse(entity.url.as_deref()?).ok()?,
        },
    };
    Some(MessageEntity::new(kind, entity.offset, entity.length))
}

/// A success whose result is not what we expect did have its effect.
fn parse<'a, T: Deserialize<'a>>(result: &'a RawValue) -> Result<T, ApiError> {
    serde_json::from_str(result.get()).map_err(|error| {
        let words = harmless(&error.to_string());
        ApiError::Doubt(format!("an answer with an unexpected result: {words}"))
    })
}

/// Only a connection that never stood is surely without effect. The error's URL holds the token.
fn not_heard(error: reqwest::Error) -> ApiError {
    let never_stood = error.is_connect() || error.is_builder();
    let timed_out = error.is_timeout();
    let words = Chain(&error.without_url()).to_string();
    match (never_stood, timed_out) {
        (true, _) => ApiError::Unreachable(words),
        (false, true) => ApiError::Doubt("it took too long".to_owned()),
        (false, false) => ApiError::Doubt(words),
    }
}
