//! The proxy between the gateway and Telegram: `TELEPOST_PROXY`, else the key `proxy`, else the variables that
//! other programs read, each in the environment and in `.env`. Never for a Bot API server that is near.

use std::fmt;

use url::Url;

use super::Config;
use super::api_url::is_near;
use super::dotenv::Dotenv;
use super::env::Env;
use super::error::{Problem, Violation, refuse_if, violation};
use super::paths::variable;
use super::reader::Reader;

/// The variable of telepost alone, which wins over the key.
const OWN_VARIABLE: &str = "TELEPOST_PROXY";
/// The variables of all programs, by rank; the Bot API is https wherever a proxy may be used.
const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Hosts that are reached without the proxy of those variables.
const EXCEPTIONS: [&str; 2] = ["NO_PROXY", "no_proxy"];
const EXAMPLE: &str = "write, for example, \"socks5h://127.0.0.1:1080\" or \"http://proxy.example:3128\", or \"none\"";

/// The value of the key `proxy`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum ProxySetting {
    /// `"auto"`: as the environment says.
    #[default]
    Environment,
    /// `"none"`: no proxy, whatever the environment says.
    Direct,
    /// This one.
    Through(Url),
}

// Not derived: the address may have a password.
impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxySetting")
    }
}

/// The proxy that is used. Shown without its user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, with user and password.
    pub(crate) url: Url,
    /// The place that names it.
    source: String,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.url;
        let host = url.host_str().unwrap_or_default();
        write!(f, "{}://{host}", url.scheme())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        write!(f, " ({})", self.source)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All variables that `.env` may have for it.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    [OWN_VARIABLE]
        .into_iter()
        .chain(VARIABLES)
        .chain(EXCEPTIONS)
}

/// Reads the key.
pub(super) fn setting(text: &str, _: &Reader<'_>) -> Result<ProxySetting, Violation> {
    match text.trim() {
        "auto" => Ok(ProxySetting::Environment),
        "none" => Ok(ProxySetting::Direct),
        address => check_address(address).map(ProxySetting::Through),
    }
}

/// Finds the proxy of a configuration.
pub(super) fn find(config: &Config, env: &Env, dotenv: &Dotenv) -> Result<Option<Proxy>, Problem> {
    // A simulator on this machine takes the part of Telegram in the tests of proxies.
    let seems_far = cfg!(feature = "test-hooks") && env.get("TELEPOST_TEST_FAR_API").is_some();
    if is_near(&config.api_url) && !seems_far {
        return Ok(None);
    }
    let get = |name: &'static str| {
        let set = env.get(name).map(|value| (name.to_owned(), value));
        set.or_else(|| Some((format!("{name} in .env"), dotenv.get(name)?)))
    };
    let (source, checked) = match (get(OWN_VARIABLE), &config.proxy) {
        (Some((_, "none")), _) | (None, ProxySetting::Direct) => return Ok(None),
        (Some((source, text)), _) => (source, check_address(text)),
        (None, ProxySetting::Through(url)) => {
            ("proxy in sessions.json".to_owned(), Ok(url.clone()))
        }
        (None, ProxySetting::Environment) => {
            let host = config.api_url.host_str().unwrap_or_default();
            let exceptions = EXCEPTIONS.into_iter().find_map(get);
            if exceptions.is_some_and(|(_, list)| is_exception(host, list)) {
                return Ok(None);
            }
            match VARIABLES.into_iter().find_map(get) {
                Some((source, text)) => (source, check_address(text)),
                None => return Ok(None),
            }
        }
    };
    match checked {
        Ok(url) => Ok(Some(Proxy { url, source })),
        Err(violation) => Err(Problem::from_violation(&variable(&source), violation)),
    }
}

/// The address of a proxy; without a scheme it is http, as elsewhere. A message repeats nothing of it: it may have
/// a password.
fn check_address(text: &str) -> Result<Url, Violation> {
    let text = text.trim();
    let whole = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let url = Url::parse(&whole)
        .map_err(|_| violation("cannot be read as the address of a proxy", EXAMPLE))?;
    refuse_if(
        !matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h"),
        "is not the address of an HTTP or SOCKS5 proxy",
        EXAMPLE,
    )?;
    refuse_if(
        url.host_str().unwrap_or_default().is_empty(),
        "names no host",
        EXAMPLE,
    )?;
    Ok(url)
}

/// Whether a list such as `localhost,.example.org` has a host.
fn is_exception(host: &str, list: &str) -> bool {
    list.split(',').map(str::trim).any(|entry| {
        let name = entry.trim_start_matches('.');
        let is_below = host
            .strip_suffix(name)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        entry == "*" || !name.is_empty() && is_below
    })
}
