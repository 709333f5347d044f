//! The handle that tests hold.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::builder::MessageBuilder;
use crate::calls::Call;
use crate::clock::millis;
use crate::faults::{Fault, FaultId};
use crate::person::{Draft, Sent, TopicChange, When};
use crate::server::Server;
use crate::shared::Shared;
use crate::state::{Bot, Group, GroupKind, Person, Standing, State, StoredFile, Wake};
use crate::view::{Line, View};

/// A running server on loopback, and everything people and tests can do to it. Dropping it stops it.
///
/// All methods are synchronous and may be called from any thread.
pub struct Sim {
    shared: Arc<Shared>,
    server: Server,
}

/// The result of a check of [`Sim::wait_for`]: `bool`, or an `Option` whose content is handed out.
pub trait Until {
    /// The result of a successful wait.
    type Found;
    /// The content, if there is one.
    fn found(self) -> Option<Self::Found>;
}

impl Until for bool {
    type Found = ();
    fn found(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Until for Option<T> {
    type Found = T;
    fn found(self) -> Self {
        self
    }
}

/// A wait that was in vain; shows what the server looked like.
#[derive(Clone)]
pub struct TimedOut {
    waited: Duration,
    status: String,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "nothing came within {:?}; the server:\n{}",
            self.waited, self.status
        )
    }
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The output of `unwrap`: readable, not escaped.
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for TimedOut {}

impl Sim {
    /// Starts a server on a free port.
    pub fn start() -> io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Starts a server on this address.
    pub fn start_on(address: SocketAddr) -> io::Result<Self> {
        let shared = Arc::new(Shared::new());
        let server = Server::start(&shared, address)?;
        Ok(Self { shared, server })
    }

    /// The address for the program under test, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    // ---- the network -------------------------------------------------------------------------------------------

    /// Stops listening and drops all connections; everything else is kept. New connections are refused.
    pub fn pause(&self) -> io::Result<()> {
        self.server.pause()
    }

    /// Listens again on the same port.
    pub fn resume(&self) -> io::Result<()> {
        self.server.resume()
    }

    /// Drops all connections that are open now.
    pub fn sever(&self) -> io::Result<()> {
        self.server.sever()
    }

    /// Forgets chats, messages, updates, calls and faults; bots and their waiting polls stay.
    pub fn reset(&self) {
        self.shared.clear_faults(None);
        self.shared.change(State::reset);
    }

    /// Injects a fault.
    pub fn fault(&self, fault: Fault) -> FaultId {
        self.shared.change(|state| state.faults.add(fault))
    }

    /// Removes one fault; calls that it holds go on.
    pub fn clear_fault(&self, fault: FaultId) {
        self.shared.clear_faults(Some(fault));
    }

    /// Removes all faults; calls that they hold go on.
    pub fn clear_faults(&self) {
        self.shared.clear_faults(None);
    }

    /// Switches the rate buckets on or off.
    pub fn rate_limits(&self, on: bool) {
        self.shared.change(|state| state.rate_limits = on);
    }

    // ---- the clock ---------------------------------------------------------------------------------------------

    /// Moves the clock ahead: message dates, expiry, anti-spin and rate buckets. Waiting polls wait in real time.
    pub fn advance(&self, by: Duration) {
        self.shared.clock.advance(by);
        self.shared.change(|_| ());
    }

    /// Stops the clock; [`advance`](Self::advance) still moves it. With a clock that stands still the anti-spin rules,
    /// the distance of conflicts and the rate buckets do not depend on how fast the machine is.
    pub fn freeze_clock(&self) {
        self.shared.clock.freeze(true);
    }

    /// Lets the clock run again.
    pub fn unfreeze_clock(&self) {
        self.shared.clock.freeze(false);
        self.shared.change(|_| ());
    }

    /// Sets the clock to this long before real time.
    pub fn set_ago(&self, ago: Duration) {
        self.shared.clock.set_offset(-millis(ago));
        self.shared.change(|_| ());
    }

    /// The time as the server sees it, in Unix seconds.
    pub fn now(&self) -> i64 {
        self.when().now()
    }

    pub(crate) fn when(&self) -> When {
        When {
            now_ms: self.shared.clock.now_ms(),
            uptime_ms: self.shared.clock.uptime_ms(),
        }
    }

    // ---- bots and people ---------------------------------------------------------------------------------------

