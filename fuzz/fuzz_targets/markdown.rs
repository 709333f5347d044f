//! See [`telepost_fuzz::markdown`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| telepost_fuzz::markdown(bytes));
