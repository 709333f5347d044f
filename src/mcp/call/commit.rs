//! Replies, progress updates and reactions: from a call to a file in the outbox, the commit point.

use crate::error_chain::Chain;
use crate::ids::{Address, MessageId, UpdateId};
use crate::mcp::attach::{Copies, shown_name};
use crate::mcp::call::effects::{Effect, Effects};
use crate::mcp::call::picture::Picture;
use crate::mcp::call::tool_call::ToolCall;
use crate::mcp::call::{Accepted, Caller, Mailbox};
use crate::mcp::long_text;
use crate::mcp::page;
use crate::mcp::tools::{ReactParams, Refusal, ReplyParams, To};
use crate::state::agents::holder;
use crate::state::holds::{Held, REPEAT_WITHIN, ReplyTarget, Unplaced};
use crate::state::inbox::entry::EntryName;
use crate::state::inbox::view;
use crate::state::outbox::attachments::AttachedFile;
use crate::state::outbox::delivery::{Content, Delivery, DeliveryId};
use crate::store::staging::Staging;
use crate::store::state_file::ReadError;
use crate::telegram::{format, reactions};

/// Refuses what no chat could take.
fn check_sendable(params: &ReplyParams) -> Result<(), Refusal> {
    let blank = format::is_blank(params.text.as_deref().unwrap_or_default());
    if blank && params.files().is_empty() {
        return Err(Refusal("The text is blank: there is nothing to send. Nothing was acknowledged; call again with the answer, or with `ack` of telegram_poll if none is needed.".to_owned()));
    }
    let length = params.text.as_ref().map_or(0, |text| text.chars().count());
    if length > long_text::LONGEST {
        return Err(Refusal(format!(
            "The text has {} characters; one call takes at most {}. Nothing was sent and nothing was acknowledged; write it to a file, and send that with `files` and a summary as text.",
            long_text::with_commas(length),
            long_text::with_commas(long_text::LONGEST)
        )));
    }
    if params.keep_open == Some(true) && !params.files().is_empty() {
        return Err(Refusal("Progress (`keep_open`) is one text that later progress edits, so it has no `files`. Nothing was sent and nothing was acknowledged; send the files with the answer, or without `keep_open`.".to_owned()));
    }
    Ok(())
}

impl Picture {
    /// Decides where a reply goes that names nothing.
    fn place_reply(&self) -> Result<ReplyTarget, Refusal> {
        let mut read = self.me.read_addresses(&self.server, &self.read);
        if read.is_empty() {
            // Progress of a turn that an earlier server began goes on; a final reply is refused later.
            read = self.me.addresses();
        }
        match self.me.place(self.answering, &read) {
            Ok(target) => Ok(target),
            Err(Unplaced::NothingHeld) => {
                let what = match self.visible_names().count() {
                    0 => "No message is waiting for an answer. Use `to`: \"home\" to write to the person on your own initiative, or `to` with the update_id of an earlier message.".to_owned(),
                    1 => "1 message is waiting that you have not seen; call telegram_reply without text first.".to_owned(),
                    n => format!("{n} messages are waiting that you have not seen; call telegram_reply without text first."),
                };
                Err(Refusal(format!(
                    "You hold no message, so it is not clear where this goes. Nothing was sent. {what}"
                )))
            }
            Err(Unplaced::Several(choices)) => {
                let list: Vec<String> = choices
                    .iter()
                    .map(|held| format!("{} ({})", held.update_id, held.address))
                    .collect();
                Err(Refusal(format!(
                    "You hold messages of {} conversations, so it is not clear which one this answers. Nothing was sent; call again with `to`: one of {}.",
                    choices.len(),
                    list.join(", ")
                )))
            }
        }
    }

    /// Decides where a reply goes that means this conversation.
    fn place_reply_to(&self, to: To, address: Address) -> Result<ReplyTarget, Refusal> {
        if self.me.held_at(address).next().is_some() && to != To::Home {
            return Ok(ReplyTarget::Held(address));
        }
        if let To::Message(id) = to
            && self.pending.find(id).is_some()
        {
            return Err(Refusal(format!(
                "Message {id} was not shown to you, so you cannot answer it. Nothing was sent; call telegram_reply with `to`: {id} and without text first."
            )));
        }
        Ok(ReplyTarget::Own(address))
    }

