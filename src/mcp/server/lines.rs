//! Reads one line of the client. Pure.
//!
//! Clients wait for ever on a request that is not answered. So half of a surrogate pair, which JavaScript
//! writes and JSON does not allow, becomes U+FFFD, and every other line that cannot be carried out is
//! answered under its id, which is found by a scan that needs no valid JSON.

use std::borrow::Cow;

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, JsonRpcMessage};
use rmcp::service::RxJsonRpcMessage;
use serde_json::{Value, json};

/// The code of JSON-RPC for a line that is no JSON.
const PARSE_ERROR: i64 = -32700;
/// The code for JSON that is no request.
const INVALID_REQUEST: i64 = -32600;
/// The code for a request with parameters that its method does not have.
const INVALID_PARAMS: i64 = -32602;
/// The deepest JSON that is read.
const DEPTH: usize = 128;

#[derive(Debug)]
pub(super) enum ClientLine {
    Message(Box<RxJsonRpcMessage<RoleServer>>),
    /// Blank, or an answer that no request of ours waits for.
    Ignored,
    Unusable(Vec<Unusable>),
}

/// A request that cannot be carried out.
#[derive(Debug, PartialEq)]
pub(super) struct Unusable {
    /// The client's id of it, if that can be read.
    pub(super) id: Option<Value>,
    /// The kind of the fault, without any content of the line.
    pub(super) kind: &'static str,
    code: i64,
    problem: String,
}

impl Unusable {
    /// The line of a request that was longer than what is read; `kept` is its beginning and its end.
    pub(super) fn too_long(kept: &[u8]) -> Self {
        Self {
            id: find_id(kept),
            kind: "too long",
            code: PARSE_ERROR,
            problem: "it is longer than 16 MB; send less at once, or a file".to_owned(),
        }
    }

    fn no_json(line: &[u8], kind: &'static str, problem: impl Into<String>) -> ClientLine {
        ClientLine::Unusable(vec![Self {
            id: find_id(line),
            kind,
            code: PARSE_ERROR,
            problem: problem.into(),
        }])
    }

    fn no_request(message: &Value, code: i64, problem: impl Into<String>) -> Self {
        Self {
            id: message.get("id").cloned(),
            kind: "not a request",
            code,
            problem: problem.into(),
        }
    }

    /// The answer to it; `None` if the client could not tell which request it answers.
    pub(super) fn answer(&self) -> Option<Value> {
        let id = self.id.as_ref()?;
        let message = format!(
            "telepost could not read this request: {}. Nothing was done; correct it, and call again.",
            self.problem
        );
        Some(json!({"jsonrpc": "2.0", "id": id, "error": {"code": self.code, "message": message}}))
    }
}

pub(super) fn read_line(line: &[u8]) -> ClientLine {
    let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
    let line = line.trim_ascii();
    if line.is_empty() {
        return ClientLine::Ignored;
    }
    let text = match std::str::from_utf8(line) {
        Ok(text) => replace_half_surrogates(text),
        Err(error) => {
            let at = error.valid_up_to() + 1;
            let problem = format!("byte {at} of the line is not UTF-8");
            return Unusable::no_json(line, "not UTF-8", problem);
        }
    };
    match serde_json::from_str(&text) {
        Ok(Value::Array(batch)) => ClientLine::Unusable(batch.iter().map(refuse_batched).collect()),
        Ok(message) => read_message(message),
        Err(error) if is_too_deep(line) => {
            let problem = format!("it is nested deeper than {DEPTH} levels ({error})");
            Unusable::no_json(line, "nested too deep", problem)
        }
        Err(error) => {
            let kind = if error.is_eof() {
                "cut off"
            } else {
                "not JSON"
            };
            let hint = if line.iter().any(u8::is_ascii_control) {
                "; inside a string, write line breaks and other control characters as escapes"
            } else {
                ""
            };
            Unusable::no_json(line, kind, format!("it is {kind} ({error}){hint}"))
        }
    }
}

