//! Where a link may lead. Pure.
//!
//! Telegram refuses the whole message when it does not like an address of a `text_link`
//! (docs/facts/telegram.md 9, "can't parse entities"), so only what it surely takes becomes one.

use url::{Host, Url};

/// Longest address that becomes a link, in bytes.
const MAX_URL: usize = 2048;

/// The rendering of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinkTarget {
    /// Telegram can open it.
    Web(String),
    /// A mail address: Telegram takes no link to it, but finds it in the text.
    Mail(String),
    /// Nothing that helps the reader: an empty address, a place within the document.
    Nowhere,
    /// A file, or something that only this machine knows: shown as text.
    Local(String),
}

/// Reads the address of a link.
pub(super) fn target(address: &str) -> LinkTarget {
    let address = address.trim();
    if address.is_empty() || address.starts_with('#') {
        return LinkTarget::Nowhere;
    }
    match Url::parse(address) {
        Ok(url) if opens(&url) => LinkTarget::Web(url.into()),
        _ => match address.strip_prefix("mailto:") {
            Some(mail) => LinkTarget::Mail(mail.to_owned()),
            None => LinkTarget::Local(
                address
                    .strip_prefix("file://")
                    .unwrap_or(address)
                    .to_owned(),
            ),
        },
    }
}

/// Whether Telegram takes it: a host of the internet, or an address of its own.
fn opens(url: &Url) -> bool {
    let host = match url.host() {
        Some(Host::Domain(domain)) => {
            url.scheme() == "tg"
                || domain.split('.').count() > 1
                    && domain.split('.').all(|label| {
                        !label.is_empty()
                            && label
                                .bytes()
                                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                    })
        }
        Some(Host::Ipv4(_)) => true,
        Some(Host::Ipv6(_)) | None => false,
    };
    host && matches!(url.scheme(), "http" | "https" | "tg")
        && url.username().is_empty()
        && url.password().is_none()
        && url.as_str().len() <= MAX_URL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_internet_and_of_telegram_are_links() {
        for address in [
            "https://example.org",
            "http://192.168.1.4:8080/a b",
            "https://例え.jp/ä?q=1#x",
            "tg://resolve?domain=someone",
        ] {
            assert!(matches!(target(address), LinkTarget::Web(_)), "{address}");
        }
    }

    #[test]
    fn what_telegram_could_refuse_is_text() {
        for (address, text) in [
            ("src/main.rs#L12", "src/main.rs#L12"),
            ("/home/me/a.rs:12", "/home/me/a.rs:12"),
            ("file:///home/me/a.rs", "/home/me/a.rs"),
            ("http://localhost:3000/", "http://localhost:3000/"),
            (
                "https://name:word@example.org/",
                "https://name:word@example.org/",
            ),
            ("https://a..b/", "https://a..b/"),
            ("https://", "https://"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("C:\\a.txt", "C:\\a.txt"),
        ] {
            assert_eq!(
                target(address),
                LinkTarget::Local(text.to_owned()),
                "{address}"
            );
        }
        assert_eq!(target("#part"), LinkTarget::Nowhere);
        let mail = LinkTarget::Mail("a@example.org".to_owned());
        assert_eq!(target("mailto:a@example.org"), mail);
    }
}
