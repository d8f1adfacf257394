//! Protobuf messages as lists of fields, so that what we do not know of a message survives when it is
//! written again. Pure.

use prost::bytes::{Buf, Bytes};
use prost::encoding::{decode_varint, encode_varint};

/// One field, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub number: u32,
    pub value: Value,
}

/// By wire type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    /// Text, bytes, a message, or packed numbers.
    Bytes(Bytes),
    Fixed32([u8; 4]),
}

/// A message, in the order in which it was written.
pub(super) type Message = Vec<Field>;

/// Not a protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// The fields of a message; bytes are not copied.
pub(super) fn read(mut bytes: Bytes) -> Result<Message, Broken> {
    let mut message = Vec::new();
    while bytes.has_remaining() {
        let key = decode_varint(&mut bytes).map_err(|_| Broken)?;
        let number = u32::try_from(key >> 3).map_err(|_| Broken)?;
        let value = match key & 7 {
            0 => Value::Varint(decode_varint(&mut bytes).map_err(|_| Broken)?),
            1 => Value::Fixed64(fixed(&mut bytes)?),
            2 => {
                let length = decode_varint(&mut bytes).map_err(|_| Broken)?;
                let length = usize::try_from(length).map_err(|_| Broken)?;
                if length > bytes.remaining() {
                    return Err(Broken);
                }
                Value::Bytes(bytes.split_to(length))
            }
            5 => Value::Fixed32(fixed(&mut bytes)?),
            _ => return Err(Broken),
        };
        message.push(Field { number, value });
    }
    Ok(message)
}

fn fixed<const N: usize>(bytes: &mut Bytes) -> Result<[u8; N], Broken> {
    if bytes.remaining() < N {
        return Err(Broken);
    }
    let mut value = [0; N];
    bytes.copy_to_slice(&mut value);
    Ok(value)
}

/// The message's bytes.
pub(super) fn write(message: &[Field]) -> Bytes {
    let mut out = Vec::new();
    for Field { number, value } in message {
        let key = |wire: u64| u64::from(*number) << 3 | wire;
        match value {
            Value::Varint(value) => {
                encode_varint(key(0), &mut out);
                encode_varint(*value, &mut out);
            }
            Value::Fixed64(value) => {
                encode_varint(key(1), &mut out);
                out.extend_from_slice(value);
            }
            Value::Bytes(value) => {
                encode_varint(key(2), &mut out);
                encode_varint(value.len() as u64, &mut out);
                out.extend_from_slice(value);
            }
            Value::Fixed32(value) => {
                encode_varint(key(5), &mut out);
                out.extend_from_slice(value);
            }
        }
    }
    out.into()
}

/// All values of a field that holds text, bytes or messages.
pub(super) fn all(message: &[Field], number: u32) -> impl Iterator<Item = &Bytes> {
    message.iter().filter(move |field| field.number == number).filter_map(|field| match &field.value {
        Value::Bytes(bytes) => Some(bytes),
        _ => None,
    })
}

/// The last value of a field: what counts where there is to be one.
pub(super) fn bytes(message: &[Field], number: u32) -> Option<&Bytes> {
    all(message, number).last()
}

/// The same of a number.
pub(super) fn varint(message: &[Field], number: u32) -> Option<u64> {
    let of = message.iter().rev().find(|field| field.number == number)?;
    match of.value {
        Value::Varint(value) => Some(value),
        _ => None,
    }
}

/// Text; what is not UTF-8 is no name of ours.
pub(super) fn text(message: &[Field], number: u32) -> Result<String, Broken> {
    let text = bytes(message, number).map_or(&[][..], |bytes| &bytes[..]);
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| Broken)
}

/// A field of text.
pub(super) fn text_field(number: u32, text: &str) -> Field {
    Field { number, value: Value::Bytes(Bytes::copy_from_slice(text.as_bytes())) }
}

/// A field that is a message.
pub(super) fn message_field(number: u32, message: &[Field]) -> Field {
    Field { number, value: Value::Bytes(write(message)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field() -> impl Strategy<Value = Field> {
        let value = prop_oneof![
            any::<u64>().prop_map(Value::Varint),
            any::<[u8; 8]>().prop_map(Value::Fixed64),
            any::<[u8; 4]>().prop_map(Value::Fixed32),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        (1u32..2000, value).prop_map(|(number, value)| Field { number, value })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(message in prop::collection::vec(field(), 0..20)) {
            prop_assert_eq!(read(write(&message)), Ok(message));
        }

        #[test]
        fn nothing_breaks_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = read(bytes.into());
        }
    }
}