    /// The messages that a reply answers: those that this process has surely shown.
    fn answered_by(&self, target: ReplyTarget, keep_open: bool) -> Result<Vec<Held>, Refusal> {
        let ReplyTarget::Held(address) = target else {
            return Ok(Vec::new());
        };
        if keep_open {
            return Ok(Vec::new());
        }
        let answered: Vec<Held> = self.me.held_at(address).cloned().collect();
        if let Some(unread) = answered.iter().find(|held| !self.is_read(held)) {
            return Err(Refusal(format!(
                "The result that showed message {} may not have reached you, so it is not clear what this answers. Nothing was sent and nothing was acknowledged; call telegram_reply without text to see what you hold, then answer.",
                unread.update_id
            )));
        }
        Ok(answered)
    }

    /// Decides on a delivery: the questions' names, the commit, then the settling of the questions and the
    /// end of this agent's hold. A message beside the conversation that is being answered changes no hold.
    fn plan_delivery(
        &mut self,
        delivery: &Delivery,
        copies: Option<Staging>,
        is_beside: bool,
    ) -> Effects {
        let entries = delivery.answers.clone();
        let mut effects = Effects::default();
        if !entries.is_empty() {
            effects.commit.push(Effect::SyncInbox);
        }
        let accept = Effect::Accept(Box::new(delivery.clone()), copies);
        effects.commit.push(accept);
        if is_beside {
            return effects;
        }
        if !entries.is_empty() {
            effects.follow_up.push(Effect::Settle(entries.clone()));
        }
        self.forget_settled(&entries);
        match &delivery.content {
            Content::ProgressUpdate { .. } => {
                let turn = delivery.turn.as_ref().unwrap_or(&delivery.id);
                self.me.progressed(delivery.address, turn);
            }
            Content::Reply { .. } => self.me.replied(delivery.address),
            Content::Reaction { .. } => {}
        }
        effects.follow_up.extend(self.save(Effect::ReleaseHolds));
        effects
    }
}

/// A call that sends something.
pub(super) struct SendCall<'a>(ToolCall<'a>);

impl<'a> SendCall<'a> {
    pub(super) fn open(mailbox: &'a Mailbox, caller: &'a Caller) -> Result<Self, Refusal> {
        ToolCall::open(mailbox, caller).map(Self)
    }

    /// Whether a reply could be accepted, before its files are copied. The delivery of an earlier call, if it is surely the same call again.
    pub(super) fn may_reply(mut self, params: &ReplyParams) -> Result<Option<Accepted>, Refusal> {
        check_sendable(params)?;
        if let Some(earlier) = self.earlier(&self.reply_key(params))? {
            return Ok(Some(earlier));
        }
        let beginning = long_text::beginning(params.text.as_deref().unwrap_or_default());
        let document = beginning.is_some().then(|| long_text::FILE_NAME.to_owned());
        let names = params.files().iter().map(|path| shown_name(path));
        let names: Vec<String> = document.into_iter().chain(names).collect();
        let same_names = |files: &[AttachedFile]| files.iter().map(|file| &file.name).eq(&names);
        // Perhaps the same files again: what is in them decides, once they are copied.
        let text = beginning.as_deref().or(params.text.as_deref());
        if self.repeated(params, text, same_names)?.is_none() {
            self.place(params)?;
        }
        Ok(None)
    }

