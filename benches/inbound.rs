//! What one update costs the gateway before it goes to disk: reading it and asking the gate. At most
//! 20 µs for a text.
//!
//! `cargo bench --bench inbound`

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot begin is wrong itself"
)]

use std::hint::black_box;

use criterion::Criterion;
use serde_json::{Value, json};
use telepost::gate::{Routes, Verdict};
use telepost::ids::{BotId, ChatId, SessionId, UserId};
use telepost::telegram::update;

const BOT: BotId = BotId(700);
const OWNER: i64 = 195_061_634;
const GROUP: i64 = -1_001_234_567_890;

fn text(chat: i64, text: &str, entities: &Value) -> String {
    json!({"update_id": 815_947_342, "message": {
        "message_id": 4711, "date": 1_700_000_000,
        "from": {"id": OWNER, "is_bot": false, "first_name": "Amuro", "last_name": "Ray", "username": "amuro", "language_code": "ja"},
        "chat": {"id": chat, "type": "private", "first_name": "Amuro", "last_name": "Ray", "username": "amuro"},
        "text": text, "entities": entities}})
    .to_string()
}

fn routes() -> Routes {
    let mut routes = Routes::default();
    for number in 0..200_i64 {
        let session = SessionId::new(&format!("SESSION_{number:03}")).expect("a good id");
        let chats = [ChatId(OWNER + number), ChatId(GROUP - number)];
        routes.add(&session, &chats, &[UserId(OWNER + number)]);
    }
    routes.set_username("my_bot");
    routes
}

fn inbound(criterion: &mut Criterion) {
    let routes = routes();
    let plain = json!([]);
    let mention = json!([{"type": "mention", "offset": 0, "length": 7}, {"type": "code", "offset": 20, "length": 8}]);
    let said =
        "@my_bot please look at src/main.rs, the build of this morning is red and nobody knows why";
    let cases = [
        ("a short text", text(OWNER, "hello", &plain)),
        ("a text in a group", text(GROUP, said, &mention)),
        (
            "a text of 4,096 characters",
            text(OWNER, &"x é 漢 ".repeat(682), &plain),
        ),
    ];
    for (name, raw) in cases {
        criterion.bench_function(&format!("read and admit: {name}"), |bencher| {
            bencher.iter(|| {
                let update = update::read(black_box(&raw)).expect("readable");
                let verdict = routes.decide(BOT, &update);
                assert!(matches!(verdict, Verdict::Admit { .. }));
                black_box(verdict)
            });
        });
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    inbound(&mut criterion);
    criterion.final_summary();
}
