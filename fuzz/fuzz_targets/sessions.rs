//! See [`telepost_fuzz::sessions`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telepost_fuzz::sessions(bytes));
