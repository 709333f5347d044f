//! What people ask and mend: status, inbox, outbox and prune. A library that prints nothing.

pub mod inbox;
pub mod outbox;
pub mod prune;
pub mod status;
