//! Refuses the files that are secrets: by the name of the file and of its folders, and private keys by their
//! content.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::{Reason, unreadable};

/// Folders that hold keys and logins, or (`.git`) addresses with them.
const FOLDERS: [&str; 6] = [".git", ".ssh", ".aws", ".kube", ".gnupg", ".azure"];
/// Whole names of files with logins.
const NAMES: &str = ".npmrc .yarnrc.yml .netrc _netrc .pypirc .pgpass .my.cnf .git-credentials .dockercfg .htpasswd \
    .vault-token .envrc kubeconfig";
/// Words that the names of such files begin with: `token.json` is one, `tokenizer.json` is none.
const WORDS: &str = "credential credentials token tokens secret secrets client_secret kubeconfig";
/// Endings of stores of keys.
const ENDINGS: &str = "p12 pfx jks keystore kdbx ppk kubeconfig env";
/// Names by which `ssh-keygen` stores private keys.
const SSH_KEYS: [&str; 6] = ["rsa", "dsa", "ecdsa", "ed25519", "ecdsa_sk", "ed25519_sk"];
/// Parts of a name that say that no real value is in the file.
const TEMPLATES: [&str; 5] = ["example", "sample", "template", "dist", "defaults"];
/// How much of a file is searched for a private key.
const SEARCHED: u64 = 256 * 1024;

/// The content that a name allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    /// Nothing is known: the file must not begin with a private key.
    Plain,
    /// `*.pem`: text with certificates and public keys only.
    Pem,
    /// `*.key`: a presentation of Keynote, which is an archive.
    Key,
}

/// Refuses what by its name is a secret. macOS does not tell capital from small letters.
pub(super) fn refuse_by_name(path: &Path, name: &OsStr) -> Result<NameKind, Reason> {
    let lower = |name: &OsStr| name.to_string_lossy().to_lowercase();
    for part in path.parent().into_iter().flat_map(Path::components) {
        let part = lower(part.as_os_str());
        if FOLDERS.contains(&&*part) {
            return Err(Reason::new(
                format!("is in a folder {part}, from which nothing is ever sent"),
                "send another file",
            ));
        }
    }
    let folder = path.parent().and_then(Path::file_name).map(lower);
    let name = lower(name);
    if let Some(rule) = find_rule(&name, folder.as_deref()) {
        return Err(refuse(&rule));
    }
    Ok(match name.rsplit_once('.') {
        Some((_, "pem")) => NameKind::Pem,
        Some((_, "key")) => NameKind::Key,
        _ => NameKind::Plain,
    })
}

fn refuse(rule: &str) -> Reason {
    Reason::new(
        format!("has a name that is typical of secrets ({rule})"),
        "do not send secrets; if it is not one, copy it to another name and send the copy",
    )
}

