//! The real clients read the files that `telepost install` writes; and after `uninstall` they know nothing of it.

use serde_json::json;

use crate::client::{Client, Kind};
use crate::support::{House, texts};

crate::each_client!(an_installed_client_answers_and_an_uninstalled_one_knows_no_server);

fn an_installed_client_answers_and_an_uninstalled_one_knows_no_server(kind: Kind) {
    let house = House::new();
    let _gateway = house.gateway();
    let client = Client::new(kind, &house);
    let (name, prompt, shown) = match kind {
        Kind::Claude | Kind::OlderClaude => ("claude", "/telegram-reply", "## If there is no text"),
        Kind::Codex => ("codex", "$telegram look for messages", "# Telegram"),
    };
    client.telepost(&house, &["install", name, "--yes", "--session", "ONE"]);
    let listed = client.out(&["mcp", "list"]);
    assert!(listed.contains("telegram"), "{listed}");
    assert!(
        kind == Kind::Codex || listed.contains("✔ Connected"),
        "{listed}"
    );

    house.say("hello");
    house.wait_for_inbox(1);
    let mut session = client.start(prompt);
    let asked = client.model.asked();
    assert!(
        asked.everything().contains(shown),
        "not what {prompt} names"
    );
    asked.call("telegram_poll", json!({}));
    let asked = client.model.asked();
    assert_eq!(texts(&asked.result()), ["hello"]);
    asked.call("telegram_reply", json!({"text": "hello yourself"}));
    let asked = client.model.asked();
    assert_eq!(asked.result()["status"], "delivered");
    asked.say("Answered.");
    session.turn_ends();
    session.close();
    assert_eq!(house.heard(), ["hello yourself"]);

    // By now the client has written into its files too.
    client.telepost(&house, &["uninstall", name, "--yes"]);
    let listed = client.out(&["mcp", "list"]);
    assert!(!listed.contains("telegram"), "{listed}");
}
