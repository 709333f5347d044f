//! Makes a state folder with something of everything in it, and keeps it for later versions.
//!
//! To store what a release leaves (commit what it writes under `tests/data`):
//!
//! ```text
//! TELEPOST_BIN=/path/to/its/telepost cargo nextest run --features test-hooks -E 'test(compat::)' --no-capture
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use telegram_sim::{Fault, GroupKind, View};
use telepost::clock::Clock;

use crate::attachments::send;
use crate::support::client::{Client, says};
use crate::support::hooks::Said;
use crate::support::{
    Agent, GROUP, Gateway, House, OWNER, PATIENCE, Terminal, ids, names_in, wait_for,
};

/// The private chat of a second person, which is closed for an hour.
pub(super) const BUSY: i64 = 12;
pub(super) const SETTLED: &str = "asked and answered";
pub(super) const BEFORE_THE_MOVE: &str = "written in the group before it moved";
pub(super) const HELD_BY_ALPHA: &str = "shown to alpha";
pub(super) const HELD_BY_BETA: &str = "shown to beta";
pub(super) const WITH_PLAN: &str = "with a file, shown to no agent";
pub(super) const PENDING: &str = "shown to no agent";
pub(super) const PLAN: &[u8] = b"%PDF the content of a plan\n";
pub(super) const REPORT: &[u8] = b"the content of a report\n";
pub(super) const TO_THE_BUSY: &str = "an answer that waits for an hour";
pub(super) const SECOND_PART: &str = "the second part, of which Telegram may have heard";
pub(super) const WITH_REPORT: &str = "queued with a file while no gateway ran";
/// A text that Telegram refuses for good.
const REFUSED: &str = "refused";
/// Stands in a stored folder for the path of the house that left it.
const PLACE: &str = "/the/house";

/// A state folder that some version has left.
#[derive(Serialize, Deserialize)]
pub(super) struct Left {
    #[serde(skip)]
    folder: PathBuf,
    /// The program that left it.
    version: String,
    /// When, in milliseconds.
    pub(super) at: i64,
    /// Its bots, whose numbers are others wherever it is copied to.
    bots: Vec<i64>,
    /// The delivery that answers [`SETTLED`].
    pub(super) settled: Value,
}

/// The configuration of the house that leaves such a folder, and of those that take it over.
pub(super) fn house() -> (House, Terminal) {
    let mut house = House::empty();
    let chats = json!({"chat_ids": [OWNER, BUSY, GROUP], "allowed_users": [OWNER, BUSY]});
    house.add_session("ONE", chats);
    house.add_session("TWO", json!({"tmux_session": "shop"}));
    house.config["receipts"] = json!("on");
    house.write_config();
    house.sim.add_group(GROUP, "Team", GroupKind::Group);
    house.sim.open_chat(house.bot(), GROUP);
    let terminal = Terminal::new(&mut house);
    (house, terminal)
}

/// The call that answers [`SETTLED`].
pub(super) fn settle(agent: &mut Agent) -> Value {
    let reply = json!({"text": "the answer to it"});
    agent.call_as("settled", "telegram_reply", reply).ok()
}

impl Left {
    /// The folder that a version left, from `tests/data`.
    pub(super) fn stored(version: &str) -> Self {
        let folder = data(version);
        let about = fs::read(folder.join("about.json")).unwrap();
        let left: Self = serde_json::from_slice(&about).unwrap();
        Self { folder, ..left }
    }

    /// Lets a program leave such a folder.
    pub(super) fn by(program: &Path, into: &Path) -> Self {
        let (mut house, _terminal) = house();
        program.clone_into(&mut house.program);
        let version = String::from_utf8(house.run(&["--version"]).stdout).unwrap();
        let settled = live(&mut house);
        let left = Self {
            folder: into.to_owned(),
            version: version.trim().rsplit(' ').next().unwrap().to_owned(),
            at: Clock::system().now().0,
            bots: house.bots.clone(),
            settled,
        };
        left.store(&house);
        left
    }

    /// Stores it under the name of its version.
    pub(super) fn keep(mut self) {
        let folder = data(&self.version);
        drop(fs::remove_dir_all(&folder));
        copy(&self.folder.join("state"), &folder.join("state"), &|text| {
            let renamed = self.bots.iter().zip(7_000_000_001_i64..);
            renamed.fold(text.to_owned(), |text, (from, to)| {
                text.replace(&from.to_string(), &to.to_string())
            })
        });
        self.bots = vec![7_000_000_001, 7_000_000_002];
        let about = serde_json::to_string_pretty(&self).unwrap();
        fs::write(folder.join("about.json"), about + "\n").unwrap();
    }

