use std::io;
use std::time::Duration;

use serde_json::{Value, json};
use telegram_sim::{Fault, Outcome};

use crate::client::*;

fn fault(house: &House) -> Fault {
    Fault::on(house.bot).method("sendMessage")
}

fn last_outcome(house: &House) -> Outcome {
    house.sim.calls(house.bot).pop().unwrap().outcome
}

fn try_send(house: &House, text: &str) -> io::Result<Answer> {
    house.try_call("sendMessage", &json!({ "chat_id": ANNA, "text": text }))
}

#[test]
fn a_429_carries_retry_after_in_body_and_header_and_strikes_once() {
    let house = house();
    let fault = house.sim.fault(fault(&house).retry_after(7));
    let answer = house.send("x");
    assert_eq!(answer.refusal(), "429 Too Many Requests: retry after 7");
    assert_eq!(answer.json()["parameters"], json!({ "retry_after": 7 }));
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(
        house.sim.bot_texts(house.bot, ANNA),
        Vec::<String>::new(),
        "not applied"
    );
    house.send("x").result();
    assert_eq!(house.sim.fault_hits(fault), 1);
}

#[test]
fn parameters_of_a_refusal_can_be_anything() {
    let house = house();
    let odd = json!({ "retry_after": 1.5, "adaptive": true });
    house
        .sim
        .fault(fault(&house).retry_after(1).parameters(odd.clone()));
    assert_eq!(house.send("x").json()["parameters"], odd);
}

#[test]
fn any_status_and_description_can_be_injected() {
    let house = house();
    house
        .sim
        .fault(fault(&house).error(500, "Internal Server Error: restart"));
    assert_eq!(
        house.send("x").refusal(),
        "500 Internal Server Error: restart"
    );
}

#[test]
fn a_fault_strikes_only_what_it_matches() {
    let house = house();
    house.sim.open_chat(house.bot, 8);
    house.sim.fault(
        fault(&house)
            .chat(ANNA)
            .contains("bad")
            .always()
            .error(500, "no"),
    );
    house.send("good").result();
    house
        .call("sendMessage", json!({ "chat_id": 8, "text": "bad" }))
        .result();
    house
        .call(
            "sendChatAction",
            json!({ "chat_id": ANNA, "action": "typing" }),
        )
        .result();
    assert_eq!(house.send("so bad").status, 500);
    assert_eq!(house.send("bad again").status, 500);
    house.sim.clear_faults();
    house.send("bad").result();
}

#[test]
fn a_fault_can_let_some_calls_through_first() {
    let house = house();
    house
        .sim
        .fault(fault(&house).after(1).times(2).error(500, "no"));
    let statuses: Vec<u16> = (0..4).map(|_| house.send("x").status).collect();
    assert_eq!(statuses, [200, 500, 500, 200]);
}

#[test]
fn an_answer_can_be_lost_after_the_message_was_stored() {
    let house = house();
    house.sim.fault(fault(&house).answer_lost());
    let error = try_send(&house, "stored").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["stored"]);
    assert_eq!(last_outcome(&house), Outcome::Lost);
}

#[test]
fn an_answer_can_be_lost_with_an_ordinary_close() {
    let house = house();
    house.sim.fault(fault(&house).closed_after());
    let error = try_send(&house, "stored").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["stored"]);
}

#[test]
fn a_connection_can_be_closed_before_anything_happens() {
    let house = house();
    for (fault, kind) in [
        (fault(&house).closed_before(), io::ErrorKind::UnexpectedEof),
        (fault(&house).reset_before(), io::ErrorKind::ConnectionReset),
    ] {
        house.sim.fault(fault);
        assert_eq!(try_send(&house, "x").unwrap_err().kind(), kind);
        assert_eq!(last_outcome(&house), Outcome::Dropped);
    }
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), Vec::<String>::new());
}

#[test]
fn a_hanging_call_goes_on_when_the_fault_is_cleared() {
    let house = house();
    let fault = house.sim.fault(fault(&house).hang());
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| house.send("late"));
        house.wait_for(|view| view.fault_hits(fault) == 1);
        assert_eq!(last_outcome(&house), Outcome::Pending);
        assert_eq!(
            house.sim.bot_texts(house.bot, ANNA),
            Vec::<String>::new(),
            "not applied yet"
        );
        house.sim.clear_fault(fault);
        sending.join().unwrap().result();
    });
}

