//! Every format, read back by another reader.

use super::*;
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    Array as _, ArrayRef, BinaryViewArray, BooleanArray, Float64Array, Int64Array, RecordBatch,
    StringViewArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::stream;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::Arc;

/// One row of every kind of column, as a query returns them, and one of nulls.
fn all_kinds() -> RecordBatch {
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a|b"), Some("c\"d")]);
    lists.append_null();
    let moments = TimestampMicrosecondArray::from(vec![Some(1_704_106_800_250_000), None]);
    let columns: [(&str, ArrayRef); 7] = [
        (
            "text",
            Arc::new(StringViewArray::from(vec![Some("a, \"b\"\nc | ü"), None])),
        ),
        ("list", Arc::new(lists.finish())),
        ("int", Arc::new(Int64Array::from(vec![Some(i64::MAX), None]))),
        ("float", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("moment", Arc::new(moments.with_timezone("+00:00"))),
        (
            "bytes",
            Arc::new(BinaryViewArray::from(vec![Some(&[0u8, 255][..]), None])),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn texts(values: &[&str]) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringViewArray::from(values.to_vec()));
    RecordBatch::try_from_iter([("text", column)]).unwrap()
}

fn stream_of(batches: Vec<RecordBatch>, schema: SchemaRef) -> SendableRecordBatchStream {
    Box::pin(RecordBatchStreamAdapter::new(
        schema,
        stream::iter(batches.into_iter().map(Ok)),
    ))
}

fn write_as(
    batches: Vec<RecordBatch>,
    schema: SchemaRef,
    format: Format,
    width: Option<usize>,
) -> (Vec<u8>, Written) {
    let mut out = Vec::new();
    let form = Form {
        width,
        ..Form::from(format)
    };
    let written = futures::executor::block_on(write_stream(stream_of(batches, schema), form, &mut out));
    (out, written.unwrap())
}

fn written(batch: &RecordBatch, format: Format) -> String {
    let (bytes, written) = write_as(vec![batch.clone()], batch.schema(), format, None);
    assert_eq!(
        (written.rows, written.bytes),
        (batch.num_rows() as u64, bytes.len() as u64)
    );
    String::from_utf8(bytes).unwrap()
}

fn parquet_rows(bytes: Vec<u8>) -> Vec<RecordBatch> {
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes));
    reader.unwrap().build().unwrap().map(Result::unwrap).collect()
}

fn kinds_as_json() -> Value {
    json!([
        {"text": "a, \"b\"\nc | ü", "list": ["a|b", "c\"d"], "int": i64::MAX, "float": 0.1, "bool": true,
         "moment": "2024-01-01T11:00:00.250Z", "bytes": "00ff"},
        {"text": null, "list": null, "int": null, "float": null, "bool": null, "moment": null, "bytes": null},
    ])
}

#[test]
fn json_is_one_array_that_reads_back() {
    assert_eq!(
        serde_json::from_str::<Value>(&written(&all_kinds(), Format::Json)).unwrap(),
        kinds_as_json()
    );
}

#[test]
fn ndjson_is_one_object_a_line() {
    let text = written(&all_kinds(), Format::Ndjson);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(Value::from(lines), kinds_as_json());
}

#[test]
fn csv_has_a_header_lists_as_json_and_reads_back() {
    let rows = csv_rows(&written(&all_kinds(), Format::Csv), 7);
    assert_eq!(
        rows[0],
        ["text", "list", "int", "float", "bool", "moment", "bytes"]
    );
    assert_eq!(
        rows[1],
        [
            "a, \"b\"\nc | ü",
            r#"["a|b","c\"d"]"#,
            "9223372036854775807",
            "0.1",
            "true",
            "2024-01-01T11:00:00.250Z",
            "00ff"
        ]
    );
    assert_eq!(rows[2], [""; 7]);
}

