//! Record headers, byte for byte, between librdkafka and ours.
//!
//! rdkafka's safe wrapper panics on a header name that is not UTF-8 and can only write names that
//! are: a stream that we do not control may hold others, and must neither stop the worker nor
//! lose them. So this file talks to librdkafka's four header functions itself; it is the reason
//! why unsafe code is allowed here.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr;

use rdkafka::message::{BorrowedHeaders, Headers, OwnedHeaders};
use rdkafka_sys as sys;

use crate::record::Header;

/// All headers in order: duplicates, null values and odd names included.
///
/// (librdkafka keeps names as C strings: one with a NUL in it ends there.)
pub(crate) fn read(headers: &BorrowedHeaders) -> Vec<Header> {
    (0..headers.count()).filter_map(|index| read_one(headers, index)).collect()
}

fn read_one(headers: &BorrowedHeaders, index: usize) -> Option<Header> {
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
    // SAFETY: `BorrowedHeaders` is rdkafka's zero-sized view of the C structure at its address
    // (its own `as_native_ptr` is this cast). The pointers written are valid as long as `headers`
    // is borrowed, and everything is copied before this function returns.
    unsafe {
        let error = sys::rd_kafka_header_get_all(native(headers), index, &mut name, &mut value, &mut size);
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || name.is_null() {
            return None;
        }
        let name = CStr::from_ptr(name).to_bytes().to_vec();
        let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size).to_vec());
        Some(Header { name, value })
    }
}

/// Headers for a produced record, in order.
pub(crate) fn write<'a>(headers: impl ExactSizeIterator<Item = &'a Header>) -> OwnedHeaders {
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    for header in headers {
        let (value, size) = match &header.value {
            None => (ptr::null(), 0),
            Some(bytes) => (bytes.as_ptr().cast::<c_void>(), bytes.len() as isize),
        };
        // SAFETY: `owned` is ours alone and writable; librdkafka copies name and value before it
        // returns. It fails only for headers that are read-only, which these are not.
        unsafe {
            sys::rd_kafka_header_add(
                native(owned.as_borrowed()).cast_mut(),
                header.name.as_ptr().cast::<c_char>(),
                header.name.len() as isize,
                value,
                size,
            );
        }
    }
    owned
}

fn native(headers: &BorrowedHeaders) -> *const sys::rd_kafka_headers_t {
    ptr::from_ref(headers).cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_headers_survive_the_round_trip() {
        let headers = vec![
            Header { name: b"a".to_vec(), value: Some(b"1".to_vec()) },
            Header { name: b"a".to_vec(), value: Some(Vec::new()) },
            Header { name: b"a".to_vec(), value: None },
            Header { name: vec![0xff, 0xfe], value: Some(vec![0, 159, 146]) },
            Header { name: Vec::new(), value: Some(b"no name".to_vec()) },
        ];
        assert_eq!(read(write(headers.iter()).as_borrowed()), headers);
    }
}
