//! What tables both sides have, what their columns hold, and how rows of them are compared.
//!
//! - A value has one form here, however a side keeps it: a flag and a moment are numbers, a UUID is a text.

use std::collections::BTreeMap;

/// What a column holds, by its type in Postgres. SQLite has integers for flags, and texts for moments and UUIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Int,
    Flag,
    Text,
    Uuid,
    /// Microseconds since 1970.
    Moment,
    Bytes,
}

impl Class {
    /// That of a type as `information_schema.columns.udt_name` has it.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "int2" | "int4" | "int8" => Self::Int,
            "bool" => Self::Flag,
            "text" | "varchar" => Self::Text,
            "uuid" => Self::Uuid,
            "timestamptz" => Self::Moment,
            "bytea" => Self::Bytes,
            _ => return None,
        })
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
}

/// The values of a row, in the order of its table's columns.
pub(super) type Row = Vec<Value>;

/// The columns of each table, by name; SQLite does not know what they hold.
pub(super) type Tables = BTreeMap<String, BTreeMap<String, Option<Class>>>;

/// A table that both sides have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    /// Its columns by name, and what they hold.
    pub(super) columns: Vec<(String, Class)>,
}

impl Table {
    /// Names of its columns, quoted.
    pub(super) fn quoted_columns(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _)| quoted(name)).collect()
    }

    /// The first column of a row that has a text Postgres does not take.
    pub(super) fn zero_in(&self, row: &[Value]) -> Option<&str> {
        let columns = self.columns.iter().zip(row);
        let mut with_zero =
            columns.filter(|(_, value)| matches!(value, Value::Text(Some(text)) if text.contains('\0')));
        with_zero.next().map(|((name, _), _)| name.as_str())
    }
}

/// Puts U+FFFD in the place of each U+0000; how many texts had one.
pub(super) fn replace_zeros(row: &mut [Value]) -> u64 {
    let mut replaced = 0;
    for value in row {
        if let Value::Text(Some(text)) = value
            && text.contains('\0')
        {
            *text = text.replace('\0', "\u{fffd}");
            replaced += 1;
        }
    }
    replaced
}

/// A name as both dialects have it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The tables of both sides.
///
/// # Errors
/// How the sides differ.
pub(super) fn shared(from: &Tables, to: &Tables) -> Result<Vec<Table>, String> {
    let mut differences = Vec::new();
    for (here, there, side) in [(from, to, "the new place"), (to, from, "the old place")] {
        for (table, columns) in here {
            let Some(others) = there.get(table) else {
                differences.push(format!("{side} has no table `{table}`"));
                continue;
            };
            let lacks = columns.keys().filter(|column| !others.contains_key(*column));
            differences.extend(lacks.map(|column| format!("{side} has no column `{table}.{column}`")));
        }
    }
    let mut tables = Vec::new();
    for (name, columns) in from {
        let others = to.get(name);
        let class = |column: &String, here: &Option<Class>| {
            here.or_else(|| others.and_then(|others| others.get(column).copied().flatten()))
        };
        let mut known = Vec::new();
        for (column, here) in columns {
            match class(column, here) {
                Some(class) => known.push((column.clone(), class)),
                None => differences.push(format!("column `{name}.{column}` is of a type nobody expected")),
            }
        }
        tables.push(Table {
            name: name.clone(),
            columns: known,
        });
    }
    match differences.is_empty() {
        true => Ok(tables),
        false => Err(differences.join("; ")),
    }
}

/// Tells whether two tables have the same rows, in whatever order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) rows: u64,
    sum: [u64; 4],
}

impl Digest {
    /// Notes a row: the digests of all are added, which is the same in any order.
    pub(super) fn add(&mut self, row: &[Value]) {
        let mut hasher = blake3::Hasher::new();
        let mut put = |kind: u8, bytes: Option<&[u8]>| {
            let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
            hasher.update(&[kind]);
            hasher.update(&length.to_le_bytes());
            hasher.update(bytes.unwrap_or_default());
        };
        for value in row {
            match value {
                Value::Int(int) => put(b'i', int.map(i64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice)),
                Value::Text(text) => put(b't', text.as_deref().map(str::as_bytes)),
                Value::Bytes(bytes) => put(b'b', bytes.as_deref()),
            }
        }
        let hash = hasher.finalize();
        for (sum, part) in self.sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let part = part.try_into().map(u64::from_le_bytes).unwrap_or_default();
            *sum = sum.wrapping_add(part);
        }
        self.rows += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table, and its columns.
    type Described<'a> = (&'a str, &'a [(&'a str, Option<Class>)]);

    fn tables(of: &[Described<'_>]) -> Tables {
        of.iter()
            .map(|(name, columns)| {
                let columns = columns.iter().map(|(name, class)| ((*name).to_owned(), *class));
                ((*name).to_owned(), columns.collect())
            })
            .collect()
    }

    #[test]
    fn differences_of_the_sides_are_named() {
        let one = tables(&[("runs", &[("run", None), ("host", None)]), ("old", &[])]);
        let other = tables(&[("runs", &[("run", Some(Class::Text))])]);
        let told = shared(&one, &other).unwrap_err();
        assert!(told.contains("the new place has no table `old`"), "{told}");
        assert!(told.contains("the new place has no column `runs.host`"), "{told}");
        let one = tables(&[("runs", &[("run", None)])]);
        for (from, to) in [(&one, &other), (&other, &one)] {
            let found = shared(from, to).unwrap();
            assert_eq!(found[0].columns, [("run".to_owned(), Class::Text)]);
        }
        let strange = tables(&[("runs", &[("run", Class::of("money"))])]);
        assert!(shared(&one, &strange).unwrap_err().contains("runs.run"));
    }

    #[test]
    fn a_digest_knows_every_value_and_no_order() {
        let digest = |rows: &[Row]| {
            let mut digest = Digest::default();
            rows.iter().for_each(|row| digest.add(row));
            digest
        };
        let text = |text: &str| Value::Text(Some(text.to_owned()));
        let (one, other) = (vec![text("a"), text("b")], vec![Value::Int(Some(1)), text("")]);
        assert_eq!(
            digest(&[one.clone(), other.clone()]),
            digest(&[other.clone(), one.clone()])
        );
        assert_ne!(
            digest(std::slice::from_ref(&one)),
            digest(&[one.clone(), one.clone()])
        );
        assert_ne!(digest(&[one]), digest(&[vec![text("ab"), text("")]]));
        assert_ne!(digest(&[vec![text("")]]), digest(&[vec![Value::Text(None)]]));
        assert_ne!(
            digest(&[vec![Value::Int(None)]]),
            digest(&[vec![Value::Int(Some(0))]])
        );
    }

    #[test]
    fn a_text_that_postgres_does_not_take_is_found() {
        let table = Table {
            name: "runs".to_owned(),
            columns: vec![("run".to_owned(), Class::Text), ("error".to_owned(), Class::Text)],
        };
        let mut row = vec![Value::Text(None), Value::Text(Some("a\0b".to_owned()))];
        assert_eq!(table.zero_in(&row), Some("error"));
        assert_eq!(replace_zeros(&mut row), 1);
        assert_eq!(row[1], Value::Text(Some("a\u{fffd}b".to_owned())));
        assert_eq!(table.zero_in(&row), None);
    }
}
