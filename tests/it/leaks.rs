//! The token never leaves the gateway: whatever fails, at whatever log level.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use telegram_sim::Fault;

use crate::attachments::{bytes, send, settled};
use crate::support::{Background, Gateway, House, OWNER, PATIENCE};

/// The secret part of the harness's tokens; nothing else has so many of them.
const SECRET: &[u8] = b"AAAAAAAAAAAAAAAA";

fn has_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET.len()).any(|window| window == SECRET)
}

/// Every file below a folder that has the secret in it.
fn leaks_below(folder: &Path) -> Vec<PathBuf> {
    let (mut folders, mut leaks, mut read) = (vec![folder.to_owned()], Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            read += 1;
            if has_secret(&fs::read(entry.path()).unwrap()) {
                leaks.push(entry.path());
            }
        }
    }
    assert!(read > 0, "nothing to look at");
    leaks
}

fn gateway_at(house: &House, level: &str) -> Gateway {
    Gateway::start(
        &mut house.command_with_tokens(&["gateway", "--log-level", level]),
        house.path(),
    )
}

/// Polls meet this fault once and are healed.
fn poll_fault(house: &House, gateway: &Gateway, fault: impl FnOnce(Fault) -> Fault) {
    let fault = house
        .sim
        .fault(fault(Fault::on(house.bot()).method("getUpdates")));
    house.say("wake the poll that waits");
    let struck = house
        .sim
        .wait_for(|view| view.fault_hits(fault) > 0, PATIENCE);
    struck.unwrap();
    gateway.wait_until_polling(house);
}

/// Leads a gateway through failures of all kinds and looks for the secret everywhere.
fn nothing_leaks_at(level: &str) -> String {
    let house = House::new();
    let gateway = gateway_at(&house, level);
    gateway.wait_until_polling(&house);
    poll_fault(&house, &gateway, |fault| fault.html(502));
    poll_fault(&house, &gateway, Fault::malformed);
    poll_fault(&house, &gateway, Fault::truncated);
    poll_fault(&house, &gateway, Fault::reset_before);
    poll_fault(&house, &gateway, Fault::closed_before);
    poll_fault(&house, &gateway, |fault| {
        fault.error(500, "Internal Server Error")
    });

    let mut agent = house.agent();
    let send = || Fault::on(house.bot()).method("sendMessage");
    house.sim.fault(send().answer_lost());
    agent.reply(json!({}));
    agent.reply(json!({"text": "doubted"}));
    house.say("again");
    agent.wait_for_message();
    house.sim.fault(send().error(400, "Bad Request: so there"));
    assert_eq!(agent.reply(json!({"text": "failed"}))["status"], "failed");
    house.say("once more");
    agent.wait_for_message();
    house.sim.fault(send().retry_after(1));
    agent.reply(json!({"text": "late"}));
    gateway.wait_for_log("Telegram asked for a pause of this chat");

    house.sim.pause().unwrap();
    gateway.wait_for_log("cannot reach Telegram");
    house.sim.resume().unwrap();
    gateway.wait_for_log("polling works again");
    house.sim.revoke(house.bot());
    gateway.wait_for_log("Telegram does not accept the token of this bot");

    let pid = gateway.pid();
    let read = |file: String| fs::read(file).unwrap();
    assert!(
        has_secret(&read(format!("/proc/{pid}/environ"))),
        "the one place where it must be; else this test looks for the wrong thing"
    );
    assert!(!has_secret(&read(format!("/proc/{pid}/cmdline"))));
    let agent_pid = agent.pid();
    assert!(!has_secret(&read(format!("/proc/{agent_pid}/cmdline"))));
    assert!(!has_secret(&read(format!("/proc/{agent_pid}/environ"))));
    for command in [&["status"][..], &["status", "--json"], &["check"]] {
        let output = house.run(command);
        assert!(!output.stdout.is_empty(), "{output:?}");
        assert!(!has_secret(&output.stdout) && !has_secret(&output.stderr));
    }
    let locks = format!("/var/tmp/telepost-{}", rustix::process::getuid().as_raw());
    let lock = format!("{locks}/bot-{}.lock", house.bot());
    assert!(!has_secret(&read(lock)));
    assert!(gateway.stop().success());
    assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
    house.log_files()
}

