//! Puts one server into Codex's `config.toml` and takes it out; comments, order and line ends stay. Pure.
//!
//! A new server is text at the end of the file and is cut out as such: `toml_edit` would put its table
//! ahead of the comments at the end, where a setting that the user has commented out would become ours.
//! `toml_edit` changes what text cannot: inline tables, and a server that was edited since.

use toml_edit::{DocumentMut, Item as TomlItem, Table, TableLike, Value};

use super::error::EditError;
use super::json::detect_newline;
use super::plan::SERVER;
use super::registration::ServerCommand;

const SERVERS: &str = "mcp_servers";
const APPROVAL: &str = "default_tools_approval_mode";

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse::<DocumentMut>().map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        EditError::at_offset(text, offset, error.message().trim().replace('\n', ", "))
    })
}

fn find_item(document: &DocumentMut) -> Option<&TomlItem> {
    document.get(SERVERS)?.as_table_like()?.get(SERVER)
}

fn read_server(item: &TomlItem) -> Option<ServerCommand> {
    let table = item.as_table_like()?;
    let args = table.get("args").and_then(TomlItem::as_array);
    let args = args.into_iter().flatten().filter_map(Value::as_str);
    let command = table.get("command").and_then(TomlItem::as_str);
    Some(ServerCommand {
        command: command.unwrap_or_default().to_owned(),
        args: args.map(str::to_owned).collect(),
    })
}

/// The server `telegram`, as far as it is one.
pub(super) fn get_server(text: &str) -> Option<ServerCommand> {
    read_server(find_item(&parse(text).ok()?)?)
}

/// The settings of the server, in their order.
fn list_settings(server: &ServerCommand) -> [(&'static str, Value); 3] {
    [
        ("command", Value::from(server.command.as_str())),
        ("args", server.args.iter().collect()),
        (APPROVAL, Value::from("approve")),
    ]
}

/// The text with the server. One of ours keeps what the user has added to it; another one goes only if
/// `replace` says so.
pub(super) fn put_server(
    text: &str,
    server: &ServerCommand,
    replace: bool,
) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let mut is_ours = false;
    if let Some(item) = find_item(&document) {
        let found = read_server(item);
        is_ours = found.as_ref().is_some_and(ServerCommand::is_ours);
        if let Some(ServerCommand { command, .. }) = found
            && !is_ours
            && !replace
        {
            return Err(EditError::OtherServer { command });
        }
    } else {
        let appended = append_server(text, server);
        if get_server(&appended).as_ref() == Some(server) {
            return Ok(appended);
        }
    }
    let servers = document.entry(SERVERS).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        TomlItem::Table(table)
    });
    let not_a_table = |place: &[&str]| EditError::at_path(place, "a table");
    let servers = servers.as_table_like_mut();
    let servers = servers.ok_or_else(|| not_a_table(&[SERVERS]))?;
    if replace && !is_ours {
        servers.remove(SERVER);
    }
    let table = servers
        .entry(SERVER)
        .or_insert(TomlItem::Table(Table::new()));
    let table = table.as_table_like_mut();
    let table = table.ok_or_else(|| not_a_table(&[SERVERS, SERVER]))?;
    for (key, value) in list_settings(server) {
        set_value(table, key, value);
    }
    Ok(render_document(text, &document))
}

/// Sets a value and keeps the comment behind it.
fn set_value(table: &mut dyn TableLike, key: &str, new: Value) {
    match table.get_mut(key).and_then(TomlItem::as_value_mut) {
        Some(value) if value.to_string().trim() == new.to_string().trim() => {}
        Some(value) => {
            let decor = value.decor().clone();
            *value = new;
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(key, TomlItem::Value(new));
        }
    }
}

fn render_server(server: &ServerCommand, newline: &str) -> String {
    let settings = list_settings(server).map(|(key, value)| format!("{key} = {value}{newline}"));
    format!("[{SERVERS}.{SERVER}]{newline}{}", settings.concat())
}

fn append_server(text: &str, server: &ServerCommand) -> String {
    let newline = detect_newline(text);
    let gap = match text {
        "" => "",
        text if text.ends_with('\n') => newline,
        _ => &newline.repeat(2),
    };
    format!("{text}{gap}{}", render_server(server, newline))
}

/// The text with the server that it has in `before`, or without one.
pub(super) fn restore_server(text: &str, before: Option<&str>) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let Some(item) = find_item(&document) else {
        return Ok(text.to_owned());
    };
    let old = before.and_then(|before| parse(before).ok());
    let was = old.as_ref().and_then(find_item);
    if was.is_none() {
        let cut = read_server(item).and_then(|server| cut_server(text, &server, before));
        if let Some(cut) = cut.filter(|cut| parse(cut).is_ok_and(|cut| find_item(&cut).is_none())) {
            return Ok(cut);
        }
    }
    if let Some(servers) = document
        .get_mut(SERVERS)
        .and_then(TomlItem::as_table_like_mut)
    {
        match (was, servers.get_mut(SERVER)) {
            (Some(was), Some(item)) => *item = was.clone(),
            _ => drop(servers.remove(SERVER)),
        }
        if servers.is_empty() && !old.is_some_and(|old| old.contains_key(SERVERS)) {
            document.remove(SERVERS);
        }
    }
    Ok(render_document(text, &document))
}

/// The text without what [`append_server`] has added, if that is unchanged.
fn cut_server(text: &str, server: &ServerCommand, before: Option<&str>) -> Option<String> {
    let newline = detect_newline(text);
    let (mut head, tail) = text.split_once(&render_server(server, newline))?;
    if let Some(shorter) = head.strip_suffix(newline)
        && shorter.ends_with('\n')
    {
        head = shorter;
    }
    if tail.is_empty() && before.is_some_and(|before| !before.ends_with('\n')) {
        head = head.strip_suffix(newline).unwrap_or(head);
    }
    Some(format!("{head}{tail}"))
}

/// The changed document, with the line ends of the text that it was parsed from.
fn render_document(text: &str, document: &DocumentMut) -> String {
    let mut new = document.to_string();
    if detect_newline(text) == "\r\n" {
        new = new.replace("\r\n", "\n").replace('\n', "\r\n");
    }
    if !text.is_empty() && !text.ends_with('\n') {
        new.truncate(new.trim_end_matches(['\r', '\n']).len());
    }
    new
}

#[cfg(test)]
mod tests;
