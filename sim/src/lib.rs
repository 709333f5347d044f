//! Strict Bot API simulator.
