//! Replies, progress and reactions: from a call to a file in the outbox.
//!
//! The outbox file is the commit point. Everything after it is made good by the next call if a kill
//! or a full disk comes between.

use crate::error_chain::Chain;
use crate::ids::{Address, MessageId, UpdateId};
use crate::mcp::attach::{Copies, shown_name};
use crate::mcp::call::desk::Desk;
use crate::mcp::call::{Accepted, MailboxError};
use crate::mcp::page;
use crate::mcp::tools::{ReactParams, Refusal, ReplyParams, To};
use crate::state::agents::holder;
use crate::state::holds::{Held, REPEAT_WITHIN, ReplyTarget, Unplaced};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view::{self, Item};
use crate::state::outbox::attachments::AttachedFile;
use crate::state::outbox::delivery::{Content, Delivery, DeliveryId};
use crate::store::state_file::ReadError;
use crate::telegram::{format, reactions, update};

/// Refuses what no chat could take.
fn is_sendable(params: &ReplyParams) -> Result<(), Refusal> {
    let blank = format::is_blank(params.text.as_deref().unwrap_or_default());
    if blank && params.files().is_empty() {
        return Err(Refusal("The text is blank: there is nothing to send. Nothing was acknowledged; call again with the answer, or with `ack` of telegram_poll if none is needed.".to_owned()));
    }
    if params.keep_open == Some(true) && !params.files().is_empty() {
        return Err(Refusal("Progress (`keep_open`) is one text that later progress edits, so it has no `files`. Nothing was sent and nothing was acknowledged; send the files with the answer, or without `keep_open`.".to_owned()));
    }
    Ok(())
}

