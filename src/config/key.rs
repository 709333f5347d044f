//! How a key of `sessions.json` is declared. The struct, its reader, the JSON schema and the page of keys all
//! come from the declarations in `keys.rs`.

#![cfg_attr(
    not(test),
    expect(dead_code, reason = "a test makes the documentation")
)]

pub(super) struct ConfigKey {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) absent: Absent,
    /// A value as people write it, in JSON.
    pub(super) example: &'static str,
    pub(super) about: &'static str,
}

/// The type of a key's value.
pub(super) enum Takes {
    /// A text. The regular expression covers all of it and is for the schema only: the reader's rule decides,
    /// and its messages are better.
    Text(&'static str),
    /// One of these texts.
    OneOf(fn() -> Vec<&'static str>),
    Switch,
    /// Numeric ids of chats.
    Chats,
    /// Numeric ids of people.
    People,
    Paths,
    /// An object of sessions by id, each an object with these keys.
    Sessions(&'static [ConfigKey]),
}

/// The effect of leaving a key out.
pub(super) enum Absent {
    Refused,
    /// The feature is off.
    Off,
    /// This value in JSON, or this explanation in Markdown.
    Means(&'static str),
}

/// A type with a few named values, the first of which is the default.
pub(super) trait Choice: Copy + 'static {
    const NAMES: &'static [(&'static str, Self)];

    fn names() -> Vec<&'static str> {
        Self::NAMES.iter().map(|&(name, _)| name).collect()
    }
}

impl Takes {
    /// The type in words, for messages and the page of keys.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::OneOf(_) => "a string",
            Self::Switch => "true or false",
            Self::Chats | Self::People => "a list of numbers",
            Self::Paths => "a list of strings",
            Self::Sessions(_) => "an object",
        }
    }
}

impl ConfigKey {
    pub(super) fn is_required(&self) -> bool {
        matches!(self.absent, Absent::Refused)
    }
}

/// Declares a struct that is read from an object of the file, with the table of its keys. The fields in `given`
/// come from elsewhere. A key has its type, a method of `Reader` that reads it, and the other fields of
/// [`ConfigKey`]; the documentation of the field is also that of the key. `also` adds keys that no field holds.
macro_rules! declare_keys {
    (
        $(#[$meta:meta])*
        pub struct $object:ident {
            given { $($(#[$given_meta:meta])* $given:ident: $given_type:ty,)* }
            $(
                $(#[doc = $about:literal])+
                $field:ident: $type:ty = $read:ident($($rule:expr),*),
                $takes:expr, $absent:expr, $example:expr;
            )*
            also { $($also:expr),* }
        }
    ) => {
        $(#[$meta])*
        pub struct $object {
            $($(#[$given_meta])* pub $given: $given_type,)*
            $($(#[doc = $about])+ pub $field: $type,)*
        }

        impl $object {
            pub(super) const KEYS: &'static [ConfigKey] = &[
                $(declare_keys!(@key $field, $takes, $absent, $example, concat!($($about),+)),)*
                $($also,)*
            ];

            /// Reads every key and reports every mistake; after one, a field has an empty or a default value, and
            /// the whole is not to be used.
            pub(super) fn read(reader: &mut Reader<'_>, at: &Object<'_>, $($given: $given_type,)*) -> Self {
                reader.refuse_unknown(at, Self::KEYS);
                $(let $field = {
                    const KEY: &ConfigKey =
                        &declare_keys!(@key $field, $takes, $absent, $example, concat!($($about),+));
                    reader.$read(&at.slot(KEY) $(, $rule)*)
                };)*
                Self { $($given,)* $($field,)* }
            }
        }
    };
    (@key $field:ident, $takes:expr, $absent:expr, $example:expr, $about:expr) => {
        ConfigKey {
            name: stringify!($field),
            takes: $takes,
            absent: $absent,
            example: $example,
            about: $about,
        }
    };
}

pub(super) use declare_keys;
