use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use telegram_sim::Sim;

use crate::client::*;

fn raw(house: &House, line: &str, content_type: &str, body: &str) -> Answer {
    request(&house.sim, line, content_type, body.as_bytes()).unwrap()
}

#[test]
fn parameters_come_as_query_form_or_json() {
    let house = house();
    let form = "application/x-www-form-urlencoded";
    for (line, kind, body) in [
        (
            "GET /bot42:secret/sendMessage?chat_id=7&text=a+b%21",
            "",
            "",
        ),
        (
            "POST /bot42:secret/sendMessage?chat_id=7",
            form,
            "text=a+b%21",
        ),
        (
            "POST /bot42:secret/sendMessage",
            "application/json; charset=utf-8",
            r#"{"chat_id":"7","text":"a b!"}"#,
        ),
    ] {
        assert_eq!(raw(&house, line, kind, body).result()["text"], "a b!");
    }
}

#[test]
fn methods_are_found_in_any_case() {
    let house = house();
    for method in ["getMe", "GETME", "GetMe"] {
        assert_eq!(house.call(method, json!({})).result()["username"], "my_bot");
    }
    assert!(
        house
            .sim
            .calls(house.bot)
            .iter()
            .all(|call| call.method == "getMe")
    );
}

#[test]
fn an_unknown_method_is_not_found() {
    let house = house();
    assert_eq!(
        house.call("sendSmile", json!({})).refusal(),
        "404 Not Found: method not found"
    );
}

#[test]
fn a_wrong_token_is_unauthorized_and_a_broken_one_is_no_path() {
    let house = house();
    assert_eq!(
        raw(&house, "GET /bot42:wrong/getMe", "", "").refusal(),
        "401 Unauthorized"
    );
    for line in ["GET /botnonsense/getMe", "GET /getMe", "GET /"] {
        assert_eq!(raw(&house, line, "", "").refusal(), "404 Not Found");
    }
}

#[test]
fn a_revoked_token_is_unauthorized_until_it_is_good_again() {
    let house = house();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| house.call("getUpdates", json!({ "timeout": 50 })));
        house.wait_for(|view| view.waiting_polls(house.bot) == 1);
        house.sim.revoke(house.bot);
        assert_eq!(poll.join().unwrap().refusal(), "401 Unauthorized");
    });
    assert_eq!(house.send("x").refusal(), "401 Unauthorized");
    house.sim.unrevoke(house.bot);
    house.send("x").result();
}

#[test]
fn one_connection_serves_many_calls() {
    let house = house();
    let mut stream = TcpStream::connect(house.sim.address()).unwrap();
    for _ in 0..2 {
        write!(
            stream,
            "GET /bot{TOKEN}/getMe HTTP/1.1\r\nHost: sim\r\n\r\n"
        )
        .unwrap();
        let mut seen = String::new();
        let mut byte = [0];
        while !seen.ends_with("}}") {
            stream.read_exact(&mut byte).unwrap();
            seen.push(char::from(byte[0]));
        }
        assert!(seen.contains("my_bot"));
    }
}

#[test]
fn a_paused_server_refuses_connections_and_keeps_everything() {
    let house = house();
    house.send("before").result();
    house.sim.pause().unwrap();
    let error = house.try_call("getMe", &json!({})).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    house.sim.resume().unwrap();
    house.send("after").result();
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["before", "after"]);
}

#[test]
fn a_port_can_be_taken_again_at_once() {
    let first = house();
    first.send("x").result();
    let address = first.sim.address();
    drop(first);
    let second = Sim::start_on(address).unwrap();
    assert_eq!(second.address(), address);
}

#[test]
fn many_servers_live_side_by_side() {
    let houses: Vec<House> = (0..5).map(|_| house()).collect();
    houses[3].send("only here").result();
    let spoken: Vec<usize> = houses
        .iter()
        .map(|house| house.sim.bot_texts(house.bot, ANNA).len())
        .collect();
    assert_eq!(spoken, [0, 0, 0, 1, 0]);
}

#[test]
fn a_body_that_is_not_json_is_refused() {
    let house = house();
    let answer = raw(
        &house,
        "POST /bot42:secret/sendMessage",
        "application/json",
        "{",
    );
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["ok"], Value::Bool(false));
}
