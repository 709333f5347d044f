//! See [`telepost_fuzz::update`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telepost_fuzz::update(bytes));
