//! Which other users can change a file or a folder: their words would be taken for those of listed people.
//!
//! A group may write if it is the user's own private group (the usual umask of some systems is 002): the primary
//! group of this user, and of no other, without further members. A group that `/etc/group` does not have counts as
//! shared.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Another user who can change a file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OtherWriter {
    /// Its owner.
    Owner(u32),
    /// The members of a group, by its name.
    Group(String),
    /// Everyone on this machine.
    Everyone,
}

/// Finds another user who can change a file or a folder.
pub fn find_other_writer(metadata: &Metadata) -> Option<OtherWriter> {
    let me = rustix::process::getuid().as_raw();
    let mode = metadata.mode();
    if metadata.uid() != me {
        return Some(OtherWriter::Owner(metadata.uid()));
    }
    if mode & 0o002 != 0 {
        return Some(OtherWriter::Everyone);
    }
    if mode & 0o020 == 0 {
        return None;
    }
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (users, groups) = (read("/etc/passwd"), read("/etc/group"));
    let gid = metadata.gid();
    (!is_private_group(gid, me, &users, &groups))
        .then(|| OtherWriter::Group(name_group(gid, &groups)))
}

impl OtherWriter {
    /// Why this is refused, and the command that mends it.
    pub fn explain(&self, path: &Path) -> (String, String) {
        let me = rustix::process::getuid().as_raw();
        let shown = path.display();
        let shown = shlex::try_quote(&shown.to_string()).map_or(shown.to_string(), Into::into);
        match self {
            Self::Owner(owner) if me == 0 => (
                format!("it belongs to user {owner} and you are root"),
                format!(
                    "run telepost as that user, without sudo; if it is meant for root: chown -R 0 {shown}"
                ),
            ),
            Self::Owner(owner) => (
                format!(
                    "it belongs to {} and you are user {me}",
                    super::name_user(*owner)
                ),
                format!("run: sudo chown -R {me} {shown}"),
            ),
            Self::Group(name) => (
                format!("the members of the group {name} may write to it"),
                format!("run: chmod go-w {shown}"),
            ),
            Self::Everyone => (
                "every user of this machine may write to it".to_owned(),
                format!("run: chmod go-w {shown}"),
            ),
        }
    }
}

/// A row of `/etc/passwd` or `/etc/group`: its name, and the number at a place.
fn row(line: &str, place: usize) -> Option<(&str, u32)> {
    let number = line.split(':').nth(place)?.parse().ok()?;
    Some((line.split(':').next()?, number))
}

fn is_private_group(gid: u32, uid: u32, users: &str, groups: &str) -> bool {
    let own = |line: &&str| row(line, 2).is_some_and(|(_, user)| user == uid);
    let Some(me) = users.lines().find(own).and_then(|line| row(line, 3)) else {
        return false;
    };
    let in_group = |line: &&str| row(line, 3).is_some_and(|(_, group)| group == gid);
    let alone = users.lines().filter(in_group).all(|line| own(&line));
    let group = groups
        .lines()
        .find(|line| row(line, 2).is_some_and(|(_, group)| group == gid));
    let members = group.and_then(|line| line.split(':').nth(3));
    let is_me = |name: &str| name.trim().is_empty() || name == me.0;
    me.1 == gid && alone && members.is_some_and(|names| names.split(',').all(is_me))
}

fn name_group(gid: u32, groups: &str) -> String {
    let mut rows = groups.lines().filter_map(|line| row(line, 2));
    let name = rows.find(|(_, group)| *group == gid);
    name.map_or_else(|| gid.to_string(), |(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbob:x:1001:100::/:/bin/sh\n\
                         cyd:x:1002:100::/:/bin/sh\neve:x:1003:1003::/:/bin/sh\nno line\n";
    const GROUPS: &str =
        "root:x:0:\nada:x:1000:\nusers:x:100:\neve:x:1003:ada\nself:x:1000:ada\nno line\n";

    #[test]
    fn only_the_group_of_one_user_alone_is_private() {
        for (gid, uid, expected) in [
            (1000, 1000, true),
            // Another user has the same primary group, or is a member; or it is not in the files.
            (100, 1001, false),
            (1003, 1003, false),
            (1000, 1003, false),
            (77, 1000, false),
            (1000, 77, false),
        ] {
            assert_eq!(
                is_private_group(gid, uid, USERS, GROUPS),
                expected,
                "{gid} {uid}"
            );
        }
        assert!(!is_private_group(1000, 1000, USERS, ""));
        assert!(is_private_group(1000, 1000, USERS, "me:x:1000:ada\n"));
    }

    #[test]
    fn a_group_without_a_name_is_named_by_its_number() {
        assert_eq!(name_group(100, GROUPS), "users");
        assert_eq!(name_group(77, GROUPS), "77");
    }
}
