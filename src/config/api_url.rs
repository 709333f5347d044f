//! The address of the Bot API. It receives every token, so it must be https, or a machine so near that nothing on
//! the way can listen.

use std::sync::LazyLock;

use url::{Host, Url};

use super::error::{Violation, quote, refuse_if, violation};
use super::paths::variable;
use super::reader::{Reader, Slot};

const API_VARIABLE: &str = "TELEGRAM_API_URL";
const EXAMPLE: &str = "write, for example, \"https://api.telegram.org\", or \"http://127.0.0.1:8081\" for a server of your own";

#[expect(clippy::expect_used, reason = "a constant, which every test parses")]
static TELEGRAM: LazyLock<Url> =
    LazyLock::new(|| Url::parse("https://api.telegram.org/").expect("a URL"));

/// `TELEGRAM_API_URL`, else the key, else Telegram's own; both are checked.
pub(super) fn read_api_url(slot: &Slot<'_>, reader: &mut Reader<'_>) -> Url {
    let written = reader.text(slot, |text, _| check_url(text));
    let set = reader.env.get(API_VARIABLE).map(check_url);
    let set = set.and_then(|checked| reader.accept(&variable(API_VARIABLE), checked));
    set.or(written).unwrap_or_else(|| TELEGRAM.clone())
}

/// The path of the result has no final slash, unless it is empty. A message repeats nothing that could be a secret.
fn check_url(text: &str) -> Result<Url, Violation> {
    let text = text.trim();
    let mut url = Url::parse(text).map_err(|_| {
        let may_have_secret = text.contains(['@', '?']);
        let shown = if may_have_secret {
            "the text".to_owned()
        } else {
            quote(text)
        };
        violation(
            format!("is not an address: {shown} cannot be read as a URL"),
            EXAMPLE,
        )
    })?;
    refuse_if(
        !url.username().is_empty() || url.password().is_some(),
        "contains a user name or a password",
        "leave out everything before the @",
    )?;
    refuse_if(
        url.query().is_some() || url.fragment().is_some(),
        "contains a ? or a #",
        "leave out everything from the ? or # on",
    )?;
    refuse_if(
        url.path_segments().into_iter().flatten().any(names_a_bot),
        "contains a bot's token",
        "leave out everything from /bot on; the token belongs in the file .env beside sessions.json",
    )?;
    refuse_if(
        url.scheme() == "http" && !is_near(&url),
        "uses http to another machine, which would send the bot's token unencrypted",
        "write https; http is for this machine and for private addresses (127.0.0.1, 10.…, 172.16.…, 192.168.…)",
    )?;
    let scheme = quote(url.scheme());
    refuse_if(
        !matches!(url.scheme(), "http" | "https"),
        format!("begins with {scheme}, but the Bot API is reached by https or http"),
        EXAMPLE,
    )?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// This machine or a private network.
pub(super) fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_private(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unique_local(),
        None => false,
    }
}

/// `bot<digits>:…`, with the colon as itself or escaped.
fn names_a_bot(segment: &str) -> bool {
    let digits = segment.strip_prefix("bot").unwrap_or(segment);
    let rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    rest.len() < digits.len()
        && (rest.starts_with(':') || rest.to_ascii_lowercase().starts_with("%3a"))
}
