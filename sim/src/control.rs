//! The control side over HTTP: what [`crate::Sim`] does, for people with `curl`.

use hyper::Method;
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::params::Params;
use crate::person::{Draft, When};
use crate::reply::Reply;
use crate::shared::Shared;
use crate::state::State;
use crate::view::View;

const HELP: &str = "\
POST /sim/message   {bot, chat, from?, text, topic?, reply_to?, ago?, raw?}
POST /sim/edit      {bot, chat, message_id, text}
POST /sim/callback  {bot, chat, message_id, data, from?}
POST /sim/reaction  {bot, chat, message_id, emoji, from?}
POST /sim/raw       {bot, update}  or  {bot, verbatim}
POST /sim/fault     {bot?, method?, chat?, contains?, times?, after?, kind, status?, description?, retry_after?,
                     parameters?, delay_before_ms?, delay_after_ms?}
                    kind: error delay answer_lost closed_after closed_before reset_before hang hang_after html
                    malformed truncated stalled; {\"clear\": true} removes all faults
POST /sim/reset     forgets chats, messages, updates, calls and faults; bots stay
GET  /sim/transcript?bot=&chat= (all chats without one)    GET /sim/calls?bot=
bot: the number before the colon of its token; not needed when there is only one
";

/// Answers one request below `/sim/`.
pub(crate) fn answer(
    shared: &Shared,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> Reply {
    let mut params = Params::default();
    params.add_form(query.as_bytes());
    if !body.is_empty() {
        match serde_json::from_slice(body) {
            Ok(Value::Object(object)) => object
                .into_iter()
                .for_each(|(name, value)| params.set(name, value)),
            Ok(_) | Err(_) => return Reply::text(400, "expected a JSON object\n".to_owned()),
        }
    }
    let when = When {
        now_ms: shared.clock.now_ms(),
        uptime_ms: shared.clock.uptime_ms(),
    };
    let bot = params
        .int("bot")
        .or_else(|| shared.read(|state| only(state.bots.keys())));
    let asked = path.trim_start_matches("/sim/");
    let named = matches!(asked, "help" | "fault" | "reset");
    let Some(bot) = bot.or_else(|| named.then_some(0)) else {
        return Reply::text(400, "which bot?\n".to_owned());
    };
    if method == Method::GET {
        return show(shared, when, asked, bot, params.int("chat"));
    }
    match act(shared, when, asked, bot, &params) {
        Ok(result) => Reply::json(200, json!({ "ok": true, "result": result }).to_string()),
        Err(reason) => Reply::text(400, format!("{reason}\n\n{HELP}")),
    }
}

fn only<'a>(mut ids: impl Iterator<Item = &'a i64>) -> Option<i64> {
    ids.next().copied().filter(|_| ids.next().is_none())
}

fn show(shared: &Shared, when: When, asked: &str, bot: i64, chat: Option<i64>) -> Reply {
    let view = |state: &State| {
        let view = View {
            state,
            now: when.now(),
        };
        match asked {
            "transcript" => Some(match chat {
                Some(chat) => view.transcript_text(bot, chat),
                None => view.all_transcripts(bot),
            }),
            "calls" => Some(view.calls(bot).iter().fold(String::new(), |shown, call| {
                format!(
                    "{shown}{} ms {} {} -> {:?}\n",
                    call.at_ms, call.method, call.params, call.outcome
                )
            })),
            "help" => Some(HELP.to_owned()),
            _ => None,
        }
    };
    match shared.read(view) {
        Some(text) => Reply::text(200, text),
        None => Reply::text(404, HELP.to_owned()),
    }
}

fn act(
    shared: &Shared,
    when: When,
    asked: &str,
    bot: i64,
    params: &Params,
) -> Result<Value, String> {
    let need = |name: &str| params.int(name).ok_or_else(|| format!("{name} is missing"));
    let text = |name: &str| {
        params
            .text(name)
            .ok_or_else(|| format!("{name} is missing"))
    };
    let place = || Ok::<_, String>((bot, need("chat")?, need("message_id")?));
    let from = || {
        params
            .int("from")
            .or_else(|| params.int("chat").filter(|chat| *chat > 0))
            .unwrap_or(1)
    };
    match asked {
        "message" => {
            let raw = params.nested("raw").ok().flatten();
            let draft = Draft {
                bot,
                chat: need("chat")?,
                user: from(),
                text: params.text("text").unwrap_or_default(),
                topic: params.int("topic"),
                reply_to: params.int("reply_to"),
                ago: params.int("ago").unwrap_or(0),
                extra: raw
                    .and_then(|raw| raw.as_object().cloned())
                    .unwrap_or_default(),
                ..Draft::default()
            };
            let sent = shared.change(|state| state.person_sends(when, draft));
            Ok(json!({ "message_id": sent.message_id, "update_id": sent.update_id }))
        }
        "edit" => {
            let ((bot, chat, id), text) = (place()?, text("text")?);
            Ok(json!(shared.change(|state| {
                state.person_edits(when, bot, chat, id, &text)
            })))
        }
        "callback" => {
            let (place, data) = (place()?, text("data")?);
            Ok(json!(shared.change(|state| state.person_presses(
                when,
                place,
                &data,
                from()
            ))))
        }
        "reaction" => {
            let (place, emoji) = (place()?, params.text("emoji").unwrap_or_default());
            let emoji: Vec<&str> = Some(emoji.as_str())
                .filter(|emoji| !emoji.is_empty())
                .into_iter()
                .collect();
            Ok(json!(shared.change(|state| state.person_reacts(
                when,
                place,
                from(),
                &emoji
            ))))
        }
        "raw" => {
            if let Some(verbatim) = params.text("verbatim") {
                return Ok(json!(
                    shared.change(|state| state.raw_text(when, bot, &verbatim))
                ));
            }
            let update = params
                .nested("update")
                .ok()
                .flatten()
                .ok_or("update is missing")?;
            Ok(json!(
                shared.change(|state| state.raw_update(when, bot, update))
            ))
        }
        "fault" => {
            if params.flag("clear") {
                shared.clear_faults(None);
                return Ok(Value::Bool(true));
            }
            let fault = Fault::from_json(&params.shown())?;
            shared.change(|state| state.faults.add(fault));
            Ok(Value::Bool(true))
        }
        "reset" => {
            shared.clear_faults(None);
            shared.change(State::reset);
            Ok(Value::Bool(true))
        }
        other => Err(format!("there is no /sim/{other}")),
    }
}

impl State {
    /// Forgets everything but the bots, their tokens and the polls that wait.
    pub(crate) fn reset(&mut self) {
        let numbers = self.last_number;
        let mut bots = std::mem::take(&mut self.bots);
        for bot in bots.values_mut() {
            bot.queue.clear();
            bot.callbacks.clear();
        }
        *self = Self {
            bots,
            last_number: numbers,
            ..Self::default()
        };
    }
}