    fn store(&self, house: &House) {
        let place = house.path().to_str().unwrap().to_owned();
        let program = house.program.to_str().unwrap().to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let state = self.folder.join("state");
        copy(&house.state(), &state, &|text| {
            let text = text.replace(&place, PLACE);
            let text = text.replace(&program, "/usr/bin/telepost");
            text.replace(&path, "/usr/bin:/bin")
        });
    }

    /// Puts it into a house, as if it had been made there.
    pub(super) fn give_to(&self, house: &House) {
        let place = house.path().to_str().unwrap();
        copy(&self.folder.join("state"), &house.state(), &|text| {
            let moved = text.replace(PLACE, place);
            let bots = self.bots.iter().zip(&house.bots);
            bots.fold(moved, |text, (from, to)| {
                text.replace(&from.to_string(), &to.to_string())
            })
        });
    }
}

fn data(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/state-{version}"))
}

/// Copies a state folder without its logs, with its texts and names changed, for its owner only.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let target = to.join(change(name));
        if path.is_dir() {
            if name != "logs" {
                copy(&path, &target, change);
            }
        } else if name != ".synced" {
            let bytes = fs::read(&path).unwrap();
            let bytes = match String::from_utf8(bytes) {
                Ok(text) => change(&text).into_bytes(),
                Err(error) => error.into_bytes(),
            };
            fs::write(&target, bytes).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

#[track_caller]
fn wait_for_file(path: &Path, words: &str) {
    wait_for(words, || {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.contains(words) {
            Ok(())
        } else {
            Err(text)
        }
    });
}

/// The life of a house until its gateway and its agents are killed. Returns the answer to [`SETTLED`].
fn live(house: &mut House) -> Value {
    let client = Client::new(house);
    let gateway = house.gateway();
    let mut alpha = house.agent_registered();
    let settled = wakes_and_answers(house, &client, &mut alpha);
    commands_and_garbage(house);
    let gateway = fails(house, gateway, &mut alpha);
    let mut beta = house.agent_in("beta");
    moves_and_waits(house, &mut alpha);
    house.arrive(HELD_BY_BETA);
    assert_eq!(beta.wait_for_message()["messages"][0]["text"], HELD_BY_BETA);
    fails_unheard(house, &mut beta);
    leaves_a_reply_in_doubt(house, gateway, &mut alpha);
    queues(house, &mut alpha);
    alpha.kill();
    beta.kill();
    settled
}

/// `wake.json`, `turns/`, `done/`, `sent/` with a reply, progress and a reaction.
fn wakes_and_answers(house: &House, client: &Client, alpha: &mut Agent) -> Value {
    says(house, "idle");
    house.arrive(SETTLED);
    client.wait_for_a_wake();
    says(house, "busy");
    house.prompted("a");
    alpha.wait_for_message();
    alpha.call("telegram_react", json!({"emoji": "👍"})).ok();
    alpha.reply(json!({"text": "looking it up", "keep_open": true}));
    house.wait_until_put_away(2);
    let settled = settle(alpha);
    assert_eq!(settled["status"], "delivered", "{settled}");
    house.wait_until_put_away(3);
    assert_eq!(house.stops("a", false), Said::Nothing);
    settled
}

/// The tombstone of a command, the menu of the commands (`menu.json` up to 0.1.0) and a dead letter.
fn commands_and_garbage(house: &House) {
    let heard = house.heard().len();
    let command = house.say("/status").update_id.unwrap();
    wait_for("the answer to a command", || {
        if house.heard().len() > heard {
            Ok(())
        } else {
            Err(())
        }
    });
    let garbage = json!({"update_id": command + 1, "callback_query": 7});
    house.sim.raw_text(house.bot(), &garbage.to_string());
    wait_for("a dead letter", || match house.dead_letters().len() {
        1 => Ok(()),
        other => Err(other),
    });
    wait_for("the menu of the commands", || {
        match house.sim.call_count(house.bot(), "setMyCommands") {
            0 => Err(()),
            _ => Ok(()),
        }
    });
}

/// `failed/` with a failure that the agent was told of, in `told.json`.
fn fails(house: &House, gateway: Gateway, alpha: &mut Agent) -> Gateway {
    let send = Fault::on(house.bot()).method("sendMessage");
    let send = send.contains(REFUSED).always();
    house
        .sim
        .fault(send.error(400, "Bad Request: message text is empty"));
    // Accepted while no gateway runs, so its failure is news.
    gateway.kill();
    let refused = alpha.reply(json!({"text": REFUSED, "to": "home"}));
    assert_eq!(refused["status"], "accepted", "{refused}");
    let gateway = house.gateway();
    wait_for("a failure", || match house.names("failed").len() {
        1 => Ok(()),
        other => Err(other),
    });
    let told = alpha.poll(json!({}));
    assert!(told["notices"][0].is_string(), "{told}");
    wait_for_file(&house.session("told.json"), "format");
    gateway
}

/// A failure that no agent was told of.
fn fails_unheard(house: &House, beta: &mut Agent) {
    let refused = json!({"text": format!("{REFUSED}, unheard"), "to": "home"});
    let id = beta.begin("telegram_reply", refused);
    wait_for("another failure", || match house.names("failed").len() {
        2 => Ok(()),
        other => Err(other),
    });
    // Its answer tells of it, too.
    assert_eq!(beta.answer(id).ok()["status"], "failed");
}

/// `migrations.json`, `gates.json`, `down.json`, `files/`, `receipts.json`, and messages that alpha holds.
fn moves_and_waits(house: &House, alpha: &mut Agent) {
    let (one, two) = (house.bots[0], house.bots[1]);
    house.sim.say(two, OWNER, OWNER, "is anybody there?");

    house.arrive_in(GROUP, BEFORE_THE_MOVE);
    alpha.wait_for_message();
    house.sim.migrate(GROUP, crate::support::SUPERGROUP);
    let bots = house.state().join("bots");
    wait_for_file(&bots.join(format!("{one}/migrations.json")), "migrations");

    let flood = Fault::on(one).method("sendMessage").chat(BUSY);
    house.sim.fault(flood.retry_after(3600));
    house
        .sim
        .say(one, BUSY, BUSY, "a question in a chat that closes");
    let asked = ids(&alpha.wait_for_message());
    let held = alpha.reply(json!({"text": TO_THE_BUSY, "to": asked[0]}));
    assert!(held["held_until"].is_string(), "{held}");

    wait_for_file(&bots.join(format!("{one}/receipts.json")), "message_id");

    let told = |view: &View<'_>| view.bot_texts(two, OWNER).len() == 1;
    house.sim.wait_for(told, PATIENCE).unwrap();
    let down = house.state().join("sessions/TWO/down.json");
    wait_for_file(&down, "\"told\":true");
}

/// A reply of two messages, of which the second is on its way when the gateway is killed. Of what comes in
/// meanwhile alpha is shown the first.
fn leaves_a_reply_in_doubt(house: &House, gateway: Gateway, alpha: &mut Agent) {
    let asked = house.arrive("all of it?");
    alpha.wait_for_message();
    let silence = Fault::on(house.bot()).method("sendMessage").chat(OWNER);
    let silence = house.sim.fault(silence.contains(SECOND_PART).hang());
    let text = format!("{}\n{SECOND_PART}", "a".repeat(4090));
    let call = alpha.begin("telegram_reply", json!({"text": text, "to": asked}));
    let is_out = |view: &View<'_>| view.fault_hits(silence) > 0;
    house.sim.wait_for(is_out, PATIENCE).unwrap();

    house.arrive(HELD_BY_ALPHA);
    let plan = send(house, "doc", PLAN.to_vec(), WITH_PLAN);
    house.wait_until_arrived(plan.update_id.unwrap());
    wait_for("the file of a message", || {
        let names = house.names("files");
        if names.len() == 1 { Ok(()) } else { Err(names) }
    });
    house.arrive(PENDING);
    gateway.kill();
    assert_eq!(alpha.answer(call).ok()["status"], "accepted");
    let page = alpha.poll(json!({"limit": 1}));
    assert_eq!(page["messages"][0]["text"], HELD_BY_ALPHA);
}

/// Deliveries that the agent queues while no gateway runs, one of which a person drops.
fn queues(house: &House, alpha: &mut Agent) {
    let path = house.file("report.txt", REPORT);
    alpha.reply(json!({"text": WITH_REPORT, "files": [path], "to": "home"}));
    let dropped = alpha.reply(json!({"text": "not wanted any more", "to": "home"}));
    let id = dropped["delivery_id"].as_str().unwrap();
    let output = house.run(&["outbox", "drop", id]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names_in(&house.session("drops")).len(), 1);
}
