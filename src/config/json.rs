//! JSON with its places: a parser that notices keys written twice, and readers that say where a
//! value stands, what it is, and what was expected.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::error::{Problem, list, nearest, quote};

/// A parsed text and the paths of the keys that stand more than once in their object.
pub(super) struct Parsed {
    pub(super) value: Value,
    pub(super) duplicates: Vec<String>,
}

/// Parses `text`; of a key that stands twice the first value is kept.
pub(super) fn parse(text: &str) -> Result<Parsed, serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Tree {
        path: String::new(),
        duplicates: &mut duplicates,
    }
    .deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Parsed { value, duplicates })
}

/// The path of `key` in the object at `path`.
pub(super) fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '$'));
    match (plain, path) {
        (true, "") => key.to_owned(),
        (true, _) => format!("{path}.{key}"),
        (false, _) => format!("{path}[{}]", quote(key)),
    }
}

struct Tree<'d> {
    path: String,
    duplicates: &'d mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, list.len());
            match items.next_element_seed(Tree {
                path,
                duplicates: &mut *self.duplicates,
            })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = child(&self.path, &key);
            let value = entries.next_value_seed(Tree {
                path: path.clone(),
                duplicates: &mut *self.duplicates,
            })?;
            if !map.contains_key(&key) {
                map.insert(key, value);
            } else if !self.duplicates.contains(&path) {
                self.duplicates.push(path);
            }
        }
        Ok(Value::Object(map))
    }
}

/// A key that an object may have.
pub(super) struct Field {
    pub(super) key: &'static str,
    /// What its value is: "a text", "a list of numbers", …
    pub(super) kind: &'static str,
    /// A value as one would write it.
    pub(super) example: &'static str,
    pub(super) required: bool,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Place<'v> {
    pub(super) path: String,
    pub(super) value: &'v Value,
}

impl<'v> Place<'v> {
    pub(super) fn problem(&self, what: &str, instead: &str) -> Problem {
        Problem::new(&self.path, what, instead)
    }

    /// The value is not what `field` takes.
    pub(super) fn wrong_kind(&self, field: &Field) -> Problem {
        let leave_out = if self.value.is_null() && !field.required {
            ", or leave the key out"
        } else {
            ""
        };
        self.problem(
            &format!("is {}, not {}", describe(self.value), field.kind),
            &format!("write for example {}{leave_out}", field.example),
        )
    }

    /// The entries of a list, each with its place.
    pub(super) fn items(&self, field: &Field, problems: &mut Vec<Problem>) -> Vec<Place<'v>> {
        let Value::Array(items) = self.value else {
            problems.push(self.wrong_kind(field));
            return Vec::new();
        };
        let place = |(index, value)| Place {
            path: format!("{}[{index}]", self.path),
            value,
        };
        items.iter().enumerate().map(place).collect()
    }
}

/// An object and where it stands.
pub(super) struct Object<'v> {
    path: String,
    map: &'v Map<String, Value>,
}

impl<'v> Object<'v> {
    pub(super) fn new(path: String, map: &'v Map<String, Value>) -> Self {
        Self { path, map }
    }

    /// Reports every key that is none of `fields`. `elsewhere` are the keys of another object, and
    /// where that object is.
    pub(super) fn refuse_unknown(
        &self,
        fields: &[Field],
        (elsewhere, there): (&[Field], &str),
        problems: &mut Vec<Problem>,
    ) {
        for key in self
            .map
            .keys()
            .filter(|key| fields.iter().all(|field| field.key != *key))
        {
            let names = || fields.iter().map(|field| field.key);
            let instead = if elsewhere.iter().any(|field| field.key == key) {
                format!("move it: `{key}` belongs {there}")
            } else {
                match nearest(key, names()) {
                    Some("bot_token_env") => {
                        "did you mean `bot_token_env`? It takes the name of a variable; the token \
                         itself belongs into the file .env beside this one"
                            .to_owned()
                    }
                    Some(name) => format!("did you mean `{name}`?"),
                    None => format!("delete it; the keys known here are {}", list(names())),
                }
            };
            problems.push(Problem::new(
                &child(&self.path, key),
                "is no key that telepost knows",
                &instead,
            ));
        }
    }

    /// The value of `field`; a required one that is missing is reported.
    pub(super) fn get(&self, field: &Field, problems: &mut Vec<Problem>) -> Option<Place<'v>> {
        let path = child(&self.path, field.key);
        let Some(value) = self.map.get(field.key) else {
            if field.required {
                let instead = format!("write \"{}\": {}", field.key, field.example);
                problems.push(Problem::new(&path, "is missing", &instead));
            }
            return None;
        };
        Some(Place { path, value })
    }

    /// The value of `field`, which is a text.
    pub(super) fn text(
        &self,
        field: &Field,
        problems: &mut Vec<Problem>,
    ) -> Option<(Place<'v>, &'v str)> {
        let place = self.get(field, problems)?;
        if let Value::String(text) = place.value {
            Some((place, text))
        } else {
            problems.push(place.wrong_kind(field));
            None
        }
    }
}

/// What a value is, in words.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.is_empty() => "an empty text".to_owned(),
        Value::String(_) => "a text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
