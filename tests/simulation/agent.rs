//! An agent with its MCP server: telepost's own [`Mailbox`] over the disk in memory. This file tells the
//! client: which calls it makes, and the fate of their results.

use std::collections::BTreeSet;

use telepost::clock::Timestamp;
use telepost::ids::UpdateId;
use telepost::mcp::call::{Caller, Mailbox, PresentationId, ShownPage};
use telepost::mcp::tools::{ReactParams, Refusal, ReplyParams, To, ToolResult};
use telepost::state::agents::Reach;
use telepost::state::agents::holder::{HolderId, Registration};
use telepost::state::agents::process::ProcessId;
use telepost::state::holds::Held;

use crate::action::{Fate, Where};
use crate::memory_disk::MemoryDisk;
use crate::world::{Died, Folder, Shared, World};

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) session: usize,
    slot: u32,
    life: u32,
    starts: u32,
    pub(crate) holder: HolderId,
    /// The name of its server process.
    pub(crate) server: String,
    mailbox: Option<Running>,
    /// The results that went out, or were cancelled.
    shows: Vec<(PresentationId, bool)>,
    last: Option<(u64, ReplyParams)>,
}

/// The mailbox of a server that runs.
struct Running(Mailbox);

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Running")
    }
}

impl Agent {
    pub(crate) fn new(shared: &Shared, session: usize, slot: u32) -> Self {
        let mut agent = Self {
            session,
            slot,
            life: 0,
            starts: 0,
            holder: HolderId::of_thread(""),
            server: String::new(),
            mailbox: None,
            shows: Vec::new(),
            last: None,
        };
        agent.start(shared, false);
        agent
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.mailbox.is_some()
    }

    /// The process is killed: its locks go, and its files stay as they are.
    pub(crate) fn die(&mut self, disk: &MemoryDisk) {
        disk.set_fuse(Some(0));
        self.mailbox = None;
        disk.set_fuse(None);
        self.shows.clear();
    }

    pub(crate) fn start(&mut self, shared: &Shared, same: bool) {
        if self.is_alive() {
            return;
        }
        self.starts += 1;
        if !same {
            self.life += 1;
            self.holder = HolderId::of_thread(&format!("a{}-{}", self.slot, self.life));
            self.last = None;
        }
        let session = &shared.sessions[self.session];
        let client = ProcessId {
            pid: 1,
            start: "1".to_owned(),
        };
        let started_at = Timestamp(i64::from(self.slot * 1_000_000 + self.starts));
        let dir = shared.state.session(session);
        let registration = Registration::new(&dir, &client, Reach::default(), started_at);
        self.server = registration.name();
        let session = &shared.config.sessions[session];
        let state = shared.state.clone();
        let mailbox = Mailbox::new(state, session, registration, shared.clock.clone());
        mailbox.register(None).unwrap();
        self.mailbox = Some(Running(mailbox));
    }

    fn mailbox(&self) -> &Mailbox {
        &self.mailbox.as_ref().expect("a dead agent calls nothing").0
    }

    fn caller(&self, call: Option<u64>) -> Caller {
        Caller {
            holder: self.holder.clone(),
            label: self.holder.as_str().to_owned(),
            thread: None,
            client: None,
            call: call.map(|call| call.to_string()),
        }
    }

    /// Before every call: a result that went out was read, a cancelled one is taken back.
    fn follow_up(&mut self, world: &World) -> Result<(), Died> {
        for (presentation, heard) in std::mem::take(&mut self.shows) {
            if heard {
                self.mailbox().mark_delivered(presentation);
            } else {
                drop(self.mailbox().withdraw(&self.caller(None), presentation));
                world.live()?;
            }
        }
        Ok(())
    }

    /// `telegram_poll`.
    pub(crate) fn show(&mut self, world: &mut World, limit: usize, fate: Fate) -> Result<(), Died> {
        self.follow_up(world)?;
        let (caller, base) = (self.caller(None), ToolResult::default());
        let page = self.mailbox().show(&caller, &base, limit, true);
        self.given_out(world, page, fate)
    }

    /// `telegram_reply` without text.
    pub(crate) fn show_conversation(
        &mut self,
        world: &mut World,
        to: Option<u8>,
        fate: Fate,
    ) -> Result<(), Died> {
        self.follow_up(world)?;
        let to = match to.map(|nth| self.message(world, nth)) {
            Some(None) => return Ok(()),
            Some(Some(id)) => Some(To::Message(id)),
            None => None,
        };
        let (caller, base) = (self.caller(None), ToolResult::default());
        let page = self.mailbox().show_conversation(&caller, base, to);
        self.given_out(world, page, fate)
    }

    fn given_out(
        &mut self,
        world: &mut World,
        page: Result<ShownPage, Refusal>,
        fate: Fate,
    ) -> Result<(), Died> {
        world.live()?;
        let Ok(page) = page else {
            return Ok(());
        };
        let heard = matches!(fate, Fate::Heard | Fate::HeardThenDead);
        if heard {
            let shown = page.result.messages.iter();
            let shown: BTreeSet<UpdateId> = shown.map(|message| message.update_id).collect();
            let held = self.held(world);
            let entries = held
                .iter()
                .filter(|held| shown.contains(&held.update_id))
                .flat_map(|held| &held.entries)
                .map(|entry| entry.update_id);
            let holder = self.holder.as_str().to_owned();
            world.ledger.read.entry(holder).or_default().extend(entries);
        }
        if let Some(presentation) = page.presentation.filter(|_| fate != Fate::Dead) {
            self.shows.push((presentation, heard));
        }
        Ok(())
    }

