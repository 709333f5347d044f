//! Files that may not be sent are refused, each with its own reason, before anything is sent or stored;
//! a call that is cut short leaves nothing for ever.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Agent, House, wait_for};

/// A house whose agent holds a question, and may also send from the whole of the house's folder.
fn open_house() -> (House, Agent) {
    let mut house = House::empty();
    let root = house.path().to_owned();
    house.add_session("ONE", json!({"send_roots": [root.join("other")]}));
    house.write_config();
    fs::create_dir(root.join("other")).unwrap();
    let gateway = house.gateway();
    let agent = house.agent_asked("the files?");
    assert!(gateway.stop().success());
    (house, agent)
}

/// Refused with these words; nothing was sent or stored, and the question is still held.
#[track_caller]
fn refused(house: &House, agent: &mut Agent, files: Value, words: &str) {
    let arguments = json!({"text": "here", "files": files});
    let refusal = agent.call("telegram_reply", arguments).refused();
    assert!(refusal.contains(words), "{words:?} is not in: {refusal}");
    assert!(refusal.contains("Nothing was sent and nothing was acknowledged; "));
    assert_eq!(house.outbox(), [""; 0], "left behind after: {refusal}");
    assert_eq!(house.names("inbox").len(), 1);
    assert_eq!(house.effects().len(), 0);
}