impl Desk<'_> {
    /// Whether a reply could be accepted, before its files are copied. What an earlier call has made,
    /// if it is surely the same call again.
    pub(crate) fn may_reply(
        mut self,
        params: &ReplyParams,
    ) -> Result<Option<Accepted>, MailboxError> {
        is_sendable(params)?;
        if let Some(earlier) = self.earlier(&self.reply_key(params))? {
            return Ok(Some(earlier));
        }
        let names: Vec<String> = params.files().iter().map(|path| shown_name(path)).collect();
        let same_names = |files: &[AttachedFile]| files.iter().map(|file| &file.name).eq(&names);
        // Perhaps the same files again: what is in them decides, once they are copied.
        if self.repeated(params, same_names)?.is_none() {
            self.goes_to(params)?;
        }
        Ok(None)
    }

    pub(crate) fn reply(
        mut self,
        params: &ReplyParams,
        copies: Option<Copies>,
    ) -> Result<Accepted, MailboxError> {
        is_sendable(params)?;
        let keep_open = params.keep_open == Some(true);
        let key = self.reply_key(params);
        if let Some(earlier) = self.earlier(&key)? {
            return Ok(earlier);
        }
        let (files, copies) = copies.map_or((Vec::new(), None), |copies| {
            (copies.files, Some(copies.folder))
        });
        if !keep_open && let Some(repeat) = self.repeated(params, |sent| sent == files)? {
            return Ok(repeat);
        }
        let (target, answered) = self.goes_to(params)?;
        let address = target.address();
        // A report to a chat whose messages are still being answered is no part of that turn.
        let beside = !keep_open
            && matches!(target, ReplyTarget::Own(_))
            && self.me.held_at(address).next().is_some();
        let entries: Vec<EntryName> = answered
            .iter()
            .flat_map(|held| held.entries.iter().copied())
            .collect();
        let text = params.text.clone().unwrap_or_default();
        let content = if keep_open {
            Content::ProgressUpdate { text }
        } else {
            Content::Reply {
                text,
                files,
                options: Vec::new(),
            }
        };
        let delivery = Delivery {
            reply_to: answered
                .iter()
                .max_by_key(|held| held.entries.first().copied())
                .map(|held| held.message_id),
            as_reply: !keep_open && self.mailbox.reply_to_message,
            answers: entries.clone(),
            acked: answered.iter().map(|held| held.update_id).collect(),
            silent: keep_open || params.silent == Some(true),
            turn: self.me.turn(address).filter(|_| !beside).cloned(),
            ..self.delivery(key, address, content)?
        };
        if !entries.is_empty() {
            // The gateway may not have synced their names yet: an entry that came back after a loss of
            // power would be asked again.
            self.mailbox.inbox.sync_names()?;
        }
        match copies {
            Some(copies) => self.mailbox.outbox.accept_with(&delivery, copies)?,
            None => self.mailbox.outbox.accept(&delivery)?,
        }
        // From here on the reply stands. What follows is made good by the next call if it fails.
        let acked = delivery.acked.clone();
        if !beside {
            self.committed(&delivery, &entries, keep_open);
        }
        Ok(self.accepted(delivery.id, address, acked, false))
    }

    /// Where a reply goes, and what it answers.
    fn goes_to(&mut self, params: &ReplyParams) -> Result<(ReplyTarget, Vec<Held>), MailboxError> {
        let target = self.target(params.to)?;
        let answered: Vec<Held> = match target {
            ReplyTarget::Held(address) if params.keep_open != Some(true) => {
                self.me.held_at(address).cloned().collect()
            }
            ReplyTarget::Held(_) | ReplyTarget::Own(_) => Vec::new(),
        };
        if let Some(unseen) = answered.iter().find(|held| !self.is_read(held)) {
            return Err(Refusal(format!("The result that showed message {} may not have reached you, so it is not clear what this answers. Nothing was sent and nothing was acknowledged; call telegram_reply without text to see what you hold, then answer.", unseen.update_id)).into());
        }
        Ok((target, answered))
    }

    fn reply_key(&self, params: &ReplyParams) -> String {
        let text = params.text.as_deref().unwrap_or_default();
        let keep_open = params.keep_open == Some(true);
        let (to, keep_open) = (format!("{:?}", params.to), keep_open.to_string());
        let mut what = vec![text, &to, &keep_open];
        what.extend(params.files().iter().map(String::as_str));
        self.key(&what)
    }

    /// Follows up a commit. A failure here costs nothing: the next call does it.
    fn committed(&mut self, delivery: &Delivery, entries: &[EntryName], keep_open: bool) {
        let address = delivery.address;
        let mut follow = || -> Result<(), MailboxError> {
            self.mailbox.inbox.settle(entries)?;
            self.forget_settled(entries);
            if keep_open {
                self.me
                    .progressed(address, delivery.turn.as_ref().unwrap_or(&delivery.id));
            } else {
                self.me.replied(address);
            }
            self.release()
        };
        if let Err(error) = follow() {
            tracing::warn!(error = %Chain(&error), "a committed reply is followed up at the next call");
            for entry in entries {
                self.pending.remove(entry);
            }
        }
    }

    pub(crate) fn react(mut self, params: &ReactParams) -> Result<Accepted, MailboxError> {
        let Some(emoji) = reactions::normalise(&params.emoji) else {
            return Err(Refusal(format!(
                "Telegram has no reaction {:?}. Nothing was sent; choose one of {}",
                params.emoji,
                reactions::ALLOWED.join(" ")
            ))
            .into());
        };
        let key = self.key(&["react", &emoji, &format!("{:?}", params.to)]);
        if let Some(earlier) = self.earlier(&key)? {
            return Ok(earlier);
        }
        let (address, message_id) = self.message_to_react_to(params.to)?;
        let delivery = self.delivery(key, address, Content::Reaction { message_id, emoji })?;
        self.mailbox.outbox.accept(&delivery)?;
        Ok(self.accepted(delivery.id, address, Vec::new(), false))
    }

    fn message_to_react_to(
        &mut self,
        to: Option<UpdateId>,
    ) -> Result<(Address, MessageId), MailboxError> {
        let Some(id) = to else {
            return match self.me.newest() {
                Some(held) => Ok((held.address, held.message_id)),
                None => Err(Refusal("You hold no message to react to. Nothing was sent; call telegram_poll first, or name a message in `to`.".to_owned()).into()),
            };
        };
        if let Some(held) = self.me.find(id) {
            return Ok((held.address, held.message_id));
        }
        if self.pending.iter().any(|name| name.update_id == id) {
            return Err(Refusal(format!(
                "Message {id} was not shown to you. Nothing was sent; call telegram_poll first."
            ))
            .into());
        }
        let settled = match self.mailbox.inbox.read_settled(id, self.now) {
            Ok(Some(entry)) => {
                let update = update::read(entry.update.get()).ok();
                view::together(&[Item {
                    name: entry.name(),
                    address: entry.address,
                    update,
                }])
            }
            Ok(None) | Err(ReadError::Quarantined { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        match settled {
            Some(shown) => Ok((shown.address, shown.message.message_id)),
            None => Err(self.no_such(id).into()),
        }
    }

    /// Where a reply goes.
    fn target(&mut self, to: Option<To>) -> Result<ReplyTarget, MailboxError> {
        if let Some(to) = to {
            let address = self.address_of(to)?;
            if to == To::Home {
                return Ok(ReplyTarget::Own(address));
            }
            if self.me.held_at(address).next().is_some() {
                return Ok(ReplyTarget::Held(address));
            }
            if let To::Message(id) = to
                && self.pending.iter().any(|name| name.update_id == id)
            {
                return Err(Refusal(format!("Message {id} was not shown to you, so you cannot answer it. Nothing was sent; call telegram_reply with `to`: {id} and without text first.")).into());
            }
            return Ok(ReplyTarget::Own(address));
        }
        match self.me.place(self.answering) {
            Ok(target) => Ok(target),
            Err(Unplaced::NothingHeld) => {
                let kept = self.kept();
                let waiting = self.pending.difference(&kept).count();
                let what = match waiting {
                    0 => "No message waits for an answer. Use `to`: \"home\" to write to the person by yourself, or `to` with the update_id of an earlier message.".to_owned(),
                    1 => "1 message waits that you have not seen; call telegram_reply without text first.".to_owned(),
                    n => format!("{n} messages wait that you have not seen; call telegram_reply without text first."),
                };
                Err(Refusal(format!("You hold no message, so it is not clear where this goes. Nothing was sent. {what}")).into())
            }
            Err(Unplaced::Several(choices)) => {
                let list: Vec<String> = choices
                    .iter()
                    .map(|held| format!("{} ({})", held.update_id, held.address))
                    .collect();
                Err(Refusal(format!("You hold messages of {} conversations, so it is not clear which one this answers. Nothing was sent; call again with `to`: one of {}.", choices.len(), list.join(", "))).into())
            }
        }
    }

    /// The same text and files as this holder's last reply, with nothing newly shown since: models
    /// repeat calls whose result they lost.
    fn repeated(
        &mut self,
        params: &ReplyParams,
        same_files: impl Fn(&[AttachedFile]) -> bool,
    ) -> Result<Option<Accepted>, MailboxError> {
        let text = params.text.as_deref().unwrap_or_default();
        let since = self.now.0 - i64::try_from(REPEAT_WITHIN.as_millis()).unwrap_or(0);
        for id in self
            .mailbox
            .outbox
            .all()?
            .into_iter()
            .rev()
            .take_while(|id| id.accepted >= since)
        {
            let delivery = match self.mailbox.outbox.read_any(&id, self.now) {
                Ok(Some(delivery)) => delivery,
                Ok(None) => continue,
                // Its bytes are kept; that it may be repeated now is no reason to refuse this one.
                Err(error @ ReadError::Quarantined { .. }) => {
                    self.notices.push(format!(
                        "The record of an earlier reply could not be read. {}",
                        Chain(&error)
                    ));
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let Content::Reply {
                text: sent, files, ..
            } = &delivery.content
            else {
                continue;
            };
            if delivery.holder != self.caller.holder.as_str() {
                continue;
            }
            let same = sent == text && same_files(files) && self.me.shown_at.0 < id.accepted;
            let elsewhere = match params.to {
                Some(to) => self.address_of(to)? != delivery.address,
                None => false,
            };
            if !same || elsewhere {
                return Ok(None);
            }
            return Ok(Some(self.accepted(
                id,
                delivery.address,
                delivery.acked,
                true,
            )));
        }
        Ok(None)
    }

    /// What an earlier call with the same key has made.
    fn earlier(&mut self, key: &str) -> Result<Option<Accepted>, MailboxError> {
        let Some(id) = self.mailbox.outbox.by_key(key)? else {
            return Ok(None);
        };
        let Some(delivery) = self.mailbox.outbox.read_any(&id, self.now)? else {
            return Ok(None);
        };
        Ok(Some(self.accepted(
            id,
            delivery.address,
            delivery.acked,
            true,
        )))
    }

    /// The key of a call: the same for the same call of the same client, else random.
    fn key(&self, what: &[&str]) -> String {
        match &self.caller.call {
            Some(call) => {
                let mut parts = vec![self.mailbox.session.as_str(), call.as_str()];
                parts.extend(what);
                holder::short_hash(&parts)
            }
            None => format!("{:032x}", fastrand::u128(..)),
        }
    }

    fn delivery(
        &self,
        key: String,
        address: Address,
        content: Content,
    ) -> Result<Delivery, MailboxError> {
        let last = self.mailbox.outbox.newest()?;
        let accepted = self.now.0.max(last + 1).max(self.me.shown_at.0 + 1);
        Ok(Delivery {
            id: DeliveryId { accepted, key },
            session: self.mailbox.session.clone(),
            holder: self.caller.holder.as_str().to_owned(),
            address,
            content,
            answers: Vec::new(),
            acked: Vec::new(),
            reply_to: None,
            as_reply: false,
            resume: None,
            silent: false,
            turn: None,
        })
    }

    fn accepted(
        &mut self,
        id: DeliveryId,
        address: Address,
        acked: Vec<UpdateId>,
        repeat: bool,
    ) -> Accepted {
        Accepted {
            id,
            address,
            repeat,
            remaining: self.pending.len(),
            acked,
            notices: page::notices(&std::mem::take(&mut self.notices)),
        }
    }
}