    /// Adds a bot, or gives it another token, and returns its id: the number before the colon.
    pub fn add_bot(&self, token: &str, username: &str) -> i64 {
        self.shared.change(|state| state.add_bot(token, username))
    }

    /// Revokes the bot's token: every call is answered with 401, the waiting one at once.
    pub fn revoke(&self, bot: i64) {
        self.with_bot(bot, |bot| {
            bot.revoked = true;
            bot.wake(Wake::Aborted {
                refusal: crate::answer::Refusal::unauthorized(),
                delay_ms: 0,
            });
        });
    }

    /// Makes the token good again.
    pub fn unrevoke(&self, bot: i64) {
        self.with_bot(bot, |bot| bot.revoked = false);
    }

    /// Switches topics in private chats on or off.
    pub fn private_topics(&self, bot: i64, on: bool) {
        self.with_bot(bot, |bot| bot.private_topics = on);
    }

    /// Sets the update kinds of an earlier poll; none is the default set.
    pub fn set_allowed_updates(&self, bot: i64, kinds: &[&str]) {
        let list = Value::from(kinds);
        self.with_bot(bot, |bot| bot.allow(Some(&list)));
    }

    /// Names a user; unnamed ones are called "User 7".
    pub fn name(&self, user: i64, first_name: &str, username: Option<&str>) {
        let person = Person {
            first_name: first_name.to_owned(),
            username: username.map(str::to_owned),
        };
        self.shared
            .change(|state| state.people.insert(user, person));
    }

    fn with_bot(&self, bot: i64, change: impl FnOnce(&mut Bot)) {
        self.shared.change(|state| {
            if let Some(bot) = state.bots.get_mut(&bot) {
                change(bot);
            }
        });
    }

    // ---- chats -------------------------------------------------------------------------------------------------

    /// Makes a chat known to a bot without a message. A chat that is not known is not found.
    pub fn open_chat(&self, bot: i64, chat: i64) {
        self.shared.change(|state| state.open_chat(bot, chat));
    }

    /// Adds a group, or changes one; bots join with [`open_chat`](Self::open_chat) or with the first message that
    /// is sent for them. Supergroups and forums have ids below -1000000000000.
    pub fn add_group(&self, chat: i64, title: &str, kind: GroupKind) {
        let group = Group {
            title: title.to_owned(),
            kind,
            migrated_to: None,
        };
        self.shared.change(|state| state.groups.insert(chat, group));
    }

    /// Turns a group into a supergroup with a new id: both service messages, and 400 for the old id from now on.
    pub fn migrate(&self, chat: i64, new_chat: i64) {
        let when = self.when();
        self.shared
            .change(|state| state.migrate(when, chat, new_chat));
    }

    /// Adds a topic as a person does, and returns its id. Private chats need [`private_topics`](Self::private_topics).
    pub fn add_topic(&self, bot: i64, chat: i64, name: &str) -> i64 {
        let when = self.when();
        let user = if chat > 0 { chat } else { 1 };
        self.shared
            .change(|state| state.person_adds_topic(when, bot, chat, user, name))
    }

    /// A person closes a topic; 0 is General.
    pub fn close_topic(&self, bot: i64, chat: i64, topic: i64) {
        self.change_topic(bot, chat, topic, &TopicChange::Close);
    }

    /// A person opens a topic again; 0 is General.
    pub fn reopen_topic(&self, bot: i64, chat: i64, topic: i64) {
        self.change_topic(bot, chat, topic, &TopicChange::Reopen);
    }

    /// A person renames a topic.
    pub fn rename_topic(&self, bot: i64, chat: i64, topic: i64, name: &str) {
        self.change_topic(bot, chat, topic, &TopicChange::Rename(name.to_owned()));
    }

    /// A person deletes a topic with its messages: no update tells of that.
    pub fn delete_topic(&self, bot: i64, chat: i64, topic: i64) {
        self.change_topic(bot, chat, topic, &TopicChange::Delete);
    }

    fn change_topic(&self, bot: i64, chat: i64, topic: i64, change: &TopicChange) {
        let when = self.when();
        self.shared
            .change(|state| state.person_changes_topic(when, (bot, chat), topic, change));
    }

    /// The user blocks the bot, or the group kicks it: 403 from now on, and a `my_chat_member` update.
    pub fn block(&self, bot: i64, chat: i64) -> Option<i64> {
        self.join(bot, chat, Standing::Blocked)
    }

