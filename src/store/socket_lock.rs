//! A lock without a file, on Linux: an abstract socket, whose name the kernel gives to one process at a time and
//! frees when that ends.
//!
//! Another user can take the name, too, so the holder is asked for its user: only one of our own counts.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

/// The lock, held until this value is dropped or the process ends.
#[derive(Debug)]
pub struct SocketLock {
    _listener: UnixListener,
}

/// The lock could not be had.
#[derive(Debug)]
pub enum SocketTaken {
    /// A process of this user has it.
    Held,
    /// It cannot serve: another user has the name, or the system refuses.
    Unusable(io::Error),
}

impl SocketLock {
    /// Takes the lock of this name, without waiting.
    pub fn try_take(name: &str) -> Result<Self, SocketTaken> {
        let bound = SocketAddr::from_abstract_name(name)
            .and_then(|address| UnixListener::bind_addr(&address));
        match bound {
            Ok(listener) => Ok(Self {
                _listener: listener,
            }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let me = rustix::process::getuid();
                match find_holder(name) {
                    Ok(holder) if holder == me => Err(SocketTaken::Held),
                    Ok(holder) => Err(SocketTaken::Unusable(io::Error::other(format!(
                        "user {} has it",
                        holder.as_raw()
                    )))),
                    Err(error) => Err(SocketTaken::Unusable(error)),
                }
            }
            Err(error) => Err(SocketTaken::Unusable(error)),
        }
    }
}

/// The user whose process listens under a name.
fn find_holder(name: &str) -> io::Result<rustix::process::Uid> {
    // A holder never accepts; once its queue is full, a connection would wait for ever.
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(
        &socket,
        &SocketAddrUnix::new_abstract_name(name.as_bytes())?,
    )?;
    Ok(sockopt::socket_peercred(&socket)?.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_holder_until_that_is_gone() {
        let name = format!("telepost-test-{}", std::process::id());
        let first = SocketLock::try_take(&name).unwrap();
        for _ in 0..3 {
            let second = SocketLock::try_take(&name).unwrap_err();
            assert!(matches!(second, SocketTaken::Held), "{second:?}");
        }
        drop(first);
        drop(SocketLock::try_take(&name).unwrap());
    }
}
