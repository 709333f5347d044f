//! One user, one poller for each bot, also where another user has taken the agreed place of the locks.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Gateway, House};

/// A user that telepost runs as here, and another one.
const USER: u32 = 61_234;
const OTHER: u32 = 61_235;

/// The folder of the locks of [`USER`]. Removed at the end.
struct LockFolder(PathBuf);

impl LockFolder {
    /// `None` where this test is not root and cannot be several users.
    fn of(user: u32) -> Option<Self> {
        if !rustix::process::getuid().is_root() {
            println!("left out: only root can be several users");
            return None;
        }
        let folder = PathBuf::from(format!("/var/tmp/telepost-{user}"));
        drop(fs::remove_dir_all(&folder));
        Some(Self(folder))
    }
}

impl Drop for LockFolder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn house_of(user: u32) -> House {
    let house = House::new();
    for path in [house.path().to_owned(), house.config_path()] {
        chown(path, Some(user), Some(user)).unwrap();
    }
    house
}

fn gateway_of(house: &House, user: u32, state: &str) -> Command {
    let mut command = house.command_with_tokens(&["gateway", "--log-level", "debug"]);
    command.uid(user).gid(user);
    command.env("TELEPOST_STATE_DIR", house.path().join(state));
    command
}

/// Starts a gateway that polls, and a second one of the same user that must not.
#[track_caller]
fn exactly_one_polls(house: &House, user: u32) {
    let first = Gateway::start(&mut gateway_of(house, user, "state"), house.path());
    first.wait_until_polling(house);
    let second = gateway_of(house, user, "other").output().unwrap();
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(4), "{words}");
    assert!(words.contains("is already polled"), "{words}");
    assert!(first.stop().success());
    let third = Gateway::start(&mut gateway_of(house, user, "other"), house.path());
    third.wait_until_polling(house);
    assert!(third.stop().success());
}

#[test]
fn a_folder_of_locks_that_another_user_made_keeps_no_gateway_from_starting_and_lets_no_two_poll() {
    let Some(folder) = LockFolder::of(USER) else {
        return;
    };
    let house = house_of(USER);
    fs::create_dir(&folder.0).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
    chown(&folder.0, Some(OTHER), None).unwrap();
    exactly_one_polls(&house, USER);
    // Or a link, or a file.
    fs::remove_dir(&folder.0).unwrap();
    fs::write(&folder.0, "").unwrap();
    exactly_one_polls(&house, USER);
    fs::remove_file(&folder.0).unwrap();
}

#[test]
fn a_gateway_that_has_one_place_keeps_away_one_that_has_the_other() {
    let user = USER + 2;
    let Some(folder) = LockFolder::of(user) else {
        return;
    };
    let house = house_of(user);
    let first = Gateway::start(&mut gateway_of(&house, user, "state"), house.path());
    first.wait_until_polling(&house);
    // A cleaner removes the folder, and another user makes it.
    fs::remove_dir_all(&folder.0).unwrap();
    fs::create_dir(&folder.0).unwrap();
    chown(&folder.0, Some(OTHER), None).unwrap();
    let second = gateway_of(&house, user, "other").output().unwrap();
    assert_eq!(second.status.code(), Some(4), "{second:?}");
    house.say("still here");
    house.wait_for_inbox(1);
    assert!(first.stop().success());
}

#[test]
fn a_socket_of_another_user_with_the_name_of_the_lock_keeps_no_gateway_from_starting() {
    let user = USER + 4;
    let Some(_folder) = LockFolder::of(user) else {
        return;
    };
    let house = house_of(user);
    let name = format!("telepost-{user}-bot-{}", house.bot());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _socket = UnixListener::bind_addr(&address).unwrap();
    exactly_one_polls(&house, user);
}
