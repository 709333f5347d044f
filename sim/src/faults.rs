//! Injected faults: what goes wrong, for which calls, how often.

use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Refusal;

/// Names an injected fault, to ask later how often it struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(pub(crate) u64);

/// The effect of a fault on a matching call.
#[derive(Debug, Clone)]
pub(crate) enum Effect {
    /// Applied and answered as usual; for faults that only delay.
    None,
    /// Not applied; this refusal.
    Refuse(Refusal),
    /// Not applied; the connection is closed without an answer.
    ClosedBefore { reset: bool },
    /// Applied; the connection is closed without an answer.
    AnswerLost { reset: bool },
    /// Not applied until the fault is cleared.
    HangBefore,
    /// Applied, and not answered until the fault is cleared.
    HangAfter,
    /// Not applied; a page of HTML, as a proxy in front of the server sends it, with its own `Retry-After`.
    Html(u16, Option<String>),
    /// Applied; `result` is this JSON instead.
    Result(String),
    /// Applied; the answer is not JSON.
    Malformed,
    /// Applied; the answer ends in the middle, and the connection with it.
    Truncated,
    /// Applied; the second half of the answer comes only when the fault is cleared.
    Stalled,
}

/// One injected fault. Without [`times`](Fault::times) it strikes once.
///
/// ```
/// use telegram_sim::{Fault, Sim};
///
/// let sim = Sim::start()?;
/// let bot = sim.add_bot("1:token", "a_bot");
/// sim.fault(Fault::on(bot).method("sendMessage").chat(7).retry_after(3));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is given to `Sim::fault`"]
pub struct Fault {
    pub(crate) bot: Option<i64>,
    pub(crate) method: Option<String>,
    pub(crate) chat: Option<i64>,
    pub(crate) contains: Option<String>,
    pub(crate) skip: u32,
    pub(crate) times: Option<u32>,
    pub(crate) delay_before: Duration,
    pub(crate) delay_after: Duration,
    pub(crate) effect: Effect,
}

impl Fault {
    /// A fault for calls of one bot.
    pub fn on(bot: i64) -> Self {
        Self {
            bot: Some(bot),
            ..Self::anywhere()
        }
    }

    /// A fault for calls of any bot.
    pub fn anywhere() -> Self {
        Self {
            bot: None,
            method: None,
            chat: None,
            contains: None,
            skip: 0,
            times: Some(1),
            delay_before: Duration::ZERO,
            delay_after: Duration::ZERO,
            effect: Effect::None,
        }
    }

    /// Only this method (any case).
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only calls that name this chat.
    pub fn chat(mut self, chat: i64) -> Self {
        self.chat = Some(chat);
        self
    }

    /// Only calls in one of whose parameters this text occurs.
    pub fn contains(mut self, text: &str) -> Self {
        self.contains = Some(text.to_owned());
        self
    }

    /// Strikes `times` times.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes until it is cleared.
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Lets `skip` matching calls through first.
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Waits before the call is applied (and before any other effect). It is applied also when the client has hung up
    /// by then, as in real life; polls are not.
    pub fn delay_before(mut self, delay: Duration) -> Self {
        self.delay_before = delay;
        self
    }

    /// Waits between applying the call and answering it.
    pub fn delay_after(mut self, delay: Duration) -> Self {
        self.delay_after = delay;
        self
    }

    /// Refuses with this code and description; the call is not applied.
    pub fn error(mut self, code: u16, description: &str) -> Self {
        self.effect = Effect::Refuse(Refusal::new(code, description));
        self
    }

    /// Refuses with 429 and the usual description; the call is not applied.
    pub fn retry_after(mut self, seconds: i64) -> Self {
        self.effect = Effect::Refuse(Refusal::too_many(seconds));
        self
    }

    /// Replaces `parameters` of the refusal by anything: odd keys, floats, nothing.
    pub fn parameters(mut self, parameters: Value) -> Self {
        if let Effect::Refuse(refusal) = &mut self.effect {
            refusal.parameters = Some(parameters);
        }
        self
    }

    /// Refuses as a group that became a supergroup does.
    pub fn migrated(mut self, new_chat: i64) -> Self {
        self.effect = Effect::Refuse(Refusal::migrated(new_chat));
        self
    }

    /// Applies the call, then resets the connection (RST) instead of answering.
    pub fn answer_lost(mut self) -> Self {
        self.effect = Effect::AnswerLost { reset: true };
        self
    }

    /// Applies the call, then closes the connection (FIN) instead of answering.
    pub fn closed_after(mut self) -> Self {
        self.effect = Effect::AnswerLost { reset: false };
        self
    }

    /// Resets the connection (RST) without applying the call.
    pub fn reset_before(mut self) -> Self {
        self.effect = Effect::ClosedBefore { reset: true };
        self
    }

    /// Closes the connection (FIN) without applying the call.
    pub fn closed_before(mut self) -> Self {
        self.effect = Effect::ClosedBefore { reset: false };
        self
    }

    /// Neither applies nor answers the call until the fault is cleared; then goes on as usual.
    pub fn hang(mut self) -> Self {
        self.effect = Effect::HangBefore;
        self
    }

    /// Applies the call and does not answer it until the fault is cleared.
    pub fn hang_after(mut self) -> Self {
        self.effect = Effect::HangAfter;
        self
    }

    /// Answers with a page of HTML and this status; the call is not applied.
    pub fn html(mut self, status: u16) -> Self {
        self.effect = Effect::Html(status, None);
        self
    }

    /// The header `Retry-After` of such a page.
    pub fn retry_after_header(mut self, value: &str) -> Self {
        if let Effect::Html(_, header) = &mut self.effect {
            *header = Some(value.to_owned());
        }
        self
    }

