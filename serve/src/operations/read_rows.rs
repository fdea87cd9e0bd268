//! `read_rows`: a page of the rows of a dataset.
//!
//! - A page is of one snapshot, and so are those after it, whatever is collected meanwhile.
//! - What is in memory is answered from there; the rest is asked of the lake.

use crate::lake::readable;
use crate::operation::{Call, EVERYBODY, Effect, Method, Operation, Output, Page as Answer, Reply, parse};
use crate::problem::{Kind, Problem};
use crate::toolset;
use arrow_array::RecordBatch;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::TryStreamExt as _;
use schemars::JsonSchema;
use schemas::{Column, Dataset, Home, View};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use store::lake::as_of::AsOf;
use store::page::{After, Cell, Compare, Filter, Page, key_of};
use store::query::Query;

/// The operation.
pub(crate) const OPERATION: Operation = Operation {
    name: "read_rows",
    about: "Reads rows of a dataset: some columns, filtered, sorted, page by page, as they are now or were then.",
    effect: Effect::Read,
    roles: EVERYBODY,
    method: Method::Get,
    path: "/api/v1/datasets/{dataset}/rows",
    is_heavy: false,
    is_cacheable: true,
    input: |types| types.subschema_for::<ReadRows>(),
    example: r#"{"dataset": "emails", "columns": ["date", "from_addr", "subject"], "sort": "-date", "limit": 10}"#,
    output: Output::Rows,
    toolset: &toolset::ROWS,
    holds_collected: true,
    plan: None,
    call: |call, input| Box::pin(async move { read(call, parse(input)?).await }),
};

/// Which rows.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadRows {
    /// The dataset.
    dataset: String,
    /// The columns, in this order; all of them if absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    columns: Vec<String>,
    /// What rows must fit, all of these: `COLUMN:COMPARISON:VALUE`, such as `from_addr:eq:anna@example.org`,
    /// `date:ge:2024-01-01`, `subject:contains:invoice`, `folders:has:INBOX`, `list_id:null`. Comparisons are eq, ne, lt,
    /// le, gt, ge, contains, has, null, notnull.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    filter: Vec<String>,
    /// The column to sort by, `-` before it turns the order round; that of the key if absent. Rows without a value are last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sort: Option<String>,
    /// Rows of a page.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u32,
    /// The lake as it was: the number of a snapshot, or a time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
    /// Where the page before ended, as its `next_url` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

fn fifty() -> u32 {
    50
}

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct End {
    /// Of which snapshot it was.
    s: i64,
    /// The last row's value in the column of the order.
    v: Cell,
    /// The last row's key: texts and numbers.
    k: Vec<Cell>,
    /// The order it was in.
    o: Option<String>,
    /// The digest of what was asked: the dataset, and what rows had to fit.
    d: String,
}

/// Tells pages of one listing from those of another, which has other rows.
fn digest(input: &ReadRows) -> String {
    let asked = serde_json::to_vec(&(&input.dataset, &input.filter)).unwrap_or_default();
    let digest = blake3::hash(&asked).to_hex();
    digest.get(..16).unwrap_or_default().to_owned()
}

