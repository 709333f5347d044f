//! What the gateway answers by itself: the bot's commands, presses of buttons, and the menu of the
//! commands.
//!
//! It is asked only for what is durable: a command has its tombstone, a press its entry. So whatever
//! is done here is done at most once for an update, and a kill loses it: the person asks again. The
//! answer to a command goes past the queues ([`crate::sender::command_replies`]); a press is answered only so
//! that the phone stops waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commands::{self, QUEUE_SHOWN, Skipped, Waiting};
use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::{Address, BotId, ChatId, MessageId, SessionId, UpdateId, UserId};
use crate::ops::inbox;
use crate::ops::status::SessionReport;
use crate::routing::commands::Command;
use crate::sender::command_replies::{Aside, Asides};
use crate::state::bots::BotState;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::atomic::{self, Durability};
use crate::store::crash_points::Step;
use crate::store::format::{self, FORMAT, ReadError};
use crate::telegram::api::{Api, MenuScope};
use crate::telegram::error::ApiError;
use crate::telegram::format::Rich;

/// How many things may wait to be answered; what comes beyond is left out.
const WAITING_MOST: usize = 64;
/// How long an answer to Telegram may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the menu is shown.
const SCOPES: [MenuScope; 2] = [MenuScope::Private, MenuScope::Groups];

/// A command that somebody who is let in has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The session of the chat.
    pub session: SessionId,
    /// Where it was written.
    pub address: Address,
    /// The message.
    pub message_id: MessageId,
    /// Who wrote it.
    pub from: UserId,
    /// The command.
    pub command: Command,
}

/// Something to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A command.
    Command(Asked),
    /// A press of a button, by the id that Telegram gave it.
    Press(String),
    /// See that the menu of the commands is the newest.
    Menu,
}

/// Where tasks are handed in.
#[derive(Clone, Debug)]
pub struct Tasks(mpsc::Sender<Task>);

impl Tasks {
    /// Hands in a task. One too many is left out: it was durable before, and the person asks again.
    pub fn add(&self, task: Task) {
        if self.0.try_send(task).is_err() {
            tracing::warn!("too much to answer at once: something was left out");
        }
    }
}

/// The menu that Telegram was told.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MenuFile {
    format: u32,
    commands: Vec<(String, String)>,
}

impl MenuFile {
    fn current() -> Self {
        let text = |(name, description): (&str, &str)| (name.to_owned(), description.to_owned());
        Self {
            format: FORMAT,
            commands: commands::MENU.map(text).into(),
        }
    }
}

/// Answers for one bot.
#[derive(Debug)]
pub struct Responder {
    state: StateDir,
    clock: Clock,
    bot: Arc<BotState>,
    asides: Asides,
    /// What people call the sessions.
    names: BTreeMap<SessionId, String>,
    tasks: mpsc::Receiver<Task>,
}

impl Responder {
    /// A responder, and where it is asked.
    pub fn new(
        state: &StateDir,
        clock: &Clock,
        bot: Arc<BotState>,
        asides: Asides,
        names: BTreeMap<SessionId, String>,
    ) -> (Self, Tasks) {
        let (sender, tasks) = mpsc::channel(WAITING_MOST);
        let responder = Self {
            state: state.clone(),
            clock: clock.clone(),
            bot,
            asides,
            names,
            tasks,
        };
        (responder, Tasks(sender))
    }

