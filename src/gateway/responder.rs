//! The responder: answers that the gateway gives by itself: the bot's commands, button presses, and the menu of commands.
//!
//! Tasks come only from durable updates: a command has its tombstone, a press its entry. So a task is
//! carried out at most once for an update; a kill loses it, and the person asks again. The answer to a command
//! goes past the queues ([`crate::sender::command_replies`]); a press is answered only so that the phone stops
//! waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commands::{self, QUEUE_SHOWN, QueueLine, Skipped};
use crate::clock::{Clock, Timestamp};
use crate::error_chain::Chain;
use crate::ids::{Address, ChatId, MessageId, SessionId, UpdateId, UserId};
use crate::ops::inbox::{PendingMessage, for_each_waiting};
use crate::ops::status::SessionReport;
use crate::routing::commands::Command;
use crate::sender::command_replies::{CommandReply, CommandReplyInbox};
use crate::state::bots::BotHandle;
use crate::state::inbox::Inbox;
use crate::state::layout::StateDir;
use crate::store::StoreError;
use crate::store::state_file::ReadError;
use crate::telegram::api::{Api, MenuScope};
use crate::telegram::error::ApiError;
use crate::telegram::format::Rich;

/// How many tasks may wait; further ones are dropped.
const QUEUE_MOST: usize = 64;
/// How long a call to Telegram may take on which no person waits.
const PATIENCE: Duration = Duration::from_secs(10);
const SCOPES: [MenuScope; 2] = [MenuScope::Private, MenuScope::Groups];

/// A command that an admitted person has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandCall {
    pub(crate) session: SessionId,
    pub(crate) address: Address,
    pub(crate) message_id: MessageId,
    pub(crate) from: UserId,
    pub(crate) command: Command,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResponderTask {
    Command(CommandCall),
    /// A press of a button, by the id that Telegram gave it.
    Press(String),
    /// Tell Telegram the menu of commands, unless this gateway has done so.
    Menu,
}

/// The responder's queue.
#[derive(Clone, Debug)]
pub struct TaskQueue(mpsc::Sender<ResponderTask>);

impl TaskQueue {
    /// A queue whose tasks no responder carries out.
    #[doc(hidden)]
    pub fn detached() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Adds a task. When the queue is full the task is dropped: the person asks again.
    pub(crate) fn add(&self, task: ResponderTask) {
        if self.0.try_send(task).is_err() {
            tracing::warn!("too many commands and button presses at once: one is not answered");
        }
    }
}

/// Answers the commands and button presses of one bot.
#[derive(Debug)]
pub(crate) struct Responder {
    state: StateDir,
    clock: Clock,
    bot: Arc<BotHandle>,
    command_replies: CommandReplyInbox,
    /// The sessions by the names that people use.
    names: BTreeMap<SessionId, String>,
    tasks: mpsc::Receiver<ResponderTask>,
    /// Whether Telegram knows the menu of commands.
    menu_is_set: bool,
}

