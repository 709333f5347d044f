//! The tools as clients list them: a public surface, stored whole in `tests/data/tools.json`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Agent, FORUM, House, OWNER};

/// Set, the stored surface is written anew instead of compared.
const BLESS: &str = "TELEPOST_BLESS";

fn tools(agent: &mut Agent) -> Value {
    agent.request("tools/list", json!({}))["result"]["tools"].clone()
}

#[test]
fn the_tools_are_those_that_are_stored() {
    let tools = tools(&mut House::new().agent());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tools.json");
    if std::env::var_os(BLESS).is_some() {
        let text = serde_json::to_string_pretty(&tools).unwrap();
        fs::write(&path, format!("{text}\n")).unwrap();
    }
    let stored: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        serde_json::to_string_pretty(&tools).unwrap(),
        serde_json::to_string_pretty(&stored).unwrap(),
        "the public surface has changed; if it is meant, run once with {BLESS}=1"
    );
}

#[test]
fn every_tool_is_loaded_at_once_by_claude_code() {
    for tool in tools(&mut House::new().agent()).as_array().unwrap() {
        assert_eq!(
            tool["_meta"],
            json!({"anthropic/alwaysLoad": true}),
            "{tool}"
        );
    }
}

/// All keywords of a schema, with those of its subschemas.
fn keywords(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                found.push(key.clone());
                keywords(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keywords(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn schemas_are_objects_without_unions_and_references() {
    for tool in tools(&mut House::new().agent()).as_array().unwrap() {
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert_eq!(schema["type"], "object", "{schema}");
            let mut found = Vec::new();
            keywords(schema, &mut found);
            for keyword in ["oneOf", "anyOf", "allOf", "$ref", "$defs"] {
                assert!(
                    !found.iter().any(|found| found == keyword),
                    "{keyword} in {schema}"
                );
            }
        }
    }
}

#[test]
fn no_type_of_a_schema_is_a_list_of_types() {
    fn types(schema: &Value, found: &mut Vec<Value>) {
        match schema {
            Value::Object(object) => {
                found.extend(object.get("type").filter(|value| value.is_array()).cloned());
                object.values().for_each(|value| types(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| types(item, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    types(&tools(&mut House::new().agent()), &mut found);
    assert_eq!(found, [0; 0].map(Value::from));
}

#[test]
fn the_output_schema_names_the_keys_of_the_contract_in_their_order() {
    let contract = [
        "remaining",
        "session",
        "status",
        "messages",
        "acked",
        "not_acked",
        "delivery_id",
        "message_ids",
        "held_until",
        "reason",
        "repeat",
        "notices",
    ];
    let message = [
        "update_id",
        "message_id",
        "kind",
        "chat",
        "topic",
        "from",
        "text",
        "sent_at",
        "age_seconds",
        "backlog",
        "part",
        "parts",
        "reply_to",
        "forwarded_from",
        "edited",
        "again",
        "attachments",
        "context",
    ];
    let keys = |schema: &Value| -> Vec<String> {
        schema["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect()
    };
    for tool in tools(&mut House::new().agent()).as_array().unwrap() {
        let schema = &tool["outputSchema"];
        assert_eq!(keys(schema), contract);
        assert_eq!(keys(&schema["properties"]["messages"]["items"]), message);
        assert_eq!(schema["required"], json!(["remaining", "session"]));
    }
}

#[test]
fn the_instructions_fit_into_what_clients_show() {
    let house = House::new();
    let mut agent = Agent::start_without_handshake(&mut house.agent_command("ONE"));
    let hello = agent.request(
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test-client", "version": "1"}}),
    );
    let instructions = hello["result"]["instructions"].as_str().unwrap();
    assert!(
        (1..2048).contains(&instructions.len()),
        "{} bytes",
        instructions.len()
    );
    assert_eq!(hello["result"]["capabilities"], json!({"tools": {}}));
}

/// Whether a value is what a schema says, in those keywords that ours use; else where not.
fn mismatch(schema: &Value, value: &Value, at: &str) -> Option<String> {
    let known = [
        "type",
        "properties",
        "required",
        "items",
        "enum",
        "description",
        "default",
        "minimum",
    ];
    let unknown = schema
        .as_object()?
        .keys()
        .find(|key| !known.contains(&key.as_str()));
    if let Some(key) = unknown {
        return Some(format!("{at}: this test does not know the keyword {key}"));
    }
    let fits = match schema["type"].as_str()? {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        _ => false,
    };
    let listed = schema["enum"]
        .as_array()
        .is_none_or(|list| list.contains(value));
    if !fits || !listed {
        return Some(format!("{at}: {value} is not {schema}"));
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if value[name].is_null() {
            return Some(format!("{at}: {name} is missing"));
        }
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        let Some(schema) = schema["properties"].get(name) else {
            return Some(format!("{at}: {name} is not in the schema"));
        };
        if let Some(found) = mismatch(schema, value, &format!("{at}.{name}")) {
            return Some(found);
        }
    }
    value
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|item| mismatch(&schema["items"], item, &format!("{at}[]")))
}

#[test]
fn results_are_what_the_output_schema_says() {
    let house = House::with_forum();
    let topic = house.sim.add_topic(house.bot(), FORUM, "Builds");
    house.sim.name(OWNER, "Ada", Some("ada"));
    house.sim.add_file("photo-1", vec![1, 2, 3]);
    let gateway = house.gateway();
    let message = || {
        house
            .sim
            .message(house.bot())
            .chat(FORUM)
            .from(OWNER)
            .topic(topic)
    };
    let first = message().text("first").send();
    message()
        .text("reply")
        .reply_to(first.message_id)
        .quote("fir")
        .send();
    message().photo("photo-1").text("look").send();
    let user = json!({"id": 7, "is_bot": false, "first_name": "Third"});
    message()
        .text("forwarded")
        .raw(json!({"forward_origin": {"type": "user", "date": 1, "sender_user": user}}))
        .send();
    message().text("😀".repeat(3000).as_str()).ago(3600).send();
    house.wait_for_inbox(5);
    house
        .sim
        .edit(house.bot(), FORUM, first.message_id, "first, edited");
    house.wait_for_inbox(6);

    let mut agent = house.agent();
    let mut results = Vec::new();
    let mut poll = |agent: &mut Agent, arguments: Value| results.push(agent.poll(arguments));
    // The third shows what is held again.
    for _ in 0..3 {
        poll(&mut agent, json!({"ack": [5]}));
    }
    let answer = agent.reply(json!({"text": "answer"}));
    let repeated = agent.reply(json!({"text": "answer"}));
    gateway.kill();
    let stored = agent.reply(json!({"text": "later", "to": first.update_id}));
    results.extend([answer, repeated, stored]);

    let seen: Value = results
        .iter()
        .flat_map(|result| result["messages"].as_array().cloned().unwrap_or_default())
        .chain(results.clone())
        .flat_map(|object| object.as_object().unwrap().clone())
        .collect::<serde_json::Map<_, _>>()
        .into();
    for key in [
        "topic",
        "backlog",
        "parts",
        "reply_to",
        "forwarded_from",
        "edited",
        "again",
        "attachments",
        "not_acked",
        "acked",
        "message_ids",
        "repeat",
        "notices",
    ] {
        assert!(!seen[key].is_null(), "too small a test: nothing has {key}");
    }
    let schema = &tools(&mut agent)[0]["outputSchema"];
    let found: Vec<String> = results
        .iter()
        .filter_map(|result| mismatch(schema, result, "result"))
        .collect();
    assert_eq!(found, [""; 0]);
}
