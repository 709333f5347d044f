//! The outbox: what agents say, durable before they are told so, until Telegram has it.
//!
//! On disk: `outbox/<accepted>-<key>.json` is a [`delivery::Delivery`], written once by the MCP
//! side: the commit point of a reply and of the acknowledgement of what it answers.
//! `<…>.progress.json` is the gateway's [`delivery::Progress`]: what is in flight and what Telegram
//! accepted, message by message. `sent/` and `failed/` have delivery and result in one file; where
//! that file is, the outbox files no longer count. `outbox/<accepted>-<key>/` has the copies of its files,
//! as long as somebody may want to send them.
//!
//! [`delivery`], [`attached`], [`picture`], [`split`], [`schedule`] and [`attention`] are pure, [`disk`] is
//! the store, [`upload`] opens the copies of what is sent, [`sender`] is the driver.

pub mod attached;
pub mod attention;
pub mod bot;
pub mod delivery;
pub mod disk;
pub mod gates;
pub mod lane;
pub mod manage;
pub mod migrations;
pub mod notice;
pub mod picture;
pub mod receipts;
pub mod repair;
pub mod schedule;
pub mod sender;
pub mod split;
pub mod upload;
