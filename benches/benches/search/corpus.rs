//! The mails of the corpus, as chunks.

use super::*;

pub(super) struct Mail {
    pub(super) subject: String,
    pub(super) sender: String,
    pub(super) date: Option<i64>,
    pub(super) text: String,
}

pub(super) struct Row<'a> {
    pub(super) key: String,
    pub(super) mail: &'a Mail,
    pub(super) text: &'a str,
}

pub(super) fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::FixedSizeBinary(32), false),
        Field::new("row_key", DataType::Utf8, false),
        Field::new("title", DataType::Utf8, true),
        Field::new("text", DataType::Utf8, false),
        Field::new("date", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("sender", DataType::Utf8, false),
    ]))
}

pub(super) fn batch(rows: &[Row<'_>]) -> Outcome<RecordBatch> {
    let mut ids = FixedSizeBinaryBuilder::new(32);
    for row in rows {
        ids.append_value(Sha256::digest(format!("{} {}", row.key, row.text)))?;
    }
    let texts = |of: &dyn Fn(&Row<'_>) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(of)))
    };
    let columns_of: Vec<ArrayRef> = vec![
        Arc::new(ids.finish()),
        texts(&|row| row.key.clone()),
        texts(&|row| row.mail.subject.clone()),
        texts(&|row| row.text.to_owned()),
        Arc::new(
            rows.iter()
                .map(|row| row.mail.date)
                .collect::<TimestampMicrosecondArray>(),
        ),
        texts(&|row| row.mail.sender.clone()),
    ];
    Ok(RecordBatch::try_new(columns(), columns_of)?)
}

/// Pieces of about [`CHUNK`] bytes, cut at the ends of lines.
pub(super) fn pieces(mail: &Mail) -> Vec<&str> {
    let text = &mail.text;
    let mut pieces = Vec::new();
    let mut first = 0;
    for (at, _) in text.match_indices('\n').chain([(text.len(), "")]) {
        if at - first >= CHUNK || at == text.len() {
            pieces.push(text[first..at].trim());
            first = at;
        }
    }
    pieces.retain(|piece| piece.len() > 40);
    pieces
}

/// The mails of the corpus as the converter reads them.
pub(super) fn mails() -> Outcome<Vec<Mail>> {
    let items: Vec<RawItem> = benches::mails()?.into_iter().map(item).collect();
    let provenance = Provenance {
        source: SourceName::new("bench")?,
        run: RunId("bench".to_owned()),
    };
    let converted = (transforms::convert_mail::CONVERTER.convert)(&items, &provenance);
    let mut mails = Vec::new();
    for (dataset, rows) in &converted.rows {
        if dataset.name != "emails" {
            continue;
        }
        let text = |name: &str| {
            rows.column_by_name(name)
                .and_then(|column| column.as_string_opt::<i32>())
        };
        let dates = rows
            .column_by_name("date")
            .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
        let (Some(subjects), Some(senders), Some(bodies), Some(dates)) =
            (text("subject"), text("from_addr"), text("body_text"), dates)
        else {
            return Err("the converter gives other columns".into());
        };
        for row in 0..rows.num_rows() {
            let text = |column: &StringArray| match column.is_valid(row) {
                true => column.value(row).to_owned(),
                false => String::new(),
            };
            mails.push(Mail {
                subject: text(subjects),
                sender: text(senders),
                date: dates.is_valid(row).then(|| dates.value(row)),
                text: text(bodies),
            });
        }
    }
    Ok(mails)
}

pub(super) fn item(mail: Vec<u8>) -> RawItem {
    let sha256 = Digest::of(&mail);
    RawItem {
        item: sha256.to_string(),
        media_type: "message/rfc822",
        fetched_at: 0,
        sha256,
        original: Original::Bytes(Bytes::from(mail)),
        attributes: Attributes::default(),
    }
}
