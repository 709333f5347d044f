//! The descriptions of the tools on the wire.

use std::sync::{Arc, LazyLock};

use rmcp::model::{JsonObject, MetaObject, Tool as WireTool, ToolAnnotations};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use crate::mcp::tools::{PollParams, ReactParams, ReplyParams, Tool, ToolResult};

/// The tools as clients list them.
pub(super) static TOOLS: LazyLock<[WireTool; 3]> = LazyLock::new(|| Tool::ALL.map(wire_tool));

fn wire_tool(tool: Tool) -> WireTool {
    let input = match tool {
        Tool::Poll => schema::<PollParams>(),
        Tool::Reply => schema::<ReplyParams>(),
        Tool::React => schema::<ReactParams>(),
    };
    let mut wire = WireTool::new(tool.name(), tool.description(), Arc::new(input));
    wire.title = Some(tool.title().to_owned());
    wire.output_schema = Some(Arc::new(schema::<ToolResult>()));
    // Honest: a poll changes what is held, a reply reaches a person and cannot be taken back.
    let annotations = ToolAnnotations::with_title(tool.title()).read_only(false);
    wire.annotations = Some(match tool {
        Tool::Poll => annotations
            .destructive(false)
            .idempotent(false)
            .open_world(false),
        Tool::Reply => annotations
            .destructive(false)
            .idempotent(false)
            .open_world(true),
        Tool::React => annotations
            .destructive(false)
            .idempotent(true)
            .open_world(true),
    });
    // Claude Code would otherwise show only the name until the model searches for it (docs/facts/clients.md 1).
    let mut meta = MetaObject::new();
    meta.0
        .insert("anthropic/alwaysLoad".to_owned(), true.into());
    wire.meta = Some(meta);
    wire
}

/// A schema in one piece, without references, which not every client follows.
fn schema<T: JsonSchema>() -> JsonObject {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    for key in ["title", "description"] {
        schema.remove(key);
    }
    let mut schema = schema.to_value();
    plain(&mut schema);
    schema.as_object().cloned().unwrap_or_default()
}

/// Takes out what only generators write: Rust's number formats, "null", also by default, for what may simply be
/// left out, and the line ends of comments.
fn plain(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(object) => {
            if let Some(serde_json::Value::Array(types)) = object.get("type")
                && let [one, serde_json::Value::String(null)] = types.as_slice()
                && null == "null"
            {
                object["type"] = one.clone();
            }
            if object.contains_key("type") {
                object
                    .retain(|key, value| key != "format" && !(key == "default" && value.is_null()));
            }
            if let Some(serde_json::Value::String(text)) = object.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            object.values_mut().for_each(plain);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(plain),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}
