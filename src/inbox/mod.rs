//! The inbox: admitted updates, one immutable file each, from pending to settled.
//!
//! On disk: `inbox/<received>-<update_id>.json` is pending; `done/` has the same file once it is
//! settled; `dead/` has what was not understood. Entries move in that direction only. After a crash
//! an entry is in exactly one of them, or in none and then Telegram gives it again.
//!
//! [`entry`] is one entry, [`view`] is what an agent sees of many (pure), [`disk`] is the store,
//! [`dead`] keeps what nobody could read.

pub mod dead;
pub mod disk;
pub mod entry;
pub mod view;