    pub(super) fn reply(
        mut self,
        params: &ReplyParams,
        copies: Option<Copies>,
    ) -> Result<Accepted, Refusal> {
        check_sendable(params)?;
        let keep_open = params.keep_open == Some(true);
        let key = self.reply_key(params);
        if let Some(earlier) = self.earlier(&key)? {
            return Ok(earlier);
        }
        let (mut files, mut folder, mut beginning) = (Vec::new(), None, None);
        if let Some(copies) = copies {
            (files, folder, beginning) = (copies.files, Some(copies.folder), copies.beginning);
        }
        let text = beginning.as_deref().or(params.text.as_deref());
        if !keep_open && let Some(repeat) = self.repeated(params, text, |sent| sent == files)? {
            return Ok(repeat);
        }
        let (target, answered) = self.place(params)?;
        let address = target.address();
        let me = &self.0.picture.me;
        // A report to a chat whose messages are still being answered is no part of that turn.
        let is_beside = !keep_open
            && matches!(target, ReplyTarget::Own(_))
            && me.held_at(address).next().is_some();
        let text = text.unwrap_or_default().to_owned();
        if beginning.is_some() {
            let whole = params.text.as_deref().unwrap_or_default();
            self.0.notices.push(long_text::notice(whole));
        }
        let me = &self.0.picture.me;
        let content = if keep_open {
            Content::ProgressUpdate { text }
        } else {
            Content::Reply {
                text,
                files,
                options: Vec::new(),
            }
        };
        let newest = answered
            .iter()
            .max_by_key(|held| held.entries.first().copied());
        let answers: Vec<EntryName> = answered
            .iter()
            .flat_map(|held| held.entries.iter().copied())
            .collect();
        let delivery = Delivery {
            reply_to: newest.map(|held| held.message_id),
            as_reply: !keep_open && self.0.mailbox.reply_to_message,
            answers,
            acked: answered.iter().map(|held| held.update_id).collect(),
            silent: keep_open || params.silent == Some(true),
            turn: me.turn(address).filter(|_| !is_beside).cloned(),
            ..self.delivery(key, address, content)
        };
        let effects = self.0.picture.plan_delivery(&delivery, folder, is_beside);
        self.0.carry_out(effects)?;
        Ok(self.accepted(delivery, false))
    }

    pub(super) fn react(mut self, params: &ReactParams) -> Result<Accepted, Refusal> {
        let Some(emoji) = reactions::normalise(&params.emoji) else {
            return Err(Refusal(format!(
                "Telegram has no reaction {:?}. Nothing was sent; choose one of {}",
                params.emoji,
                reactions::list_allowed()
            )));
        };
        let key = self.key(&["react", emoji, &format!("{:?}", params.to)]);
        if let Some(earlier) = self.earlier(&key)? {
            return Ok(earlier);
        }
        let (address, message_id) = self.find_message(params.to)?;
        let emoji = emoji.to_owned();
        let delivery = self.delivery(key, address, Content::Reaction { message_id, emoji });
        let effects = self.0.picture.plan_delivery(&delivery, None, true);
        self.0.carry_out(effects)?;
        Ok(self.accepted(delivery, false))
    }

    /// The message that a reaction goes on.
    fn find_message(&mut self, to: Option<UpdateId>) -> Result<(Address, MessageId), Refusal> {
        let picture = &self.0.picture;
        let Some(id) = to else {
            return match picture.me.newest() {
                Some(held) => Ok((held.address, held.message_id)),
                None => Err(Refusal("You hold no message to react to. Nothing was sent; call telegram_poll first, or name a message in `to`.".to_owned())),
            };
        };
        if let Some(held) = picture.me.find(id) {
            return Ok((held.address, held.message_id));
        }
        if picture.pending.find(id).is_some() {
            return Err(Refusal(format!(
                "Message {id} was not shown to you. Nothing was sent; call telegram_poll first."
            )));
        }
        let settled = self.0.read_settled(id)?;
        match settled.and_then(|item| view::together(&[item])) {
            Some(message) => Ok((message.address, message.message.message_id)),
            None => Err(self.0.no_such(id)),
        }
    }

    /// Where a reply goes, and the messages that it answers.
    fn place(&mut self, params: &ReplyParams) -> Result<(ReplyTarget, Vec<Held>), Refusal> {
        let target = match params.to {
            Some(to) => {
                let address = self.0.address_of(to)?;
                self.0.picture.place_reply_to(to, address)?
            }
            None => self.0.picture.place_reply()?,
        };
        let keep_open = params.keep_open == Some(true);
        let answered = self.0.picture.answered_by(target, keep_open)?;
        Ok((target, answered))
    }

