//! The gateway is started by the first tool call, outlives its starter, and exists once.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Agent, SelfStarting, ids, wait_for};

#[test]
fn the_first_tool_call_starts_the_gateway() {
    let house = SelfStarting::new();
    let mut agent = house.agent();
    assert_eq!(house.starts(), 0);
    let result = agent.poll(json!({}));
    // It is ready before the call returns, so there is nothing to be said.
    assert_eq!(result, json!({"remaining": 0, "session": "ONE"}));
    house.wait_until_polling();
    assert_eq!(house.starts(), 1);
}

#[test]
fn a_message_is_answered_through_a_gateway_that_started_itself() {
    let house = SelfStarting::new();
    let mut agent = house.agent();
    agent.poll(json!({}));
    house.say("hello");
    let shown = agent.wait_for_message();
    let answered = agent.reply(json!({"text": "hello human"}));
    assert_eq!(
        (&answered["status"], &answered["acked"]),
        (&json!("delivered"), &json!(ids(&shown)))
    );
    assert_eq!(house.heard(), ["hello human"]);
}

#[test]
fn the_gateway_survives_the_kill_of_its_starter_and_of_the_whole_process_group() {
    let house = SelfStarting::new();
    let mut command = house.agent_command("ONE");
    let mut agent = Agent::start(command.process_group(0));
    agent.poll(json!({}));
    let before = house.wait_until_polling();
    let group = format!("-{}", agent.pid());
    let killed = Command::new("kill")
        .args(["-9", "--", &group])
        .status()
        .unwrap();
    assert!(killed.success());
    agent.kill();
    house.arrive("still there?");
    assert_eq!(house.wait_until_polling()["pid"], before["pid"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_gateway_is_nobodys_child_and_leads_no_session_of_its_starter() {
    let house = SelfStarting::new();
    let mut agent = house.agent();
    agent.poll(json!({}));
    let gateway = house.wait_until_polling()["pid"].as_u64().unwrap();
    let of = |pid: u64, field: &str| {
        let output = Command::new("ps")
            .args(["-o", &format!("{field}="), "-p", &pid.to_string()])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let server = u64::from(agent.pid());
    assert_ne!(of(gateway, "ppid"), server.to_string());
    assert_ne!(of(gateway, "sess"), of(server, "sess"));
    assert_eq!(of(gateway, "tty"), "?");
    let folder = fs::read_link(format!("/proc/{gateway}/cwd")).unwrap();
    assert_eq!(folder.to_str(), Some("/"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_token_is_neither_in_the_arguments_nor_in_the_environment_of_anybody() {
    let house = SelfStarting::new();
    let mut agent = house.agent();
    agent.poll(json!({}));
    let gateway = house.wait_until_polling()["pid"].as_u64().unwrap();
    for pid in [u64::from(agent.pid()), gateway] {
        for file in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains("telepost"), "not the right process: {text}");
            assert!(
                !text.contains(house.token()),
                "{file} of {pid} has the token"
            );
        }
    }
}

#[test]
fn two_servers_that_start_it_at_the_same_time_get_one_gateway() {
    let house = SelfStarting::new();
    let mut agents: Vec<Agent> = ["a", "b", "c"].map(|thread| house.agent_in(thread)).into();
    let calls: Vec<i64> = agents
        .iter_mut()
        .map(|agent| agent.begin("telegram_poll", json!({})))
        .collect();
    let results: Vec<Value> = agents
        .iter_mut()
        .zip(calls)
        .map(|(agent, call)| agent.answer(call).ok())
        .collect();
    assert_eq!(results, vec![json!({"remaining": 0, "session": "ONE"}); 3]);
    house.wait_until_polling();
    assert_eq!(house.starts(), 1);
}

#[test]
fn a_gateway_that_ended_is_started_by_the_next_server() {
    let house = SelfStarting::new();
    house.agent().poll(json!({}));
    let first = house.wait_until_polling();
    let pid = first["pid"].to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &pid])
            .status()
            .unwrap()
            .success()
    );
    wait_for("its end", || {
        if house.has_gateway() {
            Err("runs")
        } else {
            Ok(())
        }
    });
    house.agent().poll(json!({}));
    assert_ne!(house.wait_until_polling()["pid"], first["pid"]);
}

#[test]
fn a_gateway_that_cannot_start_is_a_notice_and_what_is_sent_is_stored() {
    let house = SelfStarting::new();
    fs::write(house.path().join(".env"), "").unwrap();
    let result = house.agent().poll(json!({}));
    let notice = result["notices"][0].as_str().unwrap();
    assert!(
        notice.starts_with("No gateway is running, so no messages are received or sent"),
        "{notice}"
    );
    assert!(notice.contains("TOKEN_ONE"), "{notice}");
    assert!(!house.has_gateway());
}

#[test]
fn a_session_with_no_gateway_starts_none() {
    let house = SelfStarting::new();
    let mut agent = Agent::start(house.agent_command("ONE").arg("--no-gateway"));
    let notices = agent.poll(json!({}))["notices"].clone();
    assert!(
        notices[0]
            .as_str()
            .unwrap()
            .starts_with("No gateway is running"),
        "{notices}"
    );
    assert!(!house.has_gateway());
}

#[test]
fn a_connection_that_lives_for_three_seconds_starts_the_gateway() {
    let house = SelfStarting::new();
    let _agent = house.agent();
    house.wait_until_polling();
}

#[test]
fn gateway_stop_ends_it() {
    let house = SelfStarting::new();
    house.agent().poll(json!({}));
    house.wait_until_polling();
    let stopped = house.run(&["gateway", "stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    assert!(!house.has_gateway());
}