async fn read(call: Call<'_>, input: ReadRows) -> Result<Reply, Problem> {
    let view = &call.caller.view;
    let dataset = readable(&input.dataset, view)?;
    let lake = &call.gateway.lake;
    let head = lake.head();
    let (page, snapshot) = page(dataset, view, &input)?;
    let asked = lake.moment_of(dataset, input.as_of.as_deref()).await?;
    if input.as_of.is_some() && snapshot.is_some_and(|snapshot| snapshot != asked) {
        return Err(Problem::unprocessable(
            "`after` goes on in the snapshot of the page before, and `as_of` is another; leave it out, or begin again without `after`",
        ));
    }
    let snapshot = snapshot.unwrap_or(asked);
    let listing = match snapshot == head.snapshot {
        true => lake.listing(dataset).await?,
        false => None,
    };
    let found = match listing.filter(|listing| listing.snapshot() == snapshot) {
        Some(listing) if listing.read(&page).await? => listing.page(&page)?,
        _ => {
            let (text, parameters) = page.to_sql();
            let query = Query {
                text,
                parameters,
                as_of: (dataset.home == Home::Lake).then_some(AsOf::Snapshot(snapshot)),
                view: View::clone(view),
                ..Query::default()
            };
            call.gateway.ask(query).await?
        }
    };
    let limit = usize::try_from(input.limit).unwrap_or(usize::MAX);
    let next = (found.num_rows() > limit).then(|| {
        let last = limit.saturating_sub(1);
        let cell = |column: &Column| {
            let column = found.column_by_name(column.name);
            column.map_or(Cell::Null, |column| Cell::of(column, last))
        };
        let end = End {
            s: snapshot,
            v: cell(page.order),
            k: page.key().into_iter().map(cell).collect(),
            o: input.sort.clone(),
            d: digest(&input),
        };
        let end = serde_json::to_vec(&end).unwrap_or_default();
        ReadRows {
            after: Some(URL_SAFE_NO_PAD.encode(end)),
            as_of: None,
            ..input.clone()
        }
    });
    let next = next.and_then(|next| serde_json::to_value(next).ok());
    let rows = shown(&found.slice(0, found.num_rows().min(limit)), &page.columns, view)?;
    let about = json!({
        "dataset": dataset.name,
        "snapshot": snapshot,
        "collected_at": head.collected_at(dataset.name).map(|moment| moment.to_string()),
    });
    Ok(Reply::Page(Answer { rows, about, next }))
}

/// The page that is asked for, and the snapshot of the page before it.
fn page(dataset: &'static Dataset, view: &View, input: &ReadRows) -> Result<(Page, Option<i64>), Problem> {
    let column = |name: &str| {
        let found = dataset.all_columns().find(|column| column.name == name);
        found.ok_or_else(|| {
            let names = dataset.all_columns().map(|column| column.name);
            Problem::no_such(Kind::Unprocessable, "column", name, names)
        })
    };
    let readable = |name: &str| {
        let column = column(name)?;
        match view.reads(column) {
            true => Ok(column),
            false => Err(Problem::new(
                Kind::Forbidden,
                format!("`{name}` is masked for this token, so rows cannot be chosen or sorted by it"),
            )),
        }
    };
    if let Some(column) = key_of(dataset).into_iter().find(|column| !view.reads(column)) {
        return Err(Problem::new(
            Kind::Forbidden,
            format!(
                "rows are told apart by `{}`, which is masked for this token",
                column.name
            ),
        ));
    }
    let mut named = HashSet::new();
    if let Some(twice) = input.columns.iter().find(|name| !named.insert(*name)) {
        return Err(Problem::unprocessable(format!(
            "`{twice}` is twice among the columns"
        )));
    }
    let columns = match input.columns.as_slice() {
        [] => dataset.all_columns().collect(),
        names => names
            .iter()
            .map(|name| column(name))
            .collect::<Result<Vec<_>, _>>()?,
    };
    let filters = input.filter.iter().map(|text| filter(text, readable));
    let filters = filters.collect::<Result<Vec<_>, _>>()?;
    let (descending, order) = match input.sort.as_deref() {
        Some(sort) => match sort.strip_prefix('-') {
            Some(name) => (true, readable(name)?),
            None => (false, readable(sort)?),
        },
        None => {
            let first = key_of(dataset).first().copied();
            (
                false,
                first.ok_or_else(|| Problem::unprocessable("it has no key"))?,
            )
        }
    };
    if matches!(order.kind, schemas::Kind::TextList | schemas::Kind::Bytes) {
        return Err(Problem::unprocessable(format!(
            "rows cannot be sorted by `{}`",
            order.name
        )));
    }
    let end = input.after.as_deref().map(|after| {
        let bytes = URL_SAFE_NO_PAD.decode(after).ok();
        let end = bytes.and_then(|bytes| serde_json::from_slice::<End>(&bytes).ok());
        let fits = |end: &End| {
            let key = key_of(dataset);
            let is_of = |(cell, column): (&Cell, &&Column)| {
                matches!(
                    (cell, column.kind),
                    (Cell::Text(_), schemas::Kind::Text) | (Cell::Int(_), schemas::Kind::Int)
                )
            };
            let is_of_this = end.o == input.sort && end.d == digest(input);
            is_of_this && end.k.len() == key.len() && end.k.iter().zip(&key).all(is_of)
        };
        end.filter(fits).ok_or_else(|| {
            Problem::unprocessable(
                "`after` does not come from the `next_url` of a page of this dataset, filter and sort; begin again without it",
            )
        })
    });
    let end = end.transpose()?;
    let snapshot = end.as_ref().map(|end| end.s);
    let page = Page {
        dataset,
        columns,
        filters,
        order,
        descending,
        after: end.map(|end| After {
            value: end.v,
            key: end.k,
        }),
        // One more tells whether there is another page.
        rows: usize::try_from(input.limit)
            .unwrap_or(usize::MAX)
            .saturating_add(1),
    };
    Ok((page, snapshot))
}

