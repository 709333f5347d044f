//! A strict Telegram Bot API on loopback: for tests, and for trying telepost without a token.
//!
//! It judges. It refuses what the real server refuses, in the same words, whatever our own code happens to send; its
//! rules come from the sources of the real server and the published schema, not from what telepost needs.
//!
//! ```
//! use telegram_sim::Sim;
//!
//! let sim = Sim::start()?;
//! let bot = sim.add_bot("42:secret", "my_bot");
//! let sent = sim.say(bot, 7, 7, "Good morning");
//! // … start the program under test with the API address `sim.url()` and the token `42:secret` …
//! assert_eq!(sim.pending(bot), 1);
//! assert_eq!(sim.transcript(bot, 7)[0].message_id, sent.message_id);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What it covers
//!
//! - `/bot<token>/<method>` with query, form, JSON and multipart parameters, `/file/bot<token>/<path>`, real HTTP
//!   status codes, `Retry-After`;
//! - `getUpdates`: offsets (negative ones, ones behind the tail), confirmation on arrival, the anti-spin rules, the
//!   4 MiB cut, expiry after 24 h, conflicts, `allowed_updates` kept and applied when an update comes into being;
//! - messages, edits, deletions, replies, inline keyboards, reactions, topics, files, albums, command menus;
//! - faults ([`Fault`]), rate buckets ([`Sim::rate_limits`]), a clock that can be moved
//!   ([`Sim::advance`], [`Sim::freeze_clock`]);
//! - a control side over HTTP below `/sim/` (`GET /sim/help` lists it).
//!
//! # Where it knows less than the real server
//!
//! - Webhooks are set, reported and conflict with polling; nothing is delivered to them.
//! - `parse_mode` Markdown and `MarkdownV2` are stored as sent: marks are neither checked nor removed. HTML is parsed.
//! - Control characters in texts are kept; the server finds no links, mentions or hashtags, only bot commands of people.
//! - Entities that cross, or that lie in one another where they may not, are refused, where the real server splits
//!   or drops some; a quote in a reply is not compared with its
//!   message.
//! - Message ids count per chat, also in private chats and basic groups, where the real server counts per account.
//! - In a group bots have no privacy mode: each hears everything. Bots do not see each other.
//! - A closed topic takes nothing from anyone, also not from administrators; leniency about replies is not refused
//!   across topics of one chat.
//! - A bot is an administrator of a group unless told otherwise ([`Sim::set_standing`]); rights are all or nothing.
//! - Any button may be pressed, whether the message has it or not. Callback queries do not grow too old.
//! - Rate limits are the documented numbers; the real ones are unknown and adaptive, and it never absorbs them as
//!   slow answers (use [`Fault::delay_before`]).
//! - Channels, business connections, guests, payments, games, drafts, rich messages, polls: not there; unknown
//!   methods are refused with 404. Updates of such kinds can be queued raw ([`Sim::raw_update`]).
//! - The wording of a few refusals is not checked against a source: crossing entities, `TOPIC_TITLE_*`,
//!   `BOT_COMMAND*`, `invalid file_id`, the album rules, broken keyboards and bodies.
//! - Of photos only the head is looked at: format and dimensions. Nothing is converted.

mod answer;
mod api;
mod builder;
mod calls;
mod clock;
mod control;
mod faults;
mod http;
mod limits;
mod methods;
mod odd;
mod params;
mod person;
mod picture;
mod polling;
mod queue;
mod render;
mod reply;
mod server;
mod shared;
mod sim;
mod state;
mod view;

pub use builder::MessageBuilder;
pub use calls::{Call, Outcome};
pub use faults::{Fault, FaultId};
pub use person::Sent;
pub use sim::{Sim, TimedOut, Until};
pub use state::{GroupKind, Standing};
pub use view::{Line, View};

/// Judges a text and its entities (an array, as in `sendMessage`) as a message of at most `limit` code points, without
/// a server: what would be stored, or the refusal.
pub fn check_text(
    text: &str,
    entities: &serde_json::Value,
    limit: usize,
) -> Result<(String, Vec<serde_json::Value>), String> {
    methods::text::judged(text, entities, limit).map_err(|refusal| refusal.description)
}
