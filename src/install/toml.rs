//! One server in Codex's `config.toml`, put in and taken out, with comments, order and line ends kept. Pure.
//!
//! A new server is text at the end of the file and is cut out again as such. Only where that cannot be
//! (an inline table, a server that somebody has changed) the parsed document is changed.

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use super::json::Mistake;
use super::plan::{SERVER, Server};

const SERVERS: &str = "mcp_servers";
const APPROVAL: &str = "default_tools_approval_mode";

/// Whether the text is TOML.
pub(super) fn check(text: &str) -> Result<(), Mistake> {
    parse(text).map(drop)
}

fn parse(text: &str) -> Result<DocumentMut, Mistake> {
    text.parse::<DocumentMut>().map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let before = text.get(..at).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Mistake::Syntax {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
            what: error.message().trim().replace('\n', ", "),
        }
    })
}

fn item(document: &DocumentMut) -> Option<&Item> {
    document.get(SERVERS)?.as_table_like()?.get(SERVER)
}

/// The server `telegram`, as far as it is one: its command and arguments.
pub(super) fn get(text: &str) -> Option<Server> {
    let document = parse(text).ok()?;
    let table = item(&document)?.as_table_like()?;
    let args = table.get("args").and_then(Item::as_array);
    let args = args.into_iter().flatten().filter_map(Value::as_str);
    Some(Server {
        command: table
            .get("command")
            .and_then(Item::as_str)
            .unwrap_or_default()
            .to_owned(),
        args: args.map(str::to_owned).collect(),
    })
}

/// Whether there is anything by the name of the server.
pub(super) fn contains(text: &str) -> bool {
    parse(text).is_ok_and(|document| item(&document).is_some())
}

/// The settings of the server, in their order.
fn settings(server: &Server) -> [(&'static str, Value); 3] {
    [
        ("command", Value::from(server.command.as_str())),
        ("args", server.args.iter().collect()),
        (APPROVAL, Value::from("approve")),
    ]
}

/// Puts the server in. Of one that is there, `fresh` says whether all of it goes or only what telepost
/// sets is set.
pub(super) fn put(text: &str, server: &Server, fresh: bool) -> Result<String, Mistake> {
    let mut document = parse(text)?;
    if item(&document).is_none() {
        let appended = append(text, server);
        if get(&appended).as_ref() == Some(server) {
            return Ok(appended);
        }
    }
    let servers = document.entry(SERVERS).or_insert_with(implicit);
    let servers = servers.as_table_like_mut().ok_or_else(|| shape(SERVERS))?;
    if fresh {
        servers.remove(SERVER);
    }
    let table = servers.entry(SERVER).or_insert(Item::Table(Table::new()));
    let table = table
        .as_table_like_mut()
        .ok_or_else(|| shape("mcp_servers.telegram"))?;
    for (key, value) in settings(server) {
        set(table, key, value);
    }
    Ok(finish(text, &document))
}

fn shape(place: &str) -> Mistake {
    Mistake::Shape {
        place: place.to_owned(),
        expected: "a table",
    }
}

fn implicit() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}

/// Sets a value and keeps the comment behind it.
fn set(table: &mut dyn TableLike, key: &str, new: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) if value.to_string().trim() == new.to_string().trim() => {}
        Some(value) => {
            let decor = value.decor().clone();
            *value = new;
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn block(server: &Server, newline: &str) -> String {
    let settings = settings(server).map(|(key, value)| format!("{key} = {value}{newline}"));
    format!("[{SERVERS}.{SERVER}]{newline}{}", settings.concat())
}

fn append(text: &str, server: &Server) -> String {
    let newline = newline(text);
    let gap = if text.is_empty() {
        ""
    } else if text.ends_with('\n') {
        newline
    } else {
        &newline.repeat(2)
    };
    format!("{text}{gap}{}", block(server, newline))
}

/// Makes the server what it is in `before`: that one again, or none.
pub(super) fn restore(text: &str, before: Option<&str>) -> Result<String, Mistake> {
    let mut document = parse(text)?;
    let old = before.and_then(|before| parse(before).ok());
    if let Some(was) = old.as_ref().and_then(item) {
        let servers = document.get_mut(SERVERS).and_then(Item::as_table_like_mut);
        if let Some(place) = servers.and_then(|servers| servers.get_mut(SERVER)) {
            *place = was.clone();
        }
        return Ok(finish(text, &document));
    }
    if item(&document).is_none() {
        return Ok(text.to_owned());
    }
    if let Some(cut) = cut(text, before).filter(|cut| !contains(cut) && check(cut).is_ok()) {
        return Ok(cut);
    }
    let had_servers = old.is_some_and(|old| old.contains_key(SERVERS));
    if let Some(servers) = document.get_mut(SERVERS).and_then(Item::as_table_like_mut) {
        servers.remove(SERVER);
        if servers.is_empty() && !had_servers {
            document.remove(SERVERS);
        }
    }
    Ok(finish(text, &document))
}

/// The text without the block that [`append`] has made, if it stands there as it was made.
fn cut(text: &str, before: Option<&str>) -> Option<String> {
    let newline = newline(text);
    let block = block(&get(text)?, newline);
    let (head, tail) = text.split_once(&block)?;
    let head = match head.strip_suffix(newline) {
        Some(shorter) if shorter.ends_with('\n') => shorter,
        _ => head,
    };
    let had_an_end = before.is_none_or(|before| before.ends_with('\n'));
    let head = match head.strip_suffix(newline) {
        Some(shorter) if tail.is_empty() && !had_an_end => shorter,
        _ => head,
    };
    Some(format!("{head}{tail}"))
}

/// The changed document, with the line ends of the text that it was made of.
fn finish(text: &str, document: &DocumentMut) -> String {
    let mut new = document.to_string();
    if newline(text) == "\r\n" {
        new = new.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if !text.is_empty() && !text.ends_with('\n') {
        new.truncate(new.trim_end_matches(['\r', '\n']).len());
    }
    new
}

#[cfg(test)]
mod tests;