/// The rule by which a name in small letters is that of a secret.
fn find_rule(name: &str, folder: Option<&str>) -> Option<String> {
    let is_template = || {
        name.split(['.', '-', '_'])
            .any(|part| TEMPLATES.contains(&part))
    };
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    if name == ".env" || name.starts_with(".env.") || name.starts_with(".env-") {
        return (!is_template()).then(|| ".env*".to_owned());
    }
    if NAMES.split(' ').any(|one| one == name)
        || (folder == Some(".docker") && name == "config.json")
    {
        return Some(name.to_owned());
    }
    if ENDINGS.split(' ').any(|one| one == ending) {
        return (!is_template()).then(|| format!("*.{ending}"));
    }
    if SSH_KEYS.iter().any(|kind| is_ssh_key(stem, ending, kind)) {
        return Some("id_*".to_owned());
    }
    let begins = |word: &&str| {
        let rest = name.trim_start_matches('.').strip_prefix(*word);
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let word = WORDS.split(' ').find(begins).filter(|_| !is_template())?;
    Some(format!("{word}*"))
}

/// `id_rsa` and copies of it such as `id_rsa.bak` or `id_rsa_work`, but not the public `id_rsa.pub`.
fn is_ssh_key(stem: &str, ending: &str, kind: &str) -> bool {
    let rest = stem
        .strip_prefix("id_")
        .and_then(|rest| rest.strip_prefix(kind));
    ending != "pub" && rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

/// Refuses a file whose content is a private key, or may be one where its name says so.
pub(super) fn refuse_key(file: &File, kind: NameKind) -> Result<(), Reason> {
    let mut head = Vec::new();
    let mut source = At { file, offset: 0 }.take(SEARCHED);
    source
        .read_to_end(&mut head)
        .map_err(|error| unreadable(&error))?;
    let has = |words: &[u8]| head.windows(words.len()).any(|part| part == words);
    let begins_as_pem = head.trim_ascii_start().starts_with(b"-----BEGIN ");
    let is_refused = match kind {
        NameKind::Plain => begins_as_pem && has(b"PRIVATE KEY"),
        NameKind::Pem => has(b"PRIVATE KEY") || !has(b"-----BEGIN "),
        NameKind::Key => !head.starts_with(b"PK\x03\x04"),
    };
    match kind {
        _ if !is_refused => Ok(()),
        NameKind::Plain => Err(Reason::new(
            "contains a private key",
            "do not send secrets; send the public key or the certificate",
        )),
        NameKind::Pem => Err(refuse("*.pem")),
        NameKind::Key => Err(refuse("*.key")),
    }
}

/// Reads a file without moving the place that the copy begins at.
struct At<'f> {
    file: &'f File,
    offset: u64,
}

impl std::io::Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn is_refused(path: &str) -> bool {
        let path = Path::new(path);
        refuse_by_name(path, path.file_name().unwrap()).is_err()
    }

    #[test]
    fn names_of_secrets_are_refused_and_names_that_look_like_them_are_not() {
        for secret in [
            "/w/.env",
            "/w/.env.local",
            "/w/prod.env",
            "/w/.npmrc",
            "/w/.netrc",
            "/w/kubeconfig",
            "/w/kubeconfig-prod.yaml",
            "/w/credentials",
            "/w/credentials.json",
            "/w/Credentials.csv",
            "/w/token",
            "/w/token.json",
            "/w/tokens_prod.txt",
            "/w/.token",
            "/w/.pypirc",
            "/h/.aws/config",
            "/h/.kube/config",
            "/h/.ssh/known_hosts",
            "/w/.git/config",
            "/w/id_rsa",
            "/w/id_ed25519",
            "/w/id_rsa.bak",
            "/w/client_secret_12.json",
            "/w/a.p12",
            "/h/.docker/config.json",
            "/w/secrets.yaml",
        ] {
            assert!(is_refused(secret), "{secret}");
        }
        for harmless in [
            "/w/id_card.png",
            "/w/id_mapping.csv",
            "/w/.env.example",
            "/w/.env.sample",
            "/w/cert.pem",
            "/w/talk.key",
            "/w/tokenizer.json",
            "/w/environment.md",
            "/w/id_rsa.pub",
            "/w/docker/config.json",
            "/w/credentials.example.json",
            "/w/secretary.txt",
            "/w/idea.txt",
            "/w/id_rsakeys.txt",
        ] {
            assert!(!is_refused(harmless), "{harmless}");
        }
    }

    #[test]
    fn private_keys_are_known_by_their_content() {
        let check = |content: &str, kind| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(content.as_bytes()).unwrap();
            refuse_key(&file, kind).is_ok()
        };
        let certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
        let private = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n";
        assert!(check(certificate, NameKind::Pem));
        assert!(!check(private, NameKind::Pem));
        assert!(!check(&format!("{certificate}{private}"), NameKind::Pem));
        assert!(!check("no text of a key", NameKind::Pem));
        assert!(check("PK\u{3}\u{4} slides", NameKind::Key));
        assert!(!check(private, NameKind::Key));
        assert!(!check(private, NameKind::Plain));
        assert!(check(
            &format!("How to read one:\n{private}"),
            NameKind::Plain
        ));
    }
}