#[test]
fn each_file_that_may_not_be_sent_is_refused_with_its_own_reason_before_anything_is_sent() {
    let (house, mut agent) = open_house();
    let work = house.work();
    house.file("good.txt", "good");
    fs::write(house.path().join("other/fine.txt"), "fine").unwrap();
    fs::write(house.path().join("outside.txt"), "outside").unwrap();
    symlink(house.path().join("outside.txt"), work.join("out")).unwrap();
    symlink(work.join("good.txt"), work.join("in")).unwrap();
    symlink(house.path().join("other"), work.join("folder")).unwrap();
    house.file("empty", "");
    let large = File::create(work.join("large")).unwrap();
    large.set_len(51_000_000).unwrap();
    let made = Command::new("mkfifo").arg(work.join("pipe")).status();
    assert!(made.unwrap().success());
    assert!(
        fs::metadata(work.join("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    let _socket = UnixListener::bind(work.join("socket")).unwrap();

    for (file, words) in [
        ("../outside.txt", "has \"..\" in its path"),
        ("sub/../good.txt", "has \"..\" in its path"),
        ("/etc/hostname", "is outside the folders"),
        (
            house.path().join("outside.txt").to_str().unwrap(),
            "is outside the folders",
        ),
        (
            house.config_path().to_str().unwrap(),
            "is outside the folders",
        ),
        ("out", "goes through the symbolic link \"out\""),
        ("in", "goes through the symbolic link \"in\""),
        (
            "folder/fine.txt",
            "goes through the symbolic link \"folder\"",
        ),
        ("empty", "is empty"),
        ("large", "is 51.0 MB, and Telegram accepts at most 50 MB"),
        ("pipe", "is a named pipe"),
        ("socket", "is a socket"),
        (".", "is a folder"),
        ("", "has no name"),
        ("a\0b", "has a NUL character"),
        ("missing", "does not exist"),
        ("missing/too", "does not exist"),
        ("good.txt/below", "does not exist"),
    ] {
        refused(&house, &mut agent, json!(["good.txt", file]), words);
    }
    fs::create_dir(work.join("sub")).unwrap();
    refused(&house, &mut agent, json!(["sub"]), "is a folder");
    let eleven = vec!["good.txt"; 11];
    refused(
        &house,
        &mut agent,
        json!(eleven),
        "one reply takes at most 10",
    );

    // A refused file holds nothing up.
    let fine = house.path().join("other/fine.txt");
    let answer = agent.reply(json!({"text": "here", "files": ["./good.txt", fine]}));
    assert_eq!(answer["status"], "accepted");
}

#[test]
fn names_of_secrets_are_refused_wherever_they_are() {
    let (house, mut agent) = open_house();
    for (file, words) in [
        (".env", "(.env*)"),
        ("deep/er/.env.local", "(.env*)"),
        (".ENV", "(.env*)"),
        ("server.pem", "(*.pem)"),
        ("server.KEY", "(*.key)"),
        ("id_rsa", "(id_*)"),
        (".git/config", "is in a folder .git"),
        ("sub/.GIT/config", "is in a folder .git"),
        (".ssh/known_hosts", "is in a folder .ssh"),
        (".npmrc", "(.npmrc)"),
        (".netrc", "(.netrc)"),
        (".pypirc", "(.pypirc)"),
        ("kubeconfig", "(kubeconfig)"),
        ("credentials.json", "(credentials*)"),
        ("token.txt", "(token*)"),
        (".aws/config", "is in a folder .aws"),
        (".kube/config", "is in a folder .kube"),
    ] {
        house.file(file, "secret");
        refused(&house, &mut agent, json!([file]), words);
    }
    house.file("private.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n");
    refused(
        &house,
        &mut agent,
        json!(["private.txt"]),
        "contains a private key",
    );
    house.file(
        "both.pem",
        "-----BEGIN CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----\n",
    );
    refused(&house, &mut agent, json!(["both.pem"]), "(*.pem)");
    for (fine, content) in [
        ("environment.txt", "fine"),
        ("keys.txt", "fine"),
        ("identity", "fine"),
        (".gitignore", "fine"),
        ("id_card.png", "fine"),
        ("id_mapping.csv", "fine"),
        (".env.example", "fine"),
        ("tokenizer.json", "fine"),
        (
            "cert.pem",
            "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n",
        ),
        ("talk.key", "PK\u{3}\u{4}slides"),
    ] {
        house.file(fine, content);
        let answer = agent.reply(json!({"text": fine, "files": [fine], "to": "home"}));
        assert_eq!(answer["status"], "accepted", "{fine}");
    }
}

#[test]
fn a_file_is_sent_by_whichever_name_of_its_folder() {
    let mut house = House::empty();
    let real = house.path().join("real");
    fs::create_dir(&real).unwrap();
    let (root, other) = (house.path().join("root"), house.path().join("other"));
    symlink(&real, &root).unwrap();
    symlink(&real, &other).unwrap();
    symlink("/etc", real.join("out")).unwrap();
    house.add_session("ONE", json!({"send_roots": [root]}));
    house.write_config();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("the files?");
    assert!(gateway.stop().success());
    fs::write(real.join("a.txt"), "a").unwrap();
    // As macOS has /tmp and /private/tmp.
    for folder in [&real, &root, &other] {
        let answer = agent.reply(json!({"files": [folder.join("a.txt")], "to": "home"}));
        assert_eq!(answer["status"], "accepted", "{}", folder.display());
        for outside in ["out/hostname", "../sessions.json"] {
            let file = folder.join(outside);
            let refusal = agent
                .call("telegram_reply", json!({"files": [file]}))
                .refused();
            assert!(refusal.contains("Nothing was sent"), "{refusal}");
        }
    }
}

#[test]
fn nothing_of_telepost_itself_is_sent_under_any_name() {
    let mut house = House::empty();
    let root = house.path().to_owned();
    let session = house.add_session("ONE", json!({"send_roots": [root]}));
    assert_eq!(session, house.bot());
    house.write_config();
    let gateway = house.gateway();
    let mut agent = house.agent_asked("the files?");
    assert!(gateway.stop().success());
    let state = house.state();
    fs::write(root.join("sessions.json.bak"), "fine").unwrap();
    fs::hard_link(house.config_path(), root.join("work/second")).unwrap();
    fs::hard_link(state.join("gateway.json"), root.join("work/third")).unwrap();
    fs::write(root.join("work/fourth"), "fine").unwrap();
    fs::hard_link(root.join("work/fourth"), root.join("work/fifth")).unwrap();
    for (file, words) in [
        (state.join("gateway.json"), "telepost's own state folder"),
        (house.only_file("inbox"), "telepost's own state folder"),
        (house.config_path(), "telepost's configuration"),
        (root.join("work/second"), "telepost's configuration"),
        (
            root.join("work/third"),
            "is another name of a file of telepost's state",
        ),
    ] {
        refused(&house, &mut agent, json!([file]), words);
    }
    // The configuration lies in a folder that may be sent from, so only it itself may not; and a
    // second name of a file is nothing bad.
    let files = [root.join("sessions.json.bak"), root.join("work/fifth")];
    let answer = agent.reply(json!({"files": files}));
    assert_eq!(answer["status"], "accepted");
}

#[test]
fn a_configuration_folder_below_a_root_is_refused_as_a_whole() {
    let mut house = House::empty();
    house.add_session("ONE", json!({"send_roots": [house.path()]}));
    house.write_config();
    let _gateway = house.gateway();
    let folder = house.path().join("conf");
    fs::create_dir(&folder).unwrap();
    fs::copy(house.config_path(), folder.join("sessions.json")).unwrap();
    fs::write(folder.join("notes.txt"), "notes").unwrap();
    let mut command = Command::new(house.agent_command("ONE").get_program());
    command.args(["mcp", "--session", "ONE", "--config"]);
    command.arg(folder.join("sessions.json"));
    command.env_clear().env("HOME", house.path());
    let mut agent = Agent::start(&mut command);
    let call = json!({"to": "home", "files": [folder.join("notes.txt")]});
    let refusal = agent.call("telegram_reply", call).refused();
    assert!(refusal.contains("telepost's configuration"), "{refusal}");
}

#[test]
fn progress_has_no_files() {
    let house = House::new();
    let gateway = house.gateway();
    house.file("a.txt", "a");
    let mut agent = house.agent_asked("how far?");
    assert!(gateway.stop().success());
    let arguments = json!({"text": "half", "files": ["a.txt"], "keep_open": true});
    let refusal = agent.call("telegram_reply", arguments).refused();
    assert!(refusal.contains("has no `files`"), "{refusal}");
    assert_eq!(house.outbox(), [""; 0]);
}

// ---- kills and full disks ------------------------------------------------------------------------------------------------

/// An agent that dies at a point while it sends two files.
fn killed_at(point: &str) -> House {
    let house = House::new();
    let gateway = house.gateway();
    house.file("a.txt", "a");
    house.file("b.txt", "b");
    house.say("the files?");
    house.wait_for_inbox(1);
    assert!(gateway.stop().success());
    let mut command = house.agent_command("ONE");
    command.env("TELEPOST_CRASH_AT", point);
    let mut agent = Agent::start(&mut command);
    agent.wait_for_message();
    let call = json!({"text": "here", "files": ["a.txt", "b.txt"]});
    let id = agent.begin("telegram_reply", call);
    assert!(agent.try_answer(id).is_none(), "it lives on after {point}");
    house
}

#[test]
fn an_agent_that_is_killed_while_it_copies_leaves_nothing_for_ever() {
    for point in [
        "stage:after:1",
        "stage:after:2",
        "attach:before",
        "attach:after",
        "accept:before",
    ] {
        let house = killed_at(point);
        assert_ne!(
            house.outbox(),
            [""; 0],
            "nothing was there to be removed at {point}"
        );
        let _gateway = house.gateway();
        house.wait_until_the_outbox_is_empty();
        assert_eq!(house.sent().len(), 0);
        assert_eq!(
            house.names("inbox").len(),
            1,
            "the question is offered again"
        );
    }
}

#[test]
fn what_a_killed_agent_left_is_removed_by_the_next_one_that_sends_files() {
    let house = killed_at("stage:after:1");
    let left = house.outbox();
    let mut agent = house.agent();
    agent.poll(json!({}));
    agent.reply(json!({"files": ["a.txt"]}));
    assert!(left.iter().all(|name| !house.outbox().contains(name)));
}

#[test]
fn an_agent_that_is_killed_after_the_commit_has_sent_its_files() {
    let house = killed_at("accept:after");
    let _gateway = house.gateway();
    wait_for("the files", || {
        let sent = house.sent();
        if sent.len() == 2 { Ok(()) } else { Err(sent) }
    });
    house.wait_until_the_outbox_is_empty();
}

#[test]
fn a_full_disk_while_copying_refuses_the_call_and_leaves_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    house.file("a.txt", "a");
    house.say("the file?");
    house.wait_for_inbox(1);
    let mut command = house.agent_command("ONE");
    command.env("TELEPOST_FAIL_AT", "stage:enospc:2");
    let mut agent = Agent::start(&mut command);
    agent.wait_for_message();
    let call = json!({"text": "here", "files": ["a.txt"]});
    for _ in 0..2 {
        refused(
            &house,
            &mut agent,
            json!(["a.txt"]),
            "disk full: free some space",
        );
    }
    assert_eq!(agent.reply(call)["status"], "delivered");
    house.wait_to_hear(&["here"]);
}