fn refuse_batched(message: &Value) -> Unusable {
    let problem = "there are several messages on one line; send each on a line of its own";
    Unusable::no_request(message, INVALID_REQUEST, problem)
}

fn read_message(mut message: Value) -> ClientLine {
    let unusable = |unusable| ClientLine::Unusable(vec![unusable]);
    let Some(fields) = message.as_object_mut() else {
        let problem = "it is not a JSON object";
        return unusable(Unusable::no_request(&message, INVALID_REQUEST, problem));
    };
    let is_answer = fields.contains_key("result") || fields.contains_key("error");
    if is_answer && !fields.contains_key("method") {
        return ClientLine::Ignored;
    }
    fields.insert("jsonrpc".to_owned(), json!("2.0"));
    let Some(method) = fields
        .get("method")
        .and_then(Value::as_str)
        .map(str::to_owned)
    else {
        let problem = "`method` must be a string that names the request";
        return unusable(Unusable::no_request(&message, INVALID_REQUEST, problem));
    };
    let wrong_params = || {
        let example = match method.as_str() {
            "tools/call" => {
                r#": write {"name": "telegram_poll", "arguments": {}}, with the arguments as an object"#
            }
            _ => "",
        };
        Unusable::no_request(
            &message,
            INVALID_PARAMS,
            format!("its `params` are not those of {method:?}{example}"),
        )
    };
    match serde_json::from_value(message.clone()) {
        // rmcp reads parameters that fit no method of MCP as a method of the client's own.
        Ok(JsonRpcMessage::Request(request))
            if ["tools/call", "initialize"].contains(&&*method)
                && matches!(request.request, ClientRequest::CustomRequest(_)) =>
        {
            unusable(wrong_params())
        }
        Ok(message) => ClientLine::Message(Box::new(message)),
        Err(_) if message.get("id").is_some_and(|id| !is_usable(id)) => {
            let problem = "its `id` must be a string or a whole number";
            unusable(Unusable::no_request(&message, INVALID_REQUEST, problem))
        }
        Err(_) => unusable(wrong_params()),
    }
}

/// Whether an id can be that of a request.
fn is_usable(id: &Value) -> bool {
    id.is_string() || id.is_i64()
}

/// Replaces escapes of half a surrogate pair by that of U+FFFD.
fn replace_half_surrogates(text: &str) -> Cow<'_, str> {
    let mut replaced: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        let half = match read_escape(text, at) {
            // Any other escape; the second character may be a backslash, too.
            None => {
                at += 1 + text
                    .get(at + 1..)
                    .and_then(|rest| rest.chars().next())
                    .map_or(0, char::len_utf8);
                continue;
            }
            Some(0xD800..=0xDBFF) => {
                let second = read_escape(text, at + 6);
                if matches!(second, Some(0xDC00..=0xDFFF)) {
                    at += 12;
                    continue;
                }
                true
            }
            Some(code) => (0xDC00..=0xDFFF).contains(&code),
        };
        if half {
            let replaced = replaced.get_or_insert_default();
            replaced.push_str(text.get(copied..at).unwrap_or_default());
            replaced.push_str("\\ufffd");
            copied = at + 6;
        }
        at += 6;
    }
    match replaced {
        None => Cow::Borrowed(text),
        Some(mut replaced) => {
            replaced.push_str(text.get(copied..).unwrap_or_default());
            Cow::Owned(replaced)
        }
    }
}

