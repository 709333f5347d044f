//! The JSON schema and the page of keys, made from the declarations of the keys.

use serde_json::{Map, Value, json};

use crate::config::Config;
use crate::config::key::{Absent, ConfigKey, Takes};
use crate::ids::{ID_MAX, STAND_INS};

/// The JSON schema of `sessions.json`. It never refuses a file that telepost accepts; rules between keys are not in
/// it.
pub(super) fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sessions.json of telepost",
    });
    merge(&mut schema, object_schema(Config::KEYS));
    schema
}

fn object_schema(keys: &[ConfigKey]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), key_schema(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| key.is_required())
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn key_schema(key: &ConfigKey) -> Value {
    let mut schema = json!({ "description": key.about.trim() });
    merge(
        &mut schema,
        match key.takes {
            Takes::Text(pattern) => {
                json!({ "type": "string", "pattern": format!("^(?:{pattern})$") })
            }
            Takes::OneOf(names) => json!({ "enum": names() }),
            Takes::Switch => json!({ "type": "boolean" }),
            Takes::Paths => {
                json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
            }
            Takes::Chats => ids_schema(-ID_MAX, &json!([0])),
            Takes::People => ids_schema(1, &json!(STAND_INS)),
            Takes::Sessions(keys) => json!({
                "type": "object",
                "minProperties": 1,
                "additionalProperties": object_schema(keys),
            }),
        },
    );
    if let Absent::Means(text) = key.absent
        && let Ok(default) = serde_json::from_str::<Value>(text)
    {
        merge(&mut schema, json!({ "default": default }));
    }
    if let Ok(example) = serde_json::from_str::<Value>(key.example) {
        merge(&mut schema, json!({ "examples": [example] }));
    }
    schema
}

fn ids_schema(minimum: i64, not: &Value) -> Value {
    let item = json!({
        "type": "integer",
        "minimum": minimum,
        "maximum": ID_MAX,
        "not": { "enum": not },
    });
    json!({ "type": "array", "minItems": 1, "items": item })
}

fn merge(schema: &mut Value, more: Value) {
    if let (Value::Object(schema), Value::Object(more)) = (schema, more) {
        schema.extend(more);
    }
}

/// Every key as a row of a Markdown table.
pub(super) fn keys_as_markdown() -> String {
    let mut table = "| key | takes | default | meaning |\n|---|---|---|---|\n".to_owned();
    write_rows(&mut table, "", Config::KEYS);
    table
}

fn write_rows(table: &mut String, prefix: &str, keys: &[ConfigKey]) {
    for key in keys {
        let name = key.name;
        let takes = match key.takes {
            Takes::OneOf(names) => {
                let names: Vec<String> =
                    names().iter().map(|name| format!("`\"{name}\"`")).collect();
                names.join(" or ")
            }
            Takes::Text(_)
            | Takes::Switch
            | Takes::Chats
            | Takes::People
            | Takes::Paths
            | Takes::Sessions(_) => key.takes.describe().to_owned(),
        };
        let default = match key.absent {
            Absent::Refused => "**required**".to_owned(),
            Absent::Off => String::new(),
            Absent::Means(text) if serde_json::from_str::<Value>(text).is_ok() => {
                format!("`{text}`")
            }
            Absent::Means(text) => text.to_owned(),
        };
        let about = key.about.trim();
        let row = format!("| `{prefix}{name}` | {takes} | {default} | {about} |\n");
        table.push_str(&row);
        if let Takes::Sessions(keys) = key.takes {
            write_rows(table, &format!("{prefix}{name}.ID."), keys);
        }
    }
}