    /// Answers until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut at_work = JoinSet::new();
        loop {
            tokio::select! {
                // Cancel-safe: a task that was taken is carried out at once.
                () = stop.cancelled() => return,
                Some(ended) = at_work.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "an answer met a bug");
                    }
                }
                task = self.tasks.recv() => match task {
                    Some(Task::Command(asked)) => {
                        tokio::task::block_in_place(|| self.command(&asked));
                    }
                    Some(Task::Press(id)) => {
                        at_work.spawn(answer_press(self.bot.api.clone(), id));
                    }
                    Some(Task::Menu) => {
                        let (state, clock) = (self.state.clone(), self.clock.clone());
                        at_work.spawn(set_menu(state, clock, self.bot.api.clone()));
                    }
                    // The poller has ended, and the gateway is about to.
                    None => {
                        stop.cancelled().await;
                        return;
                    }
                },
            }
        }
    }

    fn command(&self, asked: &Asked) {
        let name = asked.command.name();
        tracing::info!(session = %asked.session, command = name, "answering a command");
        let answer = self.answer(asked).unwrap_or_else(|error| {
            tracing::error!(session = %asked.session, command = name, error = %Chain(&error), "cannot carry out a command");
            commands::failed()
        });
        self.asides.add(Aside {
            to: asked.address,
            text: answer,
            reply_to: asked.message_id,
            since: self.clock.instant(),
        });
    }

    fn answer(&self, asked: &Asked) -> Result<Rich, ReadError> {
        let (session, now) = (&asked.session, self.clock.now());
        Ok(match &asked.command {
            Command::Help => {
                let name = self.names.get(session).map(String::as_str);
                commands::help(session.as_str(), name.unwrap_or_default())
            }
            Command::Status => {
                commands::status(&SessionReport::gather(&self.state, session, now)?, now)
            }
            Command::Queue => {
                let (mut first, mut all) = (Vec::new(), 0);
                let elsewhere = self.waiting(session, asked.address.chat_id, |one| {
                    all += 1;
                    if first.len() < QUEUE_SHOWN {
                        first.push(line(&one, now));
                    }
                })?;
                commands::queue(&first, all, elsewhere)
            }
            Command::Skip { ids, others } => {
                let mut here = Vec::new();
                self.waiting(session, asked.address.chat_id, |one| {
                    here.extend(ids.iter().any(|id| one.is(*id)).then_some(one));
                })?;
                let done = ids
                    .iter()
                    .map(|&id| Ok((id, self.skip(session, &here, id)?)))
                    .collect::<Result<Vec<_>, StoreError>>()?;
                commands::skip(&done, *others)
            }
            Command::Id => commands::ids(session.as_str(), asked.address, asked.from),
        })
    }

    /// Goes through what waits of a chat, oldest first. Returns how many messages wait in others: nobody is
    /// shown in one chat what was written in another.
    fn waiting(
        &self,
        session: &SessionId,
        chat: ChatId,
        mut take: impl FnMut(inbox::Waiting),
    ) -> Result<usize, ReadError> {
        let chat = self.bot.chat_now(chat);
        let mut elsewhere = 0;
        inbox::each_waiting(&self.state, session, self.clock.now(), |one| {
            let address = one.shown.address;
            if address.bot_id == self.bot.api.id() && self.bot.chat_now(address.chat_id) == chat {
                take(one);
            } else {
                elsewhere += 1;
            }
        })?;
        Ok(elsewhere)
    }

    /// Drops a message with everything behind it. Like all settling it needs no lock: whoever comes
    /// first does it.
    fn skip(
        &self,
        session: &SessionId,
        here: &[inbox::Waiting],
        id: UpdateId,
    ) -> Result<Skipped, StoreError> {
        let Some(found) = here.iter().find(|one| one.is(id)) else {
            return Ok(Skipped::NotHere);
        };
        let inbox = Inbox::new(&self.state, self.state.session(session));
        let moved = inbox.settle(&found.shown.entries)?;
        Ok(match (moved.is_empty(), found.held) {
            (true, _) => Skipped::NotHere,
            (false, true) => Skipped::Seen,
            (false, false) => Skipped::Dropped,
        })
    }
}

/// A message as `/queue` shows it.
fn line(one: &inbox::Waiting, now: Timestamp) -> Waiting {
    let message = &one.shown.message;
    let from = message.from.as_ref().map(|from| from.name.clone());
    Waiting {
        id: message.update_id,
        age_s: one.age(now).as_secs(),
        from: from.unwrap_or_else(|| message.kind.clone()),
        text: message.text.clone(),
        held: one.held,
    }
}

/// Best effort: Telegram takes it for a few minutes only, and nothing depends on it.
async fn answer_press(api: Api, id: String) {
    let answer = tokio::time::timeout(PATIENCE, api.answer_press(&id)).await;
    match answer {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a press was not answered"),
        Err(_) => tracing::debug!("a press was not answered in time"),
    }
}

/// Tells Telegram the commands, if it was not told these. What fails is tried again an hour later.
async fn set_menu(state: StateDir, clock: Clock, api: Api) {
    let (bot, menu) = (api.id(), MenuFile::current());
    match told(&state, bot, &clock) {
        Ok(Some(told)) if told == menu => return,
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "cannot tell whether the menu is the newest; it is left as it is");
            return;
        }
    }
    for scope in SCOPES {
        let set = tokio::time::timeout(PATIENCE, api.set_menu(&commands::MENU, scope));
        let set = set
            .await
            .unwrap_or_else(|_| Err(ApiError::Doubt("it took too long".to_owned())));
        if let Err(error) = set {
            tracing::warn!(bot_id = bot.0, %error, "cannot set the menu of the commands; trying again in an hour");
            return;
        }
    }
    if let Err(error) = note(&state, bot, &menu) {
        tracing::warn!(error = %Chain(&error), "the menu is set, but that cannot be noted; it is set again in an hour");
    }
}

fn told(state: &StateDir, bot: BotId, clock: &Clock) -> Result<Option<MenuFile>, ReadError> {
    match format::read(state, &state.menu(bot), clock.now()) {
        // Setting it again does no harm.
        Err(ReadError::Quarantined { .. }) => Ok(None),
        other => other,
    }
}

fn note(state: &StateDir, bot: BotId, menu: &MenuFile) -> Result<(), StoreError> {
    let path = state.menu(bot);
    if let Some(folder) = path.parent() {
        atomic::create_folder(folder)?;
    }
    format::write(&path, menu, Step::Menu, Durability::Synced)
}