/// The code of an escape such as `\ud83d` that begins here.
fn read_escape(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

fn is_too_deep(line: &[u8]) -> bool {
    let (mut depth, mut deepest) = (0usize, 0);
    for token in LineTokens::of(line) {
        match token {
            (b"{" | b"[", _) => depth += 1,
            (b"}" | b"]", _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest > DEPTH
}

/// The id of a request in a line that need not be JSON: the value of `id` in the outermost object, else the
/// one that ends the line (JavaScript writes it last, and what comes before may be broken).
fn find_id(line: &[u8]) -> Option<Value> {
    let mut depth = 0usize;
    for (token, end) in LineTokens::of(line) {
        match token {
            b"{" | b"[" => depth += 1,
            b"}" | b"]" => depth = depth.saturating_sub(1),
            b"\"id\"" if depth == 1 => {
                let id = line.get(end..).and_then(read_id);
                if id.is_some() {
                    return id;
                }
            }
            _ => {}
        }
    }
    let end = line.trim_ascii_end().strip_suffix(b"}")?;
    let key = b"\"id\"";
    let at = end.windows(key.len()).rposition(|window| window == key)?;
    let (before, rest) = end.split_at(at);
    let is_key = before.trim_ascii_end().ends_with(b",") || before.trim_ascii_end() == b"{";
    let value = rest.get(key.len()..)?.trim_ascii().strip_prefix(b":")?;
    serde_json::from_slice(value)
        .ok()
        .filter(|id| is_key && is_readable(id))
}

/// The value behind a key, if it is an id.
fn read_id(behind_key: &[u8]) -> Option<Value> {
    let value = behind_key.trim_ascii_start().strip_prefix(b":")?;
    let mut values = serde_json::Deserializer::from_slice(value).into_iter();
    values.next()?.ok().filter(is_readable)
}

fn is_readable(id: &Value) -> bool {
    id.is_string() || id.is_number()
}

/// The texts and the brackets of a line that need not be JSON, each with its end.
struct LineTokens<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> LineTokens<'a> {
    fn of(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }
}

impl<'a> Iterator for LineTokens<'a> {
    type Item = (&'a [u8], usize);

    fn next(&mut self) -> Option<Self::Item> {
        let is_start = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let start = self.at + self.line.get(self.at..)?.iter().position(is_start)?;
        let mut end = start + 1;
        if self.line.get(start) == Some(&b'"') {
            while let Some(byte) = self.line.get(end) {
                end += if *byte == b'\\' { 2 } else { 1 };
                if *byte == b'"' {
                    break;
                }
            }
        }
        self.at = end.min(self.line.len());
        Some((self.line.get(start..self.at)?, self.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_halves_of_surrogate_pairs_are_replaced() {
        for (given, read) in [
            (r#""a \ud83d b""#, "a \u{fffd} b"),
            (r#""\uDE00\ud83d""#, "\u{fffd}\u{fffd}"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
            (r#""\\ud83d \\\ud83d""#, "\\ud83d \\\u{fffd}"),
            (r#""\ud83d\\ude00""#, "\u{fffd}\\ude00"),
            (r#""\u00e9 é \ud83d\ude00""#, "é é 😀"),
        ] {
            let replaced = replace_half_surrogates(given);
            let text: String = serde_json::from_str(&replaced).unwrap();
            assert_eq!(text, read, "{given}");
        }
    }

    #[test]
    fn an_id_is_found_wherever_it_can_be_read() {
        for (line, id) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"cut"#,
                json!(7),
            ),
            (
                r#"{"params":{"id":1,"a":[{"id":2}]},"id" : "x-\"3\"" , 1e999}"#,
                json!("x-\"3\""),
            ),
            (r#"line two"}},"jsonrpc":"2.0","id":5}"#, json!(5)),
            (
                r#"{"method":"x","params":{"text":"say "no" } }},"id":6}"#,
                json!(6),
            ),
            (r#"{"id":1.5,"method":}"#, json!(1.5)),
            (r#"{"a":"\"id\":4}"#, Value::Null),
            (r#"{"method":"x","params":{"id":3}"#, Value::Null),
            (r#"{"id":{"a":1},"method"#, Value::Null),
            ("garbage", Value::Null),
        ] {
            let found = find_id(line.as_bytes());
            assert_eq!(found.unwrap_or(Value::Null), id, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange_to_be_read(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            read_line(&line);
        }

        #[test]
        fn valid_json_stays_as_it_is(text in ".*") {
            let line = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(replace_half_surrogates(&line), line.as_str());
        }
    }
}