#[test]
fn moments_are_rfc_3339_in_utc_with_as_many_digits_as_they_need() {
    let moments = [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_000, "1970-01-01T00:00:00.001Z"),
        (1_704_106_800_250_000, "2024-01-01T11:00:00.250Z"),
        (253_402_300_800_000_000, "+10000-01-01T00:00:00Z"),
        (-62_167_219_200_000_001, "-0001-12-31T23:59:59.999999Z"),
    ];
    for zone in ["+00:00", "UTC", "+02:00"] {
        let column = TimestampMicrosecondArray::from_iter_values(moments.map(|(moment, _)| moment));
        let column: ArrayRef = Arc::new(column.with_timezone(zone));
        let batch = RecordBatch::try_from_iter([("moment", column)]).unwrap();
        let json: Vec<Value> = serde_json::from_str(&written(&batch, Format::Json)).unwrap();
        let csv = written(&batch, Format::Csv);
        for ((_, text), (object, line)) in moments.iter().zip(json.iter().zip(csv.lines().skip(1))) {
            assert_eq!((&object["moment"], line), (&json!(text), *text), "{zone}");
        }
    }
}

/// CSV read by arrow's reader, all columns as text, the header as a row.
fn csv_rows(text: &str, columns: usize) -> Vec<Vec<String>> {
    let fields = (0..columns)
        .map(|n| Field::new(format!("c{n}"), DataType::Utf8, true))
        .collect::<Vec<_>>();
    let reader = arrow::csv::ReaderBuilder::new(Arc::new(Schema::new(fields)))
        .build(text.as_bytes())
        .unwrap();
    let mut rows = Vec::new();
    for batch in reader {
        cells::each_row(&batch.unwrap(), "", |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    }
    rows
}

#[test]
fn parquet_reads_back_in_plain_types() {
    let (bytes, _) = write_as(
        vec![all_kinds(), all_kinds()],
        all_kinds().schema(),
        Format::Parquet,
        None,
    );
    let rows = parquet_rows(bytes);
    let schema = rows[0].schema();
    assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
    assert_eq!(schema.field(6).data_type(), &DataType::Binary);
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    let json = written(&rows[0].slice(0, 2), Format::Json);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), kinds_as_json());
}

#[test]
fn markdown_shows_text_and_interprets_none_of_it() {
    let text = written(
        &texts(&["a|b\\|c\r\nd ![x](http://x) <b> \u{1b}[2J `_*~&"]),
        Format::Markdown,
    );
    assert_eq!(
        text,
        "| text |\n| --- |\n| a\\|b\\\\\\|c<br>d !\\[x\\](http://x) &lt;b&gt; ␛\\[2J \\`\\_\\*\\~&amp; |\n"
    );
}

#[test]
fn a_result_without_rows_still_has_its_form() {
    let empty = |format| write_as(vec![], all_kinds().schema(), format, None).0;
    let text = |format| String::from_utf8(empty(format)).unwrap();
    assert_eq!(text(Format::Csv), "text,list,int,float,bool,moment,bytes\n");
    assert_eq!(text(Format::Json), "[]");
    assert_eq!(text(Format::Ndjson), "");
    assert_eq!(text(Format::Markdown).lines().count(), 2);
    assert!(text(Format::Table).contains("moment"));
    assert_eq!(text(Format::Js), "const rows = [\n];\n");
    assert_eq!(parquet_rows(empty(Format::Parquet)).len(), 0);
    assert_eq!(arrow_rows(&empty(Format::Arrow), true).len(), 0);
    assert_eq!(arrow_rows(&empty(Format::ArrowStream), false).len(), 0);
    assert_eq!(sheet_rows(empty(Format::Xlsx)).len(), 1);
}

fn arrow_rows(bytes: &[u8], is_file: bool) -> Vec<RecordBatch> {
    use arrow::ipc::reader::{FileReader, StreamReader};
    if is_file {
        let reader = FileReader::try_new(io::Cursor::new(bytes), None).unwrap();
        reader.map(Result::unwrap).collect()
    } else {
        let reader = StreamReader::try_new(bytes, None).unwrap();
        reader.map(Result::unwrap).collect()
    }
}

#[test]
fn arrow_reads_back_in_plain_types_from_a_file_and_a_stream() {
    for (format, is_file) in [(Format::Arrow, true), (Format::ArrowStream, false)] {
        let (bytes, _) = write_as(vec![all_kinds(), all_kinds()], all_kinds().schema(), format, None);
        let rows = arrow_rows(&bytes, is_file);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].schema().field(0).data_type(), &DataType::Utf8);
        let json = written(&rows[1], Format::Json);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), kinds_as_json());
    }
}

