//! The cost of a call does not grow with the messages that wait.

use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use serde_json::json;

use crate::support::{House, ids};

/// Notices that the names of a folder are listed.
struct Listings(std::os::fd::OwnedFd);

impl Listings {
    fn of(folder: &Path) -> Self {
        let fd = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&fd, folder, WatchFlags::ACCESS).unwrap();
        Self(fd)
    }

    /// How often its names were read since the last time.
    fn count(&self) -> usize {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.0, &mut buffer);
        let mut count = 0;
        while let Ok(event) = events.next() {
            count += usize::from(event.events().contains(ReadFlags::ISDIR));
        }
        count
    }
}

#[test]
fn of_a_large_inbox_no_call_lists_the_names_again() {
    let house = House::new();
    let texts: Vec<String> = (0..1100)
        .map(|number| format!("message {number}"))
        .collect();
    for text in &texts {
        house.say(text);
    }
    let gateway = house.gateway();
    house.wait_for_inbox(texts.len());
    gateway.kill();
    let mut agent = house.agent();
    let shown = ids(&agent.poll(json!({"limit": 3})));
    let listings = Listings::of(&house.session("inbox"));
    assert_eq!(agent.poll(json!({"limit": 3}))["remaining"], 1097);
    let acked = agent.poll(json!({"ack": [shown[0]], "limit": 1}));
    assert_eq!(
        (&acked["acked"], &acked["remaining"]),
        (&json!([shown[0]]), &json!(1098))
    );
    agent.call("telegram_react", json!({"emoji": "👍"})).ok();
    agent.reply(json!({"text": "report", "to": "home"}));
    let answer = agent.reply(json!({"text": "answer"}));
    assert_eq!(answer["remaining"], 1093);
    assert_eq!(listings.count(), 0);
    // The instrument works, and a message that comes is not missed.
    std::fs::read_dir(house.session("inbox")).unwrap().count();
    assert!(listings.count() > 0);
    house.say("one more");
    let _gateway = house.gateway();
    house.wait_for_inbox(1094);
    assert_eq!(agent.poll(json!({"limit": 1}))["remaining"], 1093);
}