#[test]
fn nothing_leaks_at_trace() {
    nothing_leaks_at("trace");
}

#[test]
fn nothing_leaks_when_every_crate_logs_at_trace() {
    let log = nothing_leaks_at("trace,telepost=trace");
    assert!(log.contains("TRACE hyper"), "only our own lines were there");
}

#[test]
fn a_name_that_is_not_found_and_a_broken_tls_leak_nothing() {
    for url in ["https://no-such-host.invalid", "TLS"] {
        let mut house = House::new();
        let url = match url {
            "TLS" => house.sim.url().replace("http:", "https:"),
            other => other.to_owned(),
        };
        house.config["api_url"] = json!(url);
        house.write_config();
        let gateway = gateway_at(&house, "trace,telepost=trace");
        gateway.wait_for_log("polling failed");
        house.wait_until_unreachable();
        drop(gateway);
        assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
    }
}

#[test]
fn polls_that_are_refused_leak_nothing() {
    let house = House::new();
    let gateway = gateway_at(&house, "trace,telepost=trace");
    gateway.wait_until_polling(&house);
    poll_fault(&house, &gateway, |fault| fault.error(404, "Not Found"));
    poll_fault(&house, &gateway, |fault| {
        fault.error(409, "Conflict: terminated by other getUpdates request")
    });
    poll_fault(&house, &gateway, |fault| fault.retry_after(1));
    assert!(gateway.stop().success());
    assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn a_poll_that_is_never_answered_leaks_nothing() {
    let house = House::new();
    house
        .sim
        .fault(Fault::on(house.bot()).method("getUpdates").hang());
    let gateway = gateway_at(&house, "trace,telepost=trace");
    // The first poll does not ask to wait, so that it is given up after ten seconds.
    gateway.wait_for_log("polling failed");
    gateway.wait_until_polling(&house);
    assert!(gateway.stop().success());
    assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn files_that_cannot_be_fetched_leak_nothing() {
    let house = House::new();
    let gateway = gateway_at(&house, "trace,telepost=trace");
    gateway.wait_until_polling(&house);
    let faults: [fn(Fault) -> Fault; 11] = [
        |fault| fault.html(502),
        |fault| fault.html(404),
        |fault| fault.error(404, "Not Found"),
        |fault| fault.error(401, "Unauthorized"),
        |fault| fault.error(500, "Internal Server Error"),
        |fault| fault.retry_after(1),
        Fault::malformed,
        Fault::truncated,
        Fault::answer_lost,
        Fault::reset_before,
        Fault::closed_before,
    ];
    let mut armed = Vec::new();
    for method in ["getFile", "download"] {
        let on = |fault: &fn(Fault) -> Fault| fault(Fault::on(house.bot()).method(method));
        armed.extend(faults.iter().map(|fault| house.sim.fault(on(fault))));
    }
    let sent: Vec<_> = (0..12)
        .map(|number| send(&house, &number.to_string(), bytes(number, 5000), "a file"))
        .collect();
    let mut agent = house.agent();
    for sent in &sent {
        assert_eq!(settled(&mut agent, sent)[0]["state"], "ready");
    }
    let struck = |fault: &_| house.sim.fault_hits(*fault) > 0;
    assert!(armed.iter().all(struck), "not every fault has struck");
    // And with no server at the other end.
    send(&house, "last", bytes(99, 5000), "never");
    house.wait_for_inbox(13);
    house.sim.pause().unwrap();
    gateway.wait_for_log("cannot reach Telegram");
    assert!(gateway.stop().success());
    assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn a_panic_of_the_gateway_leaks_nothing() {
    std::thread::scope(|scope| {
        for step in ["confirm", "send", "accepted", "presence"] {
            scope.spawn(move || {
                let house = House::new();
                let gateway = Gateway::start(
                    house
                        .command_with_tokens(&["gateway", "--log-level", "trace,telepost=trace"])
                        .env("RUST_BACKTRACE", "full")
                        .env("TELEPOST_CRASH_AT", format!("{step}:panic")),
                    house.path(),
                );
                house.say("question");
                if step != "presence" {
                    // So that a poll confirms, and something is sent.
                    house.wait_for_inbox(1);
                    let mut agent = house.agent();
                    agent.wait_for_message();
                    agent.reply(json!({"text": "answer"}));
                    house.say("answers the poll that waits");
                }
                gateway.wait_for_log(&format!("a test asked for a panic at {step}"));
                let (status, _) = gateway.end();
                assert!(!status.success(), "{step}: {status}");
                assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
            });
        }
    });
}

#[test]
fn a_panic_of_an_agents_server_leaks_nothing() {
    let house = House::new();
    let _gateway = house.gateway();
    house.say("question");
    house.wait_for_inbox(1);
    // Also where the person has exported the token, so that it stands in the environment.
    let mut command = house.command_with_tokens(&["mcp", "--session", "ONE"]);
    let words = fs::File::create(house.path().join("panics.log")).unwrap();
    command
        .env("TELEPOST_CRASH_AT", "hold:panic")
        .env("TELEPOST_LOG", "trace,telepost=trace")
        .stderr(words);
    let mut agent = crate::support::Agent::start(&mut command);
    let id = agent.begin("telegram_poll", json!({}));
    crate::support::wait_for("the panic", || {
        let words = fs::read_to_string(house.path().join("panics.log")).unwrap();
        if words.contains("a test asked for a panic at hold") {
            Ok(())
        } else {
            Err(words)
        }
    });
    if let Some(answer) = agent.try_answer(id) {
        assert!(!has_secret(format!("{answer:?}").as_bytes()), "{answer:?}");
    }
    assert_eq!(leaks_below(house.path()), [""; 0].map(PathBuf::from));
}

#[test]
fn a_detached_gateway_has_no_token_on_its_command_line() {
    let house = House::new();
    let _background = Background(&house);
    let started = house.run(&["gateway", "--detach"]);
    assert!(started.status.success(), "{started:?}");
    let pid = house.status()["gateway"]["pid"].clone();
    let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!has_secret(&cmdline));
}

#[test]
fn an_agent_is_never_told_the_token_not_even_by_a_broken_configuration() {
    let mut house = House::new();
    house.config["sessions"]["ONE"]["bot_token_env"] = json!(house.token());
    house.write_config();
    let refusal = house.agent().call("telegram_poll", json!({})).refused();
    assert!(refusal.contains("sessions.ONE.bot_token_env"), "{refusal}");
    assert!(!has_secret(refusal.as_bytes()), "{refusal}");
}

#[test]
fn what_people_write_is_not_logged_above_debug() {
    let house = House::new();
    let gateway = gateway_at(&house, "info");
    gateway.wait_until_polling(&house);
    let mut agent = house.agent_asked("xyzzy-question");
    agent.reply(json!({"text": "xyzzy-answer"}));
    house
        .sim
        .message(house.bot())
        .chat(OWNER)
        .text("xyzzy-poison")
        .raw(json!({"message_id": "no number"}))
        .send();
    house.say("barrier");
    house.wait_for_inbox(1);
    assert!(gateway.stop().success());
    let log = house.log_files();
    assert!(log.contains("messages stored") && log.contains("delivered"));
    assert!(!log.contains("xyzzy"), "{log}");
    assert_eq!(house.dead_letters().len(), 1);
    let dead: Value = json!(house.dead_letters());
    assert!(!dead.to_string().contains("xyzzy"), "{dead}");
}