#[test]
fn a_script_is_a_constant_of_the_same_rows_one_a_line() {
    let text = written(&all_kinds(), Format::Js);
    let array = text
        .strip_prefix("const rows = ")
        .unwrap()
        .strip_suffix(";\n")
        .unwrap();
    let mut wanted = kinds_as_json();
    wanted[0]["int"] = json!(i64::MAX.to_string());
    assert_eq!(serde_json::from_str::<Value>(array).unwrap(), wanted);
    assert_eq!(text.lines().count(), 4, "{text}");

    // What JavaScript would round is text, in lists too.
    let mut lists = ListBuilder::new(arrow_array::builder::Int64Builder::new());
    lists.append_value([Some(-(1_i64 << 53)), None, Some((1_i64 << 53) - 1), Some(-7_i64)]);
    let lists: ArrayRef = Arc::new(lists.finish());
    let unsigned: ArrayRef = Arc::new(arrow_array::UInt64Array::from(vec![u64::MAX]));
    let batch = RecordBatch::try_from_iter([("list", lists), ("unsigned", unsigned)]).unwrap();
    assert_eq!(
        written(&batch, Format::Js),
        "const rows = [\n{\"list\":[\"-9007199254740992\",null,9007199254740991,-7],\
         \"unsigned\":\"18446744073709551615\"}\n];\n"
    );

    let text = written(&texts(&["</script><!--\u{2028}"]), Format::Js);
    assert_eq!(
        text,
        "const rows = [\n{\"text\":\"\\u003c/script>\\u003c!--\\u2028\"}\n];\n"
    );

    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_from_iter([("__proto__", column)]).unwrap();
    let refused = write_error(&batch, Format::Js);
    assert!(matches!(refused, ExportError::Column(_)), "{refused}");
}

fn write_error(batch: &RecordBatch, format: Format) -> ExportError {
    let rows = stream_of(vec![batch.clone()], batch.schema());
    futures::executor::block_on(write_stream(rows, format, &mut io::sink())).unwrap_err()
}

fn sheet_rows(bytes: Vec<u8>) -> Vec<Vec<calamine::Data>> {
    use calamine::Reader;
    let mut workbook = calamine::Xlsx::new(io::Cursor::new(bytes)).unwrap();
    let sheet = workbook.worksheet_range("rows").unwrap();
    sheet.rows().map(<[calamine::Data]>::to_vec).collect()
}

