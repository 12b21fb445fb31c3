#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| larder::fuzzing::store_url(data));