    /// The same text and files as this holder's last reply, with nothing newly shown since: models
    /// repeat calls whose result they lost.
    fn repeated(
        &mut self,
        params: &ReplyParams,
        text: Option<&str>,
        same_files: impl Fn(&[AttachedFile]) -> bool,
    ) -> Result<Option<Accepted>, Refusal> {
        // The client tells its calls apart, so another one with the same words is another report.
        if params.to == Some(To::Home) && self.0.caller.call.is_some() {
            return Ok(None);
        }
        let text = text.unwrap_or_default();
        let (now, outbox) = (self.0.picture.now, &self.0.mailbox.driver.outbox);
        let since = now.0 - i64::try_from(REPEAT_WITHIN.as_millis()).unwrap_or(0);
        let all = outbox.all()?.into_iter().rev();
        for id in all.take_while(|id| id.accepted >= since) {
            let delivery = match outbox.read_any(&id, now) {
                Ok(Some(delivery)) => delivery,
                Ok(None) => continue,
                // Its bytes are kept; that it may be repeated now is no reason to refuse this one.
                Err(error @ ReadError::Quarantined { .. }) => {
                    self.0.notices.push(format!(
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
            if delivery.holder != self.0.caller.holder.as_str() {
                continue;
            }
            let nothing_new = self.0.picture.me.shown_at.0 < id.accepted;
            let same = sent == text && same_files(files) && nothing_new;
            let elsewhere = match params.to {
                Some(to) => self.0.address_of(to)? != delivery.address,
                None => false,
            };
            return Ok((same && !elsewhere).then(|| self.accepted(delivery, true)));
        }
        Ok(None)
    }

    /// The delivery that an earlier call with the same key has made.
    fn earlier(&mut self, key: &str) -> Result<Option<Accepted>, Refusal> {
        let outbox = &self.0.mailbox.driver.outbox;
        let Some(id) = outbox.by_key(key)? else {
            return Ok(None);
        };
        let delivery = outbox.read_any(&id, self.0.picture.now)?;
        Ok(delivery.map(|delivery| self.accepted(delivery, true)))
    }

    fn reply_key(&self, params: &ReplyParams) -> String {
        let text = params.text.as_deref().unwrap_or_default();
        let keep_open = params.keep_open == Some(true);
        let (to, keep_open) = (format!("{:?}", params.to), keep_open.to_string());
        let mut parts = vec![text, &to, &keep_open];
        parts.extend(params.files().iter().map(String::as_str));
        self.key(&parts)
    }

    /// The key of a call: the same for the same call of the same client, else random.
    fn key(&self, of: &[&str]) -> String {
        match &self.0.caller.call {
            Some(call) => {
                let mut parts = vec![self.0.mailbox.session.as_str(), call.as_str()];
                parts.extend(of);
                holder::short_hash(&parts)
            }
            None => format!("{:032x}", fastrand::u128(..)),
        }
    }

    fn delivery(&self, key: String, address: Address, content: Content) -> Delivery {
        let picture = &self.0.picture;
        let after_all = picture.newest_accepted.max(picture.me.shown_at.0) + 1;
        let accepted = picture.now.0.max(after_all);
        Delivery {
            id: DeliveryId { accepted, key },
            session: self.0.mailbox.session.clone(),
            holder: self.0.caller.holder.as_str().to_owned(),
            address,
            content,
            answers: Vec::new(),
            acked: Vec::new(),
            reply_to: None,
            as_reply: false,
            resume: None,
            silent: false,
            turn: None,
        }
    }

    fn accepted(&mut self, delivery: Delivery, repeat: bool) -> Accepted {
        Accepted {
            id: delivery.id,
            address: delivery.address,
            repeat,
            remaining: self.0.picture.pending.len(),
            acked: delivery.acked,
            notices: page::notices(&std::mem::take(&mut self.0.notices)),
        }
    }
}