    /// Takes a block back.
    pub fn unblock(&self, bot: i64, chat: i64) -> Option<i64> {
        self.join(
            bot,
            chat,
            if chat > 0 {
                Standing::Member
            } else {
                Standing::Administrator
            },
        )
    }

    fn join(&self, bot: i64, chat: i64, standing: Standing) -> Option<i64> {
        let when = self.when();
        self.shared
            .change(|state| state.set_membership(when, bot, chat, standing))
    }

    /// Sets what the bot is to a chat, without an update.
    pub fn set_standing(&self, bot: i64, chat: i64, standing: Standing) {
        self.shared.change(|state| {
            state.open_chat(bot, chat);
            state.standings.insert((bot, chat), standing);
        });
    }

    // ---- what people do ----------------------------------------------------------------------------------------

    /// A person writes a text.
    pub fn say(&self, bot: i64, chat: i64, user: i64, text: &str) -> Sent {
        self.message(bot).chat(chat).from(user).text(text).send()
    }

    /// A person writes more than one message holds: their program cuts it after each 4096 code points.
    pub fn say_long(&self, bot: i64, chat: i64, user: i64, text: &str) -> Vec<Sent> {
        let symbols: Vec<char> = text.chars().collect();
        let parts = symbols
            .chunks(4096)
            .map(|part| part.iter().collect::<String>());
        parts.map(|part| self.say(bot, chat, user, &part)).collect()
    }

    /// A message of a person, field by field. In a group all bots that are in it get it.
    pub fn message(&self, bot: i64) -> MessageBuilder<'_> {
        MessageBuilder::new(self, bot)
    }

    pub(crate) fn send(&self, draft: Draft) -> Sent {
        let when = self.when();
        self.shared.change(|state| state.person_sends(when, draft))
    }

    /// A person edits a message of theirs; returns the update.
    pub fn edit(&self, bot: i64, chat: i64, message_id: i64, text: &str) -> Option<i64> {
        let when = self.when();
        self.shared
            .change(|state| state.person_edits(when, bot, chat, message_id, text))
    }

    /// A person deletes a message: no update tells of that.
    pub fn delete(&self, bot: i64, chat: i64, message_id: i64) {
        self.shared
            .change(|state| state.person_deletes(bot, chat, message_id));
    }

    /// A person sets reactions (none removes them); returns the update, if the bot asked for it and may see it.
    pub fn react(
        &self,
        bot: i64,
        chat: i64,
        message_id: i64,
        user: i64,
        emoji: &[&str],
    ) -> Option<i64> {
        let when = self.when();
        self.shared
            .change(|state| state.person_reacts(when, (bot, chat, message_id), user, emoji))
    }

    /// A person presses a button; returns the update.
    pub fn press(
        &self,
        bot: i64,
        chat: i64,
        message_id: i64,
        data: &str,
        user: i64,
    ) -> Option<i64> {
        let when = self.when();
        self.shared
            .change(|state| state.person_presses(when, (bot, chat, message_id), data, user))
    }

    // ---- odd updates -------------------------------------------------------------------------------------------

    /// Queues any JSON as an update. An object without `update_id` gets one; kinds that the server knows are
    /// filtered by `allowed_updates`. Returns the number under which it is confirmed.
    pub fn raw_update(&self, bot: i64, update: Value) -> Option<i64> {
        let when = self.when();
        self.shared
            .change(|state| state.raw_update(when, bot, update))
    }

    /// Queues text that is put into the array of updates as it is: garbage, null, missing or negative ids. Returns
    /// the number under which it is confirmed, whatever the text says.
    pub fn raw_text(&self, bot: i64, text: &str) -> Option<i64> {
        let when = self.when();
        self.shared.change(|state| state.raw_text(when, bot, text))
    }

    /// Makes the newest `count` confirmed updates come once more, with the next answer, whatever its offset; returns
    /// how many there were.
    pub fn redeliver(&self, bot: i64, count: usize) -> usize {
        self.shared.change(|state| state.redeliver(bot, count))
    }

    /// The next update gets this id, as after a week of silence. Going down forgets updates that wait, because the
    /// real server restarts only an empty queue; returns how many were forgotten.
    pub fn restart_ids(&self, bot: i64, next_id: i64) -> usize {
        self.shared.change(|state| {
            state
                .bots
                .get_mut(&bot)
                .map_or(0, |bot| bot.queue.restart(next_id))
        })
    }

