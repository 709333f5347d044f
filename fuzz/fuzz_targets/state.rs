//! See [`telepost_fuzz::state`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telepost_fuzz::state(bytes));
