//! The Responses API, streamed, as far as Codex uses it.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::{Offered, Said, events, id, json_response, text_of};

/// Requests that need no model.
pub(super) fn besides(is_post: bool, path: &str, body: &Value) -> Option<Response<Full<Bytes>>> {
    if path.ends_with("/models") {
        return Some(json_response(200, r#"{"data":[],"models":[]}"#.to_owned()));
    }
    if !is_post || !path.ends_with("/responses") {
        return Some(json_response(404, "{}".to_owned()));
    }
    // The title of a thread offers no tools.
    if body["tools"].as_array().is_none_or(Vec::is_empty) {
        return Some(answer(&Said::Text(r#"{"title":"a test"}"#)));
    }
    None
}

pub(super) fn tools(body: &Value) -> Vec<Offered> {
    let tools = body["tools"].as_array().cloned().unwrap_or_default();
    let mut offered = Vec::new();
    for tool in &tools {
        if tool["type"] == "namespace" {
            let group = tool["name"].as_str();
            let grouped = tool["tools"].as_array().cloned().unwrap_or_default();
            offered.extend(grouped.iter().map(|tool| read(tool, group)));
        } else {
            offered.push(read(tool, None));
        }
    }
    offered
}

fn read(tool: &Value, namespace: Option<&str>) -> Offered {
    Offered {
        name: tool["name"].as_str().unwrap_or_default().to_owned(),
        namespace: namespace.map(str::to_owned),
        description: tool["description"].as_str().unwrap_or_default().to_owned(),
        schema: tool["parameters"].clone(),
    }
}

pub(super) fn results(body: &Value) -> Vec<String> {
    let input = body["input"].as_array().cloned().unwrap_or_default();
    let spoken = input
        .iter()
        .rposition(|item| item["role"] == "assistant" || item["type"] == "function_call");
    input
        .iter()
        .skip(spoken.map_or(0, |index| index + 1))
        .filter(|item| item["type"] == "function_call_output")
        .map(|item| without_header(&text_of(&item["output"])))
        .collect()
}

/// Codex writes "Wall time: …" and "Output:" above what a tool gave (docs/facts/clients.md 5.1), with a new line
/// after it only when the tool did not fail.
fn without_header(text: &str) -> String {
    match text.split_once("\nOutput:") {
        Some((header, output)) if header.starts_with("Wall time:") => {
            output.strip_prefix('\n').unwrap_or(output).to_owned()
        }
        Some(_) | None => text.to_owned(),
    }
}

pub(super) fn answer(said: &Said<'_>) -> Response<Full<Bytes>> {
    let response = id("resp");
    let begun =
        json!({"id": response, "object": "response", "status": "in_progress", "output": []});
    let mut stream = vec![json!({"type": "response.created", "response": begun})];
    let item = match said {
        Said::Text(text) => {
            let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
            let item = json!({
                "type": "message", "id": id("msg"), "role": "assistant", "status": "completed",
                "content": content,
            });
            let mut added = item.clone();
            added["content"] = json!([]);
            stream.push(json!({
                "type": "response.output_item.added", "output_index": 0, "item": added,
            }));
            stream.push(json!({
                "type": "response.output_text.delta", "item_id": item["id"], "output_index": 0,
                "content_index": 0, "delta": text,
            }));
            item
        }
        Said::Call(tool, arguments) => {
            let mut item = json!({
                "type": "function_call", "id": id("fc"), "call_id": id("call"), "name": tool.name,
                "arguments": arguments.to_string(), "status": "completed",
            });
            if let Some(namespace) = &tool.namespace {
                item["namespace"] = json!(namespace);
            }
            let mut added = item.clone();
            added["arguments"] = json!("");
            stream.push(json!({
                "type": "response.output_item.added", "output_index": 0, "item": added,
            }));
            item
        }
    };
    stream.push(json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    let usage = json!({
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15,
    });
    let completed = json!({"id": response, "object": "response", "status": "completed", "output": [item], "usage": usage});
    stream.push(json!({"type": "response.completed", "response": completed}));
    events(&stream)
}
