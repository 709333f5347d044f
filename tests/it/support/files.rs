//! Helpers of the tests of files: files to send, and what became of them.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use telegram_sim::Line;

use super::{House, OWNER, wait_for};

/// The head of a PNG, which is all that is looked at, and something that tells it from others.
pub(crate) fn png(width: u32, height: u32, what: &str) -> Vec<u8> {
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
    [&head[..], &sides, what.as_bytes()].concat()
}

impl House {
    /// Puts a file where the agents work.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// The bot's messages to the person.
    pub(crate) fn sent(&self) -> Vec<Line> {
        let mut lines = self.sim.transcript(self.bot(), OWNER);
        lines.retain(|line| line.from_bot);
        lines
    }

    /// Everything in the outbox, also what has no name yet.
    pub(crate) fn outbox(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.session("outbox")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != ".synced").collect()
    }

    /// The content that the person gets.
    pub(crate) fn content(&self, line: &Line) -> Vec<u8> {
        let file = [&line.extra["document"], &line.extra["photo"][0]];
        let id = file.iter().find_map(|file| file["file_id"].as_str());
        self.sim.file(id.unwrap()).unwrap()
    }

    pub(crate) fn wait_until_the_outbox_is_empty(&self) {
        wait_for("the outbox to be empty", || {
            let mut left = self.outbox();
            // A killed gateway leaves the temporary file that it was writing.
            left.retain(|name| !name.starts_with('.'));
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    }

    /// The content of the one file in a folder of session `ONE`, once it is there.
    pub(crate) fn only_file_soon(&self, folder: &str) -> Value {
        wait_for("one file", || match self.names(folder).as_slice() {
            [_] => Ok(()),
            names => Err(names.to_vec()),
        });
        serde_json::from_slice(&fs::read(self.only_file(folder)).unwrap()).unwrap()
    }
}