fn filter(text: &str, column: impl Fn(&str) -> Result<&'static Column, Problem>) -> Result<Filter, Problem> {
    let mut parts = text.splitn(3, ':');
    let (Some(name), Some(comparison)) = (parts.next(), parts.next()) else {
        return Err(Problem::unprocessable(
            "a filter is `COLUMN:COMPARISON:VALUE`, such as `from_addr:eq:anna@example.org`",
        ));
    };
    let column = column(name)?;
    let compare = Compare::ALL.iter().find(|(known, _)| *known == comparison);
    let compare = compare.map(|(_, compare)| *compare).ok_or_else(|| {
        let names = Compare::ALL.iter().map(|(name, _)| *name);
        Problem::no_such(Kind::Unprocessable, "comparison", comparison, names)
    })?;
    if !compare.fits(column.kind) {
        return Err(Problem::unprocessable(format!(
            "`{comparison}` cannot be asked of `{name}`"
        )));
    }
    let value = match (compare.is_unary(), parts.next()) {
        (true, None | Some("")) => Cell::Null,
        (false, Some(value)) => Cell::parse(value, column).ok_or_else(|| {
            Problem::unprocessable(format!("`{name}` has no values such as that of its filter"))
        })?,
        _ => {
            return Err(Problem::unprocessable(format!(
                "`{name}:{comparison}` needs {} value",
                if compare.is_unary() { "no" } else { "a" }
            )));
        }
    };
    Ok(Filter {
        column,
        compare,
        value,
    })
}

/// These columns of the rows, without what may not be read.
fn shown(rows: &RecordBatch, columns: &[&'static Column], view: &View) -> Result<RecordBatch, Problem> {
    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for column in columns {
        let Some((at, field)) = rows.schema_ref().column_with_name(column.name) else {
            continue;
        };
        let array = match view.reads(column) {
            true => rows.column(at).clone(),
            false => arrow_array::new_null_array(field.data_type(), rows.num_rows()),
        };
        fields.push(field.clone().with_nullable(true));
        arrays.push(array);
    }
    let schema = Arc::new(arrow_schema::Schema::new(fields));
    Ok(RecordBatch::try_new(schema, arrays)?)
}

impl crate::Gateway {
    /// The rows of a query of dkc's own making, of which there are few.
    pub(crate) async fn ask(&self, query: Query) -> Result<RecordBatch, Problem> {
        // Few at once: each has memory of its own.
        let _turn = self
            .asking
            .acquire()
            .await
            .map_err(|error| Problem::internal(&error))?;
        let reader = self.reader();
        let answered = self.queries.spawn(async move {
            let rows = reader.answer(&query).await?;
            let schema = rows.schema();
            let batches: Vec<RecordBatch> =
                rows.try_collect().await.map_err(store::query::QueryError::from)?;
            let rows = arrow::compute::concat_batches(&schema, &batches);
            Ok::<_, Problem>(rows?)
        });
        answered.await.map_err(|error| Problem::internal(&error))?
    }
}
