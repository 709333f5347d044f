//! How a key of `sessions.json` is declared. The struct, its reader, the JSON schema and the page of keys all
//! come from the declarations in `keys.rs`.

/// One key of an object in the file.
pub(super) struct ConfigKey {
    pub(super) name: &'static str,
    pub(super) takes: Takes,
    pub(super) if_absent: IfAbsent,
    /// A value as people write it, in JSON.
    pub(super) example: &'static str,
    /// The text of the documentation, in Markdown.
    pub(super) about: &'static str,
}

/// The type of a key's value.
pub(super) enum Takes {
    /// A text. The regular expression covers all of it and is for the schema only: the reader's rule decides,
    /// and its messages are better.
    Text(&'static str),
    /// One of these texts.
    OneOf(fn() -> Vec<&'static str>),
    /// `true` or `false`.
    Switch,
    /// Numeric ids of people, or of chats.
    Ids { people: bool },
    /// A list of paths.
    Paths,
    /// An object of sessions by id, each an object with these keys.
    Sessions(&'static [ConfigKey]),
}

/// The effect of leaving a key out.
pub(super) enum IfAbsent {
    /// A mistake.
    Refused,
    /// The feature is off.
    Nothing,
    /// This value in JSON, or this explanation in Markdown.
    Means(&'static str),
}

/// A type with a few values that have names; its default is named in messages.
pub(super) trait Choice: Copy + Default + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];

    fn names() -> Vec<&'static str> {
        Self::NAMES.iter().map(|&(name, _)| name).collect()
    }
}

impl Takes {
    /// The type in words, for messages and the page of keys.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::OneOf(_) => "a text",
            Self::Switch => "true or false",
            Self::Ids { .. } => "a list of numbers",
            Self::Paths => "a list of texts",
            Self::Sessions(_) => "an object",
        }
    }
}

impl ConfigKey {
    pub(super) fn is_required(&self) -> bool {
        matches!(self.if_absent, IfAbsent::Refused)
    }
}

/// Declares a struct that is read from an object of the file, with the table of its keys. The fields in `given`
/// come from elsewhere. `read` names a method of `Reader` and its arguments. The documentation of a field is also
/// the text of its row on the page of keys. `also` adds keys that no field holds.
macro_rules! declare_keys {
    (
        $(#[$meta:meta])*
        pub struct $object:ident {
            given { $($(#[$given_meta:meta])* $given:ident: $given_type:ty,)* }
            $(
                $(#[doc = $about:literal])+
                $field:ident: $type:ty {
                    takes: $takes:expr,
                    if_absent: $if_absent:expr,
                    example: $example:expr,
                    read: $read:ident($($argument:expr),*),
                }
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
                $(declare_keys!(@key $field, $takes, $if_absent, $example, concat!($($about),+)),)*
                $($also,)*
            ];

            /// Reads every key and reports every mistake; after one, a field has an empty or a default value, and
            /// the whole is not to be used.
            pub(super) fn read(
                object: &Object<'_>,
                reader: &mut Reader<'_>,
                $($given: $given_type,)*
            ) -> Self {
                reader.refuse_unknown(object, Self::KEYS);
                $(let $field = {
                    const KEY: ConfigKey =
                        declare_keys!(@key $field, $takes, $if_absent, $example, concat!($($about),+));
                    reader.$read(object, &KEY $(, $argument)*)
                };)*
                Self { $($given,)* $($field,)* }
            }
        }
    };
    (@key $field:ident, $takes:expr, $if_absent:expr, $example:expr, $about:expr) => {
        ConfigKey {
            name: stringify!($field),
            takes: $takes,
            if_absent: $if_absent,
            example: $example,
            about: $about,
        }
    };
}

pub(super) use declare_keys;