#[test]
fn a_sheet_has_numbers_moments_and_truth_as_excel_knows_them() {
    use calamine::Data;
    let (bytes, _) = write_as(vec![all_kinds()], all_kinds().schema(), Format::Xlsx, None);
    let rows = sheet_rows(bytes);
    let texts = ["text", "list", "int", "float", "bool", "moment", "bytes"];
    assert_eq!(rows[0], texts.map(|text| Data::String(text.to_owned())));
    assert_eq!(rows[1][0], Data::String("a, \"b\"\nc | ü".to_owned()));
    assert_eq!(rows[1][1], Data::String(r#"["a|b","c\"d"]"#.to_owned()));
    assert_eq!(
        rows[1][2],
        Data::String(i64::MAX.to_string()),
        "Excel would round it"
    );
    assert_eq!(rows[1][3], Data::Float(0.1));
    assert_eq!(rows[1][4], Data::Bool(true));
    // 2024-01-01T11:00:00.250Z: days since 1899-12-30.
    let Data::DateTime(moment) = rows[1][5] else {
        panic!("{:?}", rows[1][5]);
    };
    let serial = moment.as_f64();
    assert!(
        (serial - (45_292.0 + 39_600.25 / 86_400.0)).abs() < 1e-9,
        "{serial}"
    );
    assert_eq!(rows[1][6], Data::String("00ff".to_owned()));
}

#[test]
fn what_excel_has_no_room_for_is_an_error_that_says_what_to_do() {
    let long = texts(&["short", "x".repeat(32_768).as_str()]);
    let refused = write_error(&long, Format::Xlsx).to_string();
    assert!(
        refused.contains("`text` has 32768 characters in row 3") && refused.contains("left(\"text\", 16383)"),
        "{refused}"
    );
    let (_, fits) = write_as(vec![long.slice(0, 1)], long.schema(), Format::Xlsx, None);
    assert_eq!(fits.rows, 1);

    let column: ArrayRef = Arc::new(BooleanArray::from(vec![true; 1_048_575]));
    let most = RecordBatch::try_from_iter([("b", column)]).unwrap();
    let (_, fits) = write_as(vec![most.clone()], most.schema(), Format::Xlsx, None);
    assert_eq!(fits.rows, 1_048_575);
    let rows = stream_of(vec![most.clone(), most.slice(0, 1)], most.schema());
    let refused = futures::executor::block_on(write_stream(rows, Format::Xlsx, &mut io::sink()));
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("more than 1048575 rows") && refused.contains(".parquet"),
        "{refused}"
    );
}

#[test]
fn moments_outside_of_the_calendar_of_excel_are_text() {
    let moments = TimestampMicrosecondArray::from(vec![-2_208_988_800_000_000, 1]).with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([("m", Arc::new(moments) as ArrayRef)]).unwrap();
    let (bytes, _) = write_as(vec![batch.clone()], batch.schema(), Format::Xlsx, None);
    let rows = sheet_rows(bytes);
    assert_eq!(
        rows[1][0],
        calamine::Data::String("1900-01-01T00:00:00Z".to_owned())
    );
    assert!(matches!(rows[2][0], calamine::Data::DateTime(_)));
}

#[test]
fn a_table_shows_control_characters_instead_of_sending_them() {
    let batch = texts(&["\u{1b}]0;owned\u{7}\u{9b}31m \u{202e}txt.exe\u{7f}\r\nnext"]);
    for width in [None, Some(40)] {
        let (bytes, _) = write_as(vec![batch.clone()], batch.schema(), Format::Table, width);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("␛]0;owned␇\\u{9b}31m"), "{text}");
        assert!(!text.replace('\n', "").contains(is_unsafe), "{text}");
    }
}

#[test]
fn a_table_keeps_within_the_terminal_and_says_what_it_shortened() {
    let batch = all_kinds();
    let long = texts(&[
        "x".repeat(200_000).as_str(),
        "日本語日本語日本語日本語日本語日本語日本語日本語日本語",
    ]);
    for (batch, width) in [(&batch, 200), (&batch, 80), (&batch, 30), (&long, 40)] {
        let (bytes, written) = write_as(vec![batch.clone()], batch.schema(), Format::Table, Some(width));
        let text = String::from_utf8(bytes).unwrap();
        for line in text.lines() {
            assert!(
                unicode_width::UnicodeWidthStr::width(line) <= width,
                "{width}: {text}"
            );
        }
        assert_eq!(text.contains('…'), !written.notes.is_empty(), "{text}");
    }
    let (bytes, written) = write_as(vec![long.clone()], long.schema(), Format::Table, None);
    assert!(bytes.len() > 200_000 && written.notes.is_empty());
}

#[test]
fn line_by_line_each_row_is_a_table_and_no_row_is_none() {
    let text = written(&texts(&["one", "other"]), Format::Line);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('│')).collect();
    assert_eq!(
        lines,
        [
            "│ row  ┆ 1   │",
            "│ text ┆ one │",
            "│ row  ┆ 2     │",
            "│ text ┆ other │"
        ]
    );
    assert_eq!(written(&texts(&[]), Format::Line), "");
}

#[test]
fn columns_of_one_name_are_all_kept() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let field = |name| Field::new(name, DataType::Int64, false);
    let schema = Arc::new(Schema::new(vec![field("a"), field("a"), field("a_2")]));
    let batch = RecordBatch::try_new(schema.clone(), vec![column.clone(), column.clone(), column]).unwrap();
    let (bytes, written) = write_as(vec![batch], schema, Format::Json, None);
    assert_eq!(
        serde_json::from_slice::<Value>(&bytes).unwrap(),
        json!([{"a": 1, "a_3": 1, "a_2": 1}])
    );
    assert_eq!(written.notes, ["a second column `a` is written as `a_3`"]);
}

