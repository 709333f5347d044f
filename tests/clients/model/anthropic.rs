//! The Messages API, streamed, as far as Claude Code uses it.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::{Offered, Said, events, id, json_response, strings, text_of};

/// Requests that need no model.
pub(super) fn besides(is_post: bool, path: &str, body: &Value) -> Option<Response<Full<Bytes>>> {
    if path.ends_with("/count_tokens") {
        return Some(json_response(200, json!({"input_tokens": 100}).to_string()));
    }
    if !is_post || !path.ends_with("/v1/messages") {
        let error = json!({"type": "not_found_error", "message": "not here"});
        let text = json!({"type": "error", "error": error}).to_string();
        return Some(json_response(404, text));
    }
    // Titles, the quota check and the like offer no tools.
    if body["tools"].as_array().is_none_or(Vec::is_empty) {
        let title = r#"{"title":"a test","isNewTopic":false}"#;
        return Some(answer(body, &Said::Text(title)));
    }
    None
}

/// The word of auto mode's classifier, if that is asked. The older client reads another form.
pub(super) fn verdict(body: &Value, is_strict: bool) -> Option<Response<Full<Bytes>>> {
    let asked = strings(&body["messages"]);
    if !body["tools"].is_null() || !asked.contains("</transcript>") {
        return None;
    }
    let verdict = match (asked.contains("<severity>"), is_strict) {
        (true, false) => "<severity>0</severity>",
        (true, true) => "<severity>90</severity><category>Git Destructive</category>",
        (false, false) => "<block>no</block>",
        (false, true) => "<block>yes</block><reason>Git Destructive</reason>",
    };
    Some(answer(body, &Said::Text(verdict)))
}

pub(super) fn tools(body: &Value) -> Vec<Offered> {
    let tools = body["tools"].as_array().cloned().unwrap_or_default();
    tools
        .iter()
        // A deferred tool is only a name until the model has searched for it.
        .filter(|tool| tool["defer_loading"] != json!(true))
        .map(|tool| Offered {
            name: tool["name"].as_str().unwrap_or_default().to_owned(),
            namespace: None,
            description: tool["description"].as_str().unwrap_or_default().to_owned(),
            schema: tool["input_schema"].clone(),
        })
        .collect()
}

pub(super) fn results(body: &Value) -> Vec<String> {
    let messages = body["messages"].as_array().cloned().unwrap_or_default();
    let spoken = messages
        .iter()
        .rposition(|message| message["role"] == "assistant");
    messages
        .iter()
        .skip(spoken.map_or(0, |index| index + 1))
        .filter_map(|message| message["content"].as_array())
        .flatten()
        .filter(|block| block["type"] == "tool_result")
        .map(|block| text_of(&block["content"]))
        .collect()
}

pub(super) fn answer(body: &Value, said: &Said<'_>) -> Response<Full<Bytes>> {
    let (block, stop) = match said {
        Said::Text(text) => (json!({"type": "text", "text": text}), "end_turn"),
        Said::Call(tool, arguments) => (
            json!({"type": "tool_use", "id": id("toolu"), "name": tool.name, "input": arguments}),
            "tool_use",
        ),
    };
    let usage = json!({"input_tokens": 10, "output_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0});
    let mut message = json!({
        "id": id("msg"), "type": "message", "role": "assistant", "model": body["model"],
        "content": [block], "stop_reason": stop, "stop_sequence": null, "usage": usage,
    });
    if body["stream"] != json!(true) {
        return json_response(200, message.to_string());
    }
    message["content"] = json!([]);
    message["stop_reason"] = Value::Null;
    let mut stream = vec![json!({"type": "message_start", "message": message})];
    let (start, delta) = match said {
        Said::Text(text) => (
            json!({"type": "text", "text": ""}),
            json!({"type": "text_delta", "text": text}),
        ),
        Said::Call(_, arguments) => {
            let mut start = block;
            start["input"] = json!({});
            let input = arguments.to_string();
            let delta = json!({"type": "input_json_delta", "partial_json": input});
            (start, delta)
        }
    };
    stream.push(json!({"type": "content_block_start", "index": 0, "content_block": start}));
    stream.push(json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    stream.push(json!({"type": "content_block_stop", "index": 0}));
    let delta = json!({"stop_reason": stop, "stop_sequence": null});
    stream.push(json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}));
    stream.push(json!({"type": "message_stop"}));
    events(&stream)
}