#[test]
fn a_call_can_hang_after_it_was_applied() {
    let house = house();
    let fault = house.sim.fault(fault(&house).hang_after());
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| house.send("stored"));
        house.wait_for(|view| view.bot_texts(house.bot, ANNA) == ["stored"]);
        assert_eq!(last_outcome(&house), Outcome::Pending);
        house.sim.clear_fault(fault);
        sending.join().unwrap().result();
    });
}

#[test]
fn a_stopping_server_lets_go_of_hanging_calls() {
    let House { sim, bot } = house();
    let fault = sim.fault(Fault::on(bot).hang());
    let address = sim.address();
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    io::Write::write_all(
        &mut stream,
        format!("GET /bot{TOKEN}/getMe HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
    )
    .unwrap();
    sim.wait_for(|view| view.fault_hits(fault) == 1, PATIENCE)
        .unwrap();
    drop(sim);
    let mut rest = Vec::new();
    io::Read::read_to_end(&mut stream, &mut rest).unwrap_or_default();
    assert_eq!(rest, b"");
}

#[test]
fn a_proxy_s_page_is_html() {
    let house = house();
    house.sim.fault(fault(&house).html(502));
    let answer = house.send("x");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (502, Some("text/html"))
    );
    assert!(answer.text().starts_with("<html>"));
}

#[test]
fn an_answer_can_be_malformed() {
    let house = house();
    house.sim.fault(fault(&house).malformed());
    let answer = house.send("stored");
    assert_eq!(answer.status, 200);
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["stored"]);
}

#[test]
fn an_answer_can_break_off_in_the_middle() {
    let house = house();
    house.sim.fault(fault(&house).truncated());
    assert_eq!(
        try_send(&house, "stored").unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );
    assert_eq!(house.sim.bot_texts(house.bot, ANNA), ["stored"]);
}

#[test]
fn an_answer_can_be_slow_before_or_after_the_call_is_applied() {
    let house = house();
    let delay = Duration::from_millis(300);
    for fault in [
        fault(&house).delay_before(delay),
        fault(&house).delay_after(delay),
    ] {
        house.sim.fault(fault);
        house.send("slow").result();
        assert!(house.took() >= delay);
    }
}

#[test]
fn polls_can_fail_too() {
    let house = house();
    house.sim.fault(
        Fault::on(house.bot)
            .method("getupdates")
            .error(500, "Internal Server Error"),
    );
    assert_eq!(house.call("getUpdates", json!({})).status, 500);
    house.call("getUpdates", json!({})).result();
}

#[test]
fn every_call_is_recorded_with_its_outcome() {
    let house = house();
    house.sim.fault(fault(&house).contains("no").retry_after(3));
    house.send("yes").result();
    house.send("no").refusal();
    let calls = house.sim.calls_of(house.bot, "SENDMESSAGE");
    let outcomes: Vec<_> = calls
        .iter()
        .map(|call| (call.text("text"), call.chat_id, call.outcome.clone()))
        .collect();
    let refused = Outcome::Error {
        code: 429,
        description: "Too Many Requests: retry after 3".to_owned(),
    };
    assert_eq!(
        outcomes,
        [
            ("yes", Some(ANNA), Outcome::Ok),
            ("no", Some(ANNA), refused)
        ]
    );
    assert_eq!(calls[0].method, "sendMessage");
    assert!(calls[0].at_ms <= calls[1].at_ms);
}

#[test]
fn a_call_that_has_arrived_is_applied_although_its_client_hangs_up() {
    let house = house();
    let fault = house.sim.fault(fault(&house).hang());
    let mut stream = std::net::TcpStream::connect(house.sim.address()).unwrap();
    let line =
        format!("GET /bot{TOKEN}/sendMessage?chat_id=7&text=late HTTP/1.1\r\nHost: sim\r\n\r\n");
    io::Write::write_all(&mut stream, line.as_bytes()).unwrap();
    house.wait_for(|view| view.fault_hits(fault) == 1);
    drop(stream);
    house.sim.sever().unwrap();
    house.sim.clear_faults();
    house.wait_for(|view| view.bot_texts(house.bot, ANNA) == ["late"]);
    house.wait_for(|view| view.calls(house.bot)[0].outcome == Outcome::Lost);
}