    /// Applies the call and answers `ok` with this JSON in place of its result.
    pub fn result(mut self, result: impl Into<String>) -> Self {
        self.effect = Effect::Result(result.into());
        self
    }

    /// Applies the call and answers with status 200 and something that is not JSON.
    pub fn malformed(mut self) -> Self {
        self.effect = Effect::Malformed;
        self
    }

    /// Applies the call and breaks the connection in the middle of the answer.
    pub fn truncated(mut self) -> Self {
        self.effect = Effect::Truncated;
        self
    }

    /// Applies the call, and holds back the second half of the answer until the fault is cleared.
    pub fn stalled(mut self) -> Self {
        self.effect = Effect::Stalled;
        self
    }

    /// Reads a fault from the JSON of the control side; see `/sim/help`.
    pub(crate) fn from_json(value: &Value) -> Result<Self, String> {
        let int = |name: &str| value.get(name).and_then(crate::params::as_int);
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let count = |name: &str| int(name).and_then(|number| u32::try_from(number).ok());
        let delay = |name: &str| {
            Duration::from_millis(int(name).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0))
        };
        let status = |otherwise: u16| {
            int("status")
                .and_then(|code| u16::try_from(code).ok())
                .unwrap_or(otherwise)
        };
        let mut fault = Self::anywhere();
        fault.bot = int("bot");
        fault.method = text("method").map(str::to_owned);
        fault.chat = int("chat");
        fault.contains = text("contains").map(str::to_owned);
        fault.times = Some(count("times").unwrap_or(1));
        fault.skip = count("after").unwrap_or(0);
        fault = fault
            .delay_before(delay("delay_before_ms"))
            .delay_after(delay("delay_after_ms"));
        let fault = match text("kind").unwrap_or("error") {
            "error" => match int("retry_after") {
                Some(seconds) => fault.retry_after(seconds),
                None => fault.error(
                    status(500),
                    text("description").unwrap_or("Internal Server Error"),
                ),
            },
            "delay" => fault,
            "answer_lost" => fault.answer_lost(),
            "closed_after" => fault.closed_after(),
            "closed_before" => fault.closed_before(),
            "reset_before" => fault.reset_before(),
            "hang" => fault.hang(),
            "hang_after" => fault.hang_after(),
            "html" => fault.html(status(502)),
            "malformed" => fault.malformed(),
            "truncated" => fault.truncated(),
            "stalled" => fault.stalled(),
            other => return Err(format!("unknown fault kind {other:?}")),
        };
        Ok(match value.get("parameters") {
            Some(parameters) => fault.parameters(parameters.clone()),
            None => fault,
        })
    }

    fn matches(&self, bot: i64, method: &str, chat: Option<i64>, params: &Value) -> bool {
        self.bot.is_none_or(|wanted| wanted == bot)
            && self
                .method
                .as_ref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.chat.is_none_or(|wanted| Some(wanted) == chat)
            && self
                .contains
                .as_ref()
                .is_none_or(|wanted| mentions(params, wanted))
    }
}

/// Whether the text occurs in one of the parameters.
fn mentions(params: &Value, wanted: &str) -> bool {
    params.as_object().into_iter().flatten().any(|(_, value)| {
        value.as_str().map_or_else(
            || value.to_string().contains(wanted),
            |text| text.contains(wanted),
        )
    })
}

/// The treatment of one call.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) id: FaultId,
    pub(crate) delay_before: Duration,
    pub(crate) delay_after: Duration,
    pub(crate) effect: Effect,
}

#[derive(Debug)]
struct Armed {
    id: FaultId,
    fault: Fault,
    seen: u32,
    hits: u32,
    cleared: bool,
}

/// All faults, oldest first; the first that matches and is not used up strikes.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    armed: Vec<Armed>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) -> FaultId {
        let id = FaultId(u64::try_from(self.armed.len()).unwrap_or(u64::MAX));
        self.armed.push(Armed {
            id,
            fault,
            seen: 0,
            hits: 0,
            cleared: false,
        });
        id
    }

    /// Disarms one fault, or all; hanging calls go on.
    pub(crate) fn clear(&mut self, which: Option<FaultId>) {
        for armed in &mut self.armed {
            armed.cleared |= which.is_none_or(|id| id == armed.id);
        }
    }

    pub(crate) fn hits(&self, id: FaultId) -> u32 {
        self.armed
            .iter()
            .find(|armed| armed.id == id)
            .map_or(0, |armed| armed.hits)
    }

    pub(crate) fn holds(&self, id: FaultId) -> bool {
        self.armed
            .iter()
            .any(|armed| armed.id == id && !armed.cleared)
    }

    pub(crate) fn strike(
        &mut self,
        bot: i64,
        method: &str,
        chat: Option<i64>,
        params: &Value,
    ) -> Option<Plan> {
        for armed in &mut self.armed {
            let used_up = armed.fault.times.is_some_and(|times| armed.hits >= times);
            if armed.cleared || used_up || !armed.fault.matches(bot, method, chat, params) {
                continue;
            }
            armed.seen += 1;
            if armed.seen <= armed.fault.skip {
                continue;
            }
            armed.hits += 1;
            return Some(Plan {
                id: armed.id,
                delay_before: armed.fault.delay_before,
                delay_after: armed.fault.delay_after,
                effect: armed.fault.effect.clone(),
            });
        }
        None
    }
}

/// The answer of a proxy whose server is away.
pub(crate) fn html_page(status: u16) -> String {
    format!(
        "<html>\r\n<head><title>{status} Bad Gateway</title></head>\r\n<body>\r\n<center><h1>{status} Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )
}

/// A body that no JSON parser accepts.
pub(crate) fn garbage() -> String {
    let mut text = json!({ "ok": true }).to_string();
    text.push_str(r#","result":{{]"#);
    text
}