#[test]
fn moments_in_lists_and_other_zones_are_utc_too() {
    let moments = TimestampMicrosecondArray::from(vec![1_704_106_800_000_000]).with_timezone("+02:00");
    let field = Arc::new(Field::new("item", moments.data_type().clone(), true));
    let offsets = arrow::buffer::OffsetBuffer::from_lengths([1]);
    let list = arrow_array::ListArray::new(field, offsets, Arc::new(moments), None);
    let batch = RecordBatch::try_from_iter([("m", Arc::new(list) as ArrayRef)]).unwrap();
    assert_eq!(
        written(&batch, Format::Json),
        r#"[{"m":["2024-01-01T11:00:00Z"]}]"#
    );
    assert_eq!(
        written(&batch, Format::Csv),
        "m\n\"[\"\"2024-01-01T11:00:00Z\"\"]\"\n"
    );
}

#[tokio::test]
async fn a_file_appears_whole_or_not_at_all_and_is_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let rows = || stream_of(vec![texts(&["x"])], texts(&["x"]).schema());
    let write = async |rows, force| write_file(rows, &path, Format::Csv.into(), origin(), force).await;
    write(rows(), false).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text\nx\n");

    let refused = write(rows(), false).await.unwrap_err();
    assert!(matches!(refused, ExportError::Exists(_)), "{refused}");
    write(rows(), true).await.unwrap();

    let broken = stream::iter([
        Ok(texts(&["new"])),
        Err(DataFusionError::Execution("disk on fire".into())),
    ]);
    let broken = Box::pin(RecordBatchStreamAdapter::new(texts(&["x"]).schema(), broken));
    assert!(matches!(write(broken, true).await, Err(ExportError::Query(_))));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "text\nx\n");
    let (checked, _) = check(&path);
    assert_eq!(
        checked.problems,
        Vec::<String>::new(),
        "its manifest is still its own"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

fn origin() -> Origin {
    Origin {
        dataset: None,
        query: Some("SELECT 'x' AS text".to_owned()),
        snapshot: 7,
        snapshot_time: "2026-11-25T10:00:00Z".parse().unwrap(),
    }
}

#[tokio::test]
async fn every_format_is_checked_with_its_rows_and_is_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    // Empty texts and absent values, alone in their row, are rows too.
    let lone: ArrayRef = Arc::new(StringViewArray::from(vec![
        Some("a"),
        Some(""),
        None,
        Some("b\nc"),
    ]));
    let lone = RecordBatch::try_from_iter_with_nullable([("lone", lone, true)]).unwrap();
    for (n, batch) in [all_kinds(), lone].into_iter().enumerate() {
        for name in Format::ALL {
            let format: Format = name.parse().unwrap();
            let write = async |name: String| {
                let path = folder.path().join(name);
                let rows = stream_of(vec![batch.clone(), batch.slice(0, 2)], batch.schema());
                let written = write_file(rows, &path, format.into(), origin(), false)
                    .await
                    .unwrap();
                (path, written)
            };
            let (path, written) = write(format!("{n}.{name}")).await;
            let (again, _) = write(format!("{n}-again.{name}")).await;
            assert_eq!(
                std::fs::read(&path).unwrap(),
                std::fs::read(&again).unwrap(),
                "{name}"
            );
            let (checked, manifest) = check(&path);
            assert_eq!(checked.problems, Vec::<String>::new(), "{n}.{name}");
            assert_eq!(checked.bytes, written.bytes);
            let counted = (format != Format::Table).then_some(written.rows);
            assert_eq!(checked.rows, counted, "{n}.{name}");
            assert_eq!(manifest.unwrap().origin, origin());
        }
    }
}

