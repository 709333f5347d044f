//! The version of a file: `{"format":1,` before the keys of the value.
//!
//! The types of the files do not know their version. It is written and checked here.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::StoreError;

/// The version that this program writes, the same for every kind of file until one changes.
pub const FORMAT: u32 = 1;

/// Why bytes are not a file of this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unparsable {
    /// A newer version has written them.
    Newer(u32),
    /// They are damaged; the reason is for people.
    Damaged(String),
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// Turns a value into the bytes of its file. Only a struct or a map can be a file.
pub fn encode<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let format = FORMAT;
    serde_json::to_vec(&Envelope { format, value })
        .map_err(|error| StoreError::new("encode", path, error.into()))
}

/// `#[serde(serialize_with = "serialize_versioned")]` for a value that is a file of its own elsewhere and a part
/// of this one: telepost 0.1 requires the version of both.
pub fn serialize_versioned<T: Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let format = FORMAT;
    Envelope { format, value }.serialize(serializer)
}

/// Parses the bytes of a file.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unparsable> {
    if bytes.is_empty() {
        return Err(Unparsable::Damaged("it is empty".to_owned()));
    }
    let damaged = |error: serde_json::Error| Unparsable::Damaged(error.to_string());
    // The version comes first: a newer file may have a shape that this program cannot know.
    let version: Version = serde_json::from_slice(bytes).map_err(damaged)?;
    if version.format > FORMAT {
        return Err(Unparsable::Newer(version.format));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Plain {
        n: u8,
    }

    /// As telepost 0.1 reads and writes it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OwnVersion {
        format: u32,
        n: u8,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Around {
        #[serde(serialize_with = "serialize_versioned")]
        inner: Plain,
        #[serde(
            serialize_with = "serialize_versioned",
            skip_serializing_if = "Option::is_none"
        )]
        maybe: Option<Plain>,
    }

    fn text<T: Serialize>(value: &T) -> String {
        String::from_utf8(encode(Path::new("x"), value).unwrap()).unwrap()
    }

    #[test]
    fn the_version_is_the_first_key_as_in_version_0_1() {
        assert_eq!(text(&Plain { n: 7 }), r#"{"format":1,"n":7}"#);
        let old = serde_json::to_string(&OwnVersion { format: 1, n: 7 });
        assert_eq!(old.unwrap(), text(&Plain { n: 7 }));
        assert_eq!(text(&BTreeMap::<String, u8>::new()), r#"{"format":1}"#);
    }

    #[test]
    fn either_shape_reads_what_the_other_wrote() {
        let bytes = br#"{"format":1,"n":7}"#;
        assert_eq!(parse(bytes), Ok(Plain { n: 7 }));
        assert_eq!(parse(bytes), Ok(OwnVersion { format: 1, n: 7 }));
    }

    #[test]
    fn a_part_that_is_a_file_elsewhere_keeps_its_version() {
        let one = Around {
            inner: Plain { n: 1 },
            maybe: None,
        };
        assert_eq!(text(&one), r#"{"format":1,"inner":{"format":1,"n":1}}"#);
        let two = Around {
            inner: Plain { n: 1 },
            maybe: Some(Plain { n: 2 }),
        };
        let written = text(&two);
        assert_eq!(
            written,
            r#"{"format":1,"inner":{"format":1,"n":1},"maybe":{"format":1,"n":2}}"#
        );
        assert_eq!(parse(written.as_bytes()), Ok(two));
        let bare = br#"{"format":1,"inner":{"n":1},"maybe":null}"#;
        assert_eq!(parse(bare), Ok(one));
    }

    #[test]
    fn raw_bytes_stay_as_they_are() {
        #[derive(Serialize)]
        struct Raw {
            update: Box<RawValue>,
        }
        let update = RawValue::from_string(r#"{"x": 1.0,"e":"\ud83d"}"#.to_owned()).unwrap();
        assert_eq!(
            text(&Raw { update }),
            r#"{"format":1,"update":{"x": 1.0,"e":"\ud83d"}}"#
        );
    }

    #[test]
    fn a_value_without_keys_is_refused() {
        assert!(encode(Path::new("x"), &[1, 2]).is_err());
        assert!(encode(Path::new("x"), &"text").is_err());
    }
}
