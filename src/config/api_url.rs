//! The address of the Bot API. It receives every token, so it must be https, or so near that
//! nobody can listen.

use url::{Host, Url};

use super::error::quote;

/// Where Telegram's own Bot API is.
pub(super) const DEFAULT: &str = "https://api.telegram.org/";

const EXAMPLE: &str = "write for example \"https://api.telegram.org\", or \"http://127.0.0.1:8081\" for a server of your own";

/// Reads `text`; the path of the result has no final slash, unless it is empty. A mistake is what is
/// wrong and what to write instead; it repeats nothing that could be a secret.
pub(super) fn read(text: &str) -> Result<Url, (String, &'static str)> {
    let text = text.trim();
    let Ok(mut url) = Url::parse(text) else {
        let shown = if text.contains(['@', '?']) {
            "the text".to_owned()
        } else {
            quote(text)
        };
        return Err((
            format!("is no address: {shown} cannot be read as a URL"),
            EXAMPLE,
        ));
    };
    let refuse = |what: &str, instead| Err((what.to_owned(), instead));
    if !url.username().is_empty() || url.password().is_some() {
        return refuse(
            "has a user name or a password in it",
            "leave out everything before the @",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("has a ? or a # in it", "leave out everything from there on");
    }
    if url
        .path_segments()
        .is_some_and(|mut segments| segments.any(names_a_bot))
    {
        return refuse(
            "has a bot's token in it",
            "leave out everything from /bot on; the token belongs into the file .env beside sessions.json",
        );
    }
    match url.scheme() {
        "https" => {}
        "http" if is_near(&url) => {}
        "http" => {
            return refuse(
                "is http to a machine elsewhere, and would send the bot's token in the clear",
                "write https; http is for this machine and for private addresses (127.0.0.1, 10.…, 172.16.…, 192.168.…)",
            );
        }
        scheme => {
            return Err((
                format!(
                    "begins with {}, which is no way to the Bot API",
                    quote(scheme)
                ),
                EXAMPLE,
            ));
        }
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// This machine or a private network.
fn is_near(url: &Url) -> bool {
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