    fn held(&self, world: &World) -> Vec<Held> {
        let conversation = world.holds(self.session).peek(self.holder.as_str());
        conversation.map_or_else(Vec::new, |conversation| conversation.held)
    }

    /// One of the messages that this agent has read or that the session has.
    fn message(&self, world: &World, nth: u8) -> Option<UpdateId> {
        let read = world.ledger.read.get(self.holder.as_str());
        let mut all: Vec<UpdateId> = read.into_iter().flatten().copied().collect();
        if nth.is_multiple_of(4) || all.is_empty() {
            all.extend(world.entries(self.session, Folder::Inbox, false));
        }
        let count = all.len().min(12);
        (count > 0).then(|| all[all.len() - 1 - usize::from(nth) % count])
    }

    pub(crate) fn ack(&mut self, world: &mut World, nth: u8) -> Result<(), Died> {
        self.follow_up(world)?;
        let Some(id) = self.message(world, nth) else {
            return Ok(());
        };
        let held = self.held(world).into_iter();
        let mut held = held.filter(|held| held.entries.iter().any(|entry| entry.update_id == id));
        let entries = held.next().map_or_else(Vec::new, |held| held.entries);
        let before: BTreeSet<UpdateId> = world.entries(self.session, Folder::Inbox, false);
        let acked = self.mailbox().acknowledge(&self.caller(None), &[id]);
        // Whether or not the agent hears of it: what has left the inbox in this call, it has acknowledged.
        let after: BTreeSet<UpdateId> = world.entries(self.session, Folder::Inbox, false);
        let said = acked.is_ok_and(|(acked, _)| !acked.is_empty());
        for entry in entries {
            let id = entry.update_id;
            let left = before.contains(&id) && !after.contains(&id);
            if (said || left) && !world.is_answered(id) {
                let acked = world.ledger.acked.entry(id).or_default();
                acked.insert(self.holder.as_str().to_owned());
            }
        }
        world.live()
    }

    pub(crate) fn write(
        &mut self,
        world: &mut World,
        long: bool,
        keep_open: bool,
        to: Where,
    ) -> Result<(), Died> {
        let to = match to {
            Where::Unsaid => None,
            Where::Home => Some(To::Home),
            Where::Message { nth } => match self.message(world, nth) {
                Some(id) => Some(To::Message(id)),
                None => return Ok(()),
            },
        };
        let number = world.unique();
        // Every line is unique, so that it can be followed.
        let lines = if long && !keep_open { 60 } else { 1 };
        let line = |line| {
            format!(
                "d{number}.{line}{}",
                " filler".repeat(if lines > 1 { 12 } else { 0 })
            )
        };
        let text = (0..lines).map(line).collect::<Vec<_>>().join("\n");
        let params = reply(text, to, keep_open);
        self.last = Some((number, params.clone()));
        self.reply(world, number, &params)
    }

    pub(crate) fn repeat(&mut self, world: &mut World, same_call: bool) -> Result<(), Died> {
        let Some((mut call, params)) = self.last.clone() else {
            return Ok(());
        };
        if !same_call {
            // A model that did not hear the result says the same again; progress it words anew. And its client
            // tells another report home apart from the first.
            if params.keep_open == Some(true) || params.to == Some(To::Home) {
                return Ok(());
            }
            call = world.unique();
        }
        self.reply(world, call, &params)
    }

    fn reply(&mut self, world: &mut World, call: u64, params: &ReplyParams) -> Result<(), Died> {
        self.follow_up(world)?;
        let accepted = self.mailbox().reply(&self.caller(Some(call)), params, None);
        world.live()?;
        if let Ok(accepted) = accepted {
            world.promise(&accepted.id);
        }
        Ok(())
    }

    pub(crate) fn react(&mut self, world: &mut World) -> Result<(), Died> {
        self.follow_up(world)?;
        let params = ReactParams {
            emoji: "👍".to_owned(),
            to: None,
        };
        let call = world.unique();
        let accepted = self.mailbox().react(&self.caller(Some(call)), &params);
        world.live()?;
        if let Ok(accepted) = accepted {
            world.promise(&accepted.id);
        }
        Ok(())
    }

    /// A good agent: looks, and answers every conversation that it was shown.
    pub(crate) fn answer_all(&mut self, world: &mut World) -> Result<(), Died> {
        self.show(world, 20, Fate::Heard)?;
        self.follow_up(world)?;
        let mut done = BTreeSet::new();
        for held in self.held(world) {
            if done.insert(held.address) {
                let number = world.unique();
                let to = Some(To::Message(held.update_id));
                self.reply(world, number, &reply(format!("d{number}.0"), to, false))?;
            }
        }
        Ok(())
    }
}

fn reply(text: String, to: Option<To>, keep_open: bool) -> ReplyParams {
    ReplyParams {
        text: Some(text),
        to,
        files: None,
        options: None,
        keep_open: Some(keep_open),
        silent: None,
    }
}