#[tokio::test]
async fn what_was_changed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let batch = texts(&["one", "two"]);
    let rows = || stream_of(vec![batch.clone()], batch.schema());
    write_file(rows(), &path, Format::Csv.into(), origin(), false)
        .await
        .unwrap();
    let beside = Manifest::path_of(&path);
    let (file, manifest) = (
        std::fs::read(&path).unwrap(),
        std::fs::read_to_string(&beside).unwrap(),
    );
    let problems = || check(&path).0.problems.join("; ");
    assert_eq!(problems(), "");
    assert_eq!(check(&beside).0.path, path, "either names both");

    let mut flipped = file.clone();
    flipped[6] ^= 1;
    std::fs::write(&path, flipped).unwrap();
    assert!(problems().starts_with("SHA-256: "), "{}", problems());
    std::fs::write(&path, &file[..9]).unwrap();
    assert!(
        problems().contains("bytes: 9, in the manifest 13"),
        "{}",
        problems()
    );
    assert!(
        problems().contains("rows: 1, in the manifest 2"),
        "{}",
        problems()
    );
    std::fs::remove_file(&path).unwrap();
    assert!(problems().contains("cannot be read"), "{}", problems());

    std::fs::write(&path, &file).unwrap();
    for (from, to) in [
        ("\"rows\": 2", "\"rows\": 3"),
        ("\"snapshot\": 7", "\"snapshot\": 8"),
        ("'x'", "'y'"),
    ] {
        std::fs::write(&beside, manifest.replace(from, to)).unwrap();
        assert!(problems().contains("was edited"), "{to}: {}", problems());
    }
    std::fs::write(&beside, manifest.replace("\"origin\"", "\"note\": 1, \"origin\"")).unwrap();
    assert!(problems().contains("not a manifest of dkc"), "{}", problems());
    std::fs::write(
        &beside,
        manifest.replace("\"manifest_version\": 1", "\"manifest_version\": 2"),
    )
    .unwrap();
    assert!(problems().contains("newer dkc"), "{}", problems());
    std::fs::remove_file(&beside).unwrap();
    assert!(problems().contains("there is no manifest"), "{}", problems());
}

#[tokio::test]
async fn rows_asked_for_again_are_the_same_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.json");
    let batch = texts(&["one", "two"]);
    let rows = |batches: Vec<RecordBatch>| stream_of(batches, batch.schema());
    write_file(
        rows(vec![batch.clone()]),
        &path,
        Format::Json.into(),
        origin(),
        false,
    )
    .await
    .unwrap();
    let Content::Table(table) = check(&path).1.unwrap().content else {
        panic!("it is a table");
    };
    let again = async |batches| {
        let mut checked = Checked::default();
        compare_again(rows(batches), &table, &mut checked).await.unwrap();
        checked.problems.join("; ")
    };
    assert_eq!(again(vec![batch.slice(1, 1), batch.slice(0, 1)]).await, "");
    assert!(
        again(vec![batch.slice(0, 1)])
            .await
            .contains("1, in the manifest 2")
    );
    assert!(
        again(vec![texts(&["one", "TWO"])])
            .await
            .contains("not the same ones")
    );
}

#[test]
fn a_destination_that_refuses_is_the_reported_cause() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for name in Format::ALL {
        let format: Format = name.parse().unwrap();
        let rows = stream_of(vec![all_kinds()], all_kinds().schema());
        match futures::executor::block_on(write_stream(rows, format, &mut Closed)) {
            Err(ExportError::Write(error)) => assert_eq!(error.kind(), io::ErrorKind::BrokenPipe),
            other => panic!("{format:?}: {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn any_text_survives_csv_json_and_parquet(values in prop::collection::vec("\\PC{0,20}|[\\x00-\\x7f]{0,20}", 1..20)) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let batch = texts(&values);
        let json: Vec<Value> = serde_json::from_str(&written(&batch, Format::Json)).unwrap();
        prop_assert!(json.iter().map(|row| row["text"].as_str().unwrap()).eq(values.iter().copied()));
        let (bytes, _) = write_as(vec![batch.clone()], batch.schema(), Format::Parquet, None);
        let json_again: Vec<Value> = serde_json::from_str(&written(&parquet_rows(bytes)[0], Format::Json)).unwrap();
        prop_assert_eq!(json, json_again);
        // A second column, so that an empty text is not an empty line.
        let twice: ArrayRef = batch.column(0).clone();
        let batch = RecordBatch::try_from_iter([("a", twice.clone()), ("b", twice)]).unwrap();
        let rows = csv_rows(&written(&batch, Format::Csv), 2);
        prop_assert!(rows.iter().skip(1).map(|row| row[0].as_str()).eq(values.iter().copied()));
    }
}