impl Responder {
    pub(crate) fn new(
        state: &StateDir,
        clock: &Clock,
        bot: Arc<BotHandle>,
        command_replies: CommandReplyInbox,
        names: BTreeMap<SessionId, String>,
    ) -> (Self, TaskQueue) {
        let (sender, tasks) = mpsc::channel(QUEUE_MOST);
        let responder = Self {
            state: state.clone(),
            clock: clock.clone(),
            bot,
            command_replies,
            names,
            tasks,
            menu_is_set: false,
        };
        (responder, TaskQueue(sender))
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut calls = JoinSet::new();
        loop {
            tokio::select! {
                // Cancel-safe: a task that was taken is carried out at once.
                () = stop.cancelled() => return,
                Some(ended) = calls.join_next() => match ended {
                    Ok(EndedCall::Menu { is_set }) => self.menu_is_set = is_set,
                    Ok(EndedCall::Press) => {}
                    Err(error) => tracing::error!(%error, "a responder task panicked"),
                },
                task = self.tasks.recv() => match task {
                    Some(ResponderTask::Command(call)) => {
                        tokio::task::block_in_place(|| self.answer_command(&call));
                    }
                    Some(ResponderTask::Press(id)) => {
                        calls.spawn(answer_press(self.bot.api.clone(), id));
                    }
                    Some(ResponderTask::Menu) if self.menu_is_set => {}
                    Some(ResponderTask::Menu) => {
                        calls.spawn(set_menu(self.bot.api.clone()));
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

    fn answer_command(&self, call: &CommandCall) {
        let name = call.command.name();
        tracing::info!(session = %call.session, command = name, "answering a command");
        let answer = self.carry_out(call).unwrap_or_else(|error| {
            tracing::error!(session = %call.session, command = name, error = %Chain(&error), "cannot carry out a command");
            commands::failed()
        });
        self.command_replies.add(CommandReply {
            to: call.address,
            text: answer,
            reply_to: call.message_id,
            since: self.clock.instant(),
        });
    }

    fn carry_out(&self, call: &CommandCall) -> Result<Rich, ReadError> {
        let (session, now) = (&call.session, self.clock.now());
        Ok(match &call.command {
            Command::Help => {
                let name = self.names.get(session).map(String::as_str);
                commands::help(session.as_str(), name.unwrap_or_default())
            }
            Command::Status => {
                commands::status(&SessionReport::gather(&self.state, session, now)?, now)
            }
            Command::Queue => {
                let (mut first, mut all) = (Vec::new(), 0);
                let elsewhere = self.each_waiting(session, call.address.chat_id, |one| {
                    all += 1;
                    if first.len() < QUEUE_SHOWN {
                        first.push(line(&one, now));
                    }
                })?;
                commands::queue(&first, all, elsewhere)
            }
            Command::Skip { ids, others } => {
                let mut here = Vec::new();
                self.each_waiting(session, call.address.chat_id, |one| {
                    here.extend(ids.iter().any(|id| one.contains(*id)).then_some(one));
                })?;
                let done = ids
                    .iter()
                    .map(|&id| Ok((id, self.skip(session, &here, id)?)))
                    .collect::<Result<Vec<_>, StoreError>>()?;
                commands::skip(&done, *others)
            }
            Command::Id => commands::ids(session.as_str(), call.address, call.from),
        })
    }

    /// Passes each waiting message of a chat to `take`, oldest first. Returns how many messages wait in other
    /// chats: a chat never shows the messages of another one.
    fn each_waiting(
        &self,
        session: &SessionId,
        chat: ChatId,
        mut take: impl FnMut(PendingMessage),
    ) -> Result<usize, ReadError> {
        let chat = self.bot.current_chat(chat);
        let mut elsewhere = 0;
        for_each_waiting(&self.state, session, self.clock.now(), |one| {
            let address = one.shown.address;
            if address.bot_id == self.bot.api.id() && self.bot.current_chat(address.chat_id) == chat
            {
                take(one);
            } else {
                elsewhere += 1;
            }
        })?;
        Ok(elsewhere)
    }

    /// Drops a message with all its entries. Settling needs no lock: renaming an entry twice is harmless.
    fn skip(
        &self,
        session: &SessionId,
        here: &[PendingMessage],
        id: UpdateId,
    ) -> Result<Skipped, StoreError> {
        let Some(found) = here.iter().find(|one| one.contains(id)) else {
            return Ok(Skipped::NotHere);
        };
        let inbox = Inbox::new(&self.state.session(session));
        let moved = inbox.settle(&found.shown.entries)?;
        Ok(match (moved.is_empty(), found.held) {
            (true, _) => Skipped::NotHere,
            (false, true) => Skipped::Seen,
            (false, false) => Skipped::Dropped,
        })
    }
}

fn line(one: &PendingMessage, now: Timestamp) -> QueueLine {
    let message = &one.shown.message;
    let from = message.from.as_ref().map(|from| from.name.clone());
    QueueLine {
        id: message.update_id,
        age_s: one.age(now).as_secs(),
        from: from.unwrap_or_else(|| message.kind.clone()),
        text: message.text.clone(),
        held: one.held,
    }
}

#[derive(Clone, Copy, Debug)]
enum EndedCall {
    Press,
    Menu { is_set: bool },
}

/// Answers a press, best effort: Telegram accepts the answer for a few minutes only, and nothing depends
/// on it.
async fn answer_press(api: Api, id: String) -> EndedCall {
    let answer = tokio::time::timeout(PATIENCE, api.answer_press(&id)).await;
    match answer {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a button press was not answered"),
        Err(_) => tracing::debug!("a button press was not answered in time"),
    }
    EndedCall::Press
}

/// Tells Telegram the commands. The poller asks again within an hour if that fails.
async fn set_menu(api: Api) -> EndedCall {
    for scope in SCOPES {
        let set = tokio::time::timeout(PATIENCE, api.set_menu(&commands::MENU, scope));
        let set = set
            .await
            .unwrap_or_else(|_| Err(ApiError::Doubt("it took too long".to_owned())));
        if let Err(error) = set {
            tracing::warn!(bot_id = api.id().0, %error, "cannot set the menu of commands; retrying in an hour");
            return EndedCall::Menu { is_set: false };
        }
    }
    EndedCall::Menu { is_set: true }
}