    // ---- files -------------------------------------------------------------------------------------------------

    /// Adds a file that the bots can fetch.
    pub fn add_file(&self, file_id: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Bytes::from(bytes.into());
        self.put_file(
            file_id,
            u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            bytes,
        );
    }

    /// Adds a file of which only the size is known; to see `file is too big`.
    pub fn add_large_file(&self, file_id: &str, size: u64) {
        self.put_file(file_id, size, Bytes::new());
    }

    /// Lets `getFile` say another path of a file, as odd servers do.
    pub fn place_file(&self, file_id: &str, path: &str) {
        self.shared.change(|state| {
            if let Some(file) = state.files.get_mut(file_id) {
                path.clone_into(&mut file.path);
            }
        });
    }

    fn put_file(&self, file_id: &str, size: u64, bytes: Bytes) {
        self.shared.change(|state| {
            let path = format!("documents/file_{}", state.number());
            state.files.insert(
                file_id.to_owned(),
                StoredFile {
                    path,
                    name: None,
                    size,
                    bytes,
                },
            );
        });
    }

    pub(crate) fn file_size(&self, file_id: &str) -> u64 {
        self.shared
            .read(|state| state.files.get(file_id).map_or(0, |file| file.size))
    }

    /// The content of a file, by its id: also of one that a bot has uploaded.
    pub fn file(&self, file_id: &str) -> Option<Vec<u8>> {
        self.shared
            .read(|state| state.files.get(file_id).map(|file| file.bytes.to_vec()))
    }

    // ---- looking -----------------------------------------------------------------------------------------------

    /// Looks at several things at one moment.
    pub fn look<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let now = self.now();
        self.shared.read(|state| look(&View { state, now }))
    }

    /// See [`View::transcript`].
    pub fn transcript(&self, bot: i64, chat: i64) -> Vec<Line> {
        self.look(|view| view.transcript(bot, chat))
    }

    /// See [`View::transcript_text`].
    pub fn transcript_text(&self, bot: i64, chat: i64) -> String {
        self.look(|view| view.transcript_text(bot, chat))
    }

    /// See [`View::bot_texts`].
    pub fn bot_texts(&self, bot: i64, chat: i64) -> Vec<String> {
        self.look(|view| view.bot_texts(bot, chat))
    }

    /// See [`View::calls`].
    pub fn calls(&self, bot: i64) -> Vec<Call> {
        self.look(|view| view.calls(bot))
    }

    /// See [`View::calls_of`].
    pub fn calls_of(&self, bot: i64, method: &str) -> Vec<Call> {
        self.look(|view| view.calls_of(bot, method))
    }

    /// See [`View::call_count`].
    pub fn call_count(&self, bot: i64, method: &str) -> usize {
        self.look(|view| view.call_count(bot, method))
    }

    /// See [`View::pending`].
    pub fn pending(&self, bot: i64) -> usize {
        self.look(|view| view.pending(bot))
    }

    /// See [`View::confirmed`].
    pub fn confirmed(&self, bot: i64) -> Vec<i64> {
        self.look(|view| view.confirmed(bot))
    }

    /// See [`View::waiting_polls`].
    pub fn waiting_polls(&self, bot: i64) -> usize {
        self.look(|view| view.waiting_polls(bot))
    }

    /// See [`View::fault_hits`].
    pub fn fault_hits(&self, fault: FaultId) -> u32 {
        self.look(|view| view.fault_hits(fault))
    }

    /// Blocks until the check finds what it looks for; woken by every change, never by a timer.
    pub fn wait_for<R: Until>(
        &self,
        mut check: impl FnMut(&View<'_>) -> R,
        deadline: Duration,
    ) -> Result<R::Found, TimedOut> {
        let found = self.shared.wait(deadline, |state| {
            let now = self.now();
            check(&View { state, now }).found()
        });
        found.ok_or_else(|| {
            let now = self.now();
            let status = self.shared.read(|state| View { state, now }.status());
            TimedOut {
                waited: deadline,
                status,
            }
        })
    }
}

impl State {
    pub(crate) fn add_bot(&mut self, token: &str, username: &str) -> i64 {
        let id = token
            .split(':')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or(0);
        let bot = self
            .bots
            .entry(id)
            .or_insert_with(|| Bot::new(id, token, username));
        token.clone_into(&mut bot.token);
        username.clone_into(&mut bot.username);
        id
    }
}
