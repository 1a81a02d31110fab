#![no_main]

#[path = "../properties/scim_filter.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|input: &[u8]| property::check(input));
