//! The pure parts of the way in: what one update costs at the gate, and what one page costs.
#![allow(
    clippy::allow_attributes,
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench fails by panicking, and criterion's macros write functions without docs"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use telepost::clock::Timestamp;
use telepost::ids::{Address, BotId, ChatId, SessionId, UpdateId, UserId};
use telepost::mcp::page::Page;
use telepost::mcp::tools::ToolResult;
use telepost::routing::{RouteDecision, Routes};
use telepost::state::inbox::entry::EntryName;
use telepost::state::inbox::view::{self, Item};
use telepost::telegram::update;

const BOT: BotId = BotId(7);
const PERSON: i64 = 4711;

/// A text as the Bot API gives it, with a link as entity.
fn text_update(id: i64) -> String {
    format!(
        r#"{{"update_id":{id},"message":{{"message_id":{id},"from":{{"id":{PERSON},"is_bot":false,"first_name":"Mia","username":"mia","language_code":"en"}},"chat":{{"id":{PERSON},"first_name":"Mia","username":"mia","type":"private"}},"date":1700000000,"text":"Could you look at https://example.org/orders/{id} and tell me why it is late? It was paid on Monday.","entities":[{{"type":"url","offset":18,"length":30}}]}}}}"#
    )
}

fn routes() -> Routes {
    let mut routes = Routes::default();
    for n in 0..200 {
        let session = SessionId::new(&format!("S{n}")).unwrap();
        routes.add(&session, &[ChatId(PERSON + n)], &[UserId(PERSON + n)]);
    }
    routes
}

fn gate(criterion: &mut Criterion) {
    let routes = routes();
    let long = text_update(816).replace("Could you", &"x é 漢 ".repeat(665));
    for (name, raw) in [
        ("a text", text_update(815)),
        ("a text of 4,096 characters", long),
    ] {
        criterion.bench_function(&format!("read and ask the gate: {name}"), |bench| {
            bench.iter(|| {
                let update = update::read(black_box(&raw)).unwrap();
                let verdict = routes.decide(BOT, &update);
                assert!(
                    matches!(verdict, RouteDecision::Admit { .. }),
                    "{verdict:?}"
                );
            });
        });
    }
}

fn page(criterion: &mut Criterion) {
    // As many as a poll with the default limit reads at most.
    let items: Vec<Item> = (1..=148)
        .map(|id| Item {
            name: EntryName {
                received: 1_700_000_000_000 + id,
                update_id: UpdateId(id),
            },
            address: Address {
                bot_id: BOT,
                chat_id: ChatId(PERSON),
                topic_id: None,
            },
            update: update::read(&text_update(id)).ok(),
            context: Vec::new(),
        })
        .collect();
    criterion.bench_function("join 148 messages and fill a page", |bench| {
        bench.iter(|| {
            let mut page = Page::new(&ToolResult::default(), 20);
            for shown in view::fresh(black_box(&items)) {
                let message = shown.message.at(Timestamp(1_700_000_900_000), false);
                if !message.part(1).is_some_and(|part| page.push(part)) {
                    break;
                }
            }
            black_box(page.into_messages());
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = gate, page
}
criterion_main!(benches);
