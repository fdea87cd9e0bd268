//! What a reader's SQL may do, and what it sees.

use crate::{ask, commit, files, limits, source, with_one_mail};
use futures::TryStreamExt as _;
use schemas::datasets::emails::DATASET;
use schemas::{Privacy, View};
use store::Store;
use store::lake::as_of::AsOf;
use store::query::{Query, QueryError};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_the_snapshot_that_is_newest_when_it_begins() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    let mut committer = store.committer(&source()).await.unwrap();
    for at in 1..4 {
        let item = format!("item-{at}");
        commit(&mut committer, &[(&item, "subject")], &[], at).await;
        assert_eq!(ask(&store, "select count(*) from emails").await, at.to_string());
    }
    assert_eq!(
        ask(
            &store,
            "select min(date), array_length(folders) from emails group by 2"
        )
        .await,
        "2023-11-14T22:13:20Z,1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_sql_is_refused_and_changes_no_file() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let secret = data.path().join("secret.csv");
    std::fs::write(&secret, "a,b\n1,2\n").unwrap();
    let before = files(data.path());
    let secret = secret.display();
    for sql in [
        format!("select * from '{secret}'"),
        format!("select * from \"{secret}\""),
        format!("select * from read_csv('{secret}')"),
        format!("create external table t stored as csv location '{secret}'"),
        format!("copy (select 1) to '{secret}.out'"),
        format!("explain analyze copy (select 1) to '{secret}.out'"),
        "insert into emails select * from emails".to_owned(),
        "delete from emails".to_owned(),
        "update emails set subject = ''".to_owned(),
        "create table t as select 1".to_owned(),
        "create view v as select 1".to_owned(),
        "drop table emails".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "select 1; drop table emails".to_owned(),
        "with t as (delete from emails returning *) select * from t".to_owned(),
        "select * into t from emails".to_owned(),
        "show all".to_owned(),
        "select * from information_schema.df_settings".to_owned(),
    ] {
        assert!(
            store
                .reader(limits())
                .answer(&Query::from(sql.as_str()))
                .await
                .is_err(),
            "{sql}"
        );
    }
    let after: Vec<_> = files(data.path());
    assert_eq!(before, after);
    assert_eq!(ask(&store, "select count(*) from emails").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_may_lie_in_a_folder_of_any_name() {
    for name in [
        "Jürgen's Büro",
        "日本",
        "a~b",
        "100%",
        "a%20b",
        "c#",
        "[x]{y}",
        "why?",
        "a|b^c\"d",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_writer(&folder.path().join(name)).await.unwrap();
        let mut committer = store.committer(&source()).await.unwrap();
        commit(&mut committer, &[("a", "one"), ("b", "two")], &[], 1).await;
        commit(&mut committer, &[("a", "three")], &[], 2).await;
        let asked = ask(&store, "select max(subject), count(*) from emails").await;
        assert_eq!(asked, "two,2", "{name}");
    }
}

/// Why a query has no answer.
async fn failure(store: &Store, query: &Query) -> QueryError {
    let reader = store.reader(limits());
    match reader.answer(query).await {
        Err(error) => error,
        Ok(rows) => QueryError::from(rows.try_collect::<Vec<_>>().await.unwrap_err()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_or_column_that_is_not_there_is_told_with_the_nearest_that_the_reader_may_know() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let photos = View {
        datasets: Some(["photos".to_owned()].into()),
        ..View::default()
    };
    let table = "there is no table `emals`; did you mean `emails`? There are: emails, ";
    for (text, told) in [
        ("select * from emals", table),
        ("select count(*) from (select 1 from main.emals)", table),
        ("describe emals", table),
        ("show columns from emals", table),
        (
            "select subjct from emails",
            "there is no column `subjct`; did you mean `subject`? There are: subject, ",
        ),
        (
            "select e.subjct from emails e",
            "there is no column `e.subjct`; did you mean `e.subject`? There are: e.subject, ",
        ),
        (
            "with t as (select 1 as a) select * from t join emals on true",
            table,
        ),
    ] {
        let error = failure(&store, &Query::from(text)).await;
        assert!(error.to_string().starts_with(told), "{text}: {error}");
        // Whoever may see photos only learns of nothing else.
        let some = Query {
            view: photos.clone(),
            ..Query::from(text)
        };
        let error = failure(&store, &some).await.to_string();
        assert!(error.ends_with("; there are: photos"), "{text}: {error}");
    }
    // What is wrong elsewhere is told as it was.
    let error = failure(&store, &Query::from("select lower(subject, 1) from emails")).await;
    assert!(matches!(error, QueryError::Engine(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_is_not_there_is_told_with_tables_as_they_are_written() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    for (text, told) in [
        (
            "select * from lake.emails",
            "there is no table `lake.emails`; did you mean `main.emails`? There are: main.emails, ",
        ),
        (
            "select * from lake.lake.emails",
            "there is no table `lake.lake.emails`; did you mean `lake.main.emails`? There are: lake.main.emails, ",
        ),
        (
            "select * from lak.main.emails",
            "there is no table `lak.main.emails`; did you mean `lake.main.emails`? There are: lake.main.emails, ",
        ),
        (
            "select * from lake.main.emals",
            "there is no table `emals`; did you mean `emails`? There are: emails, ",
        ),
    ] {
        let error = failure(&store, &Query::from(text)).await.to_string();
        assert!(error.starts_with(told), "{text}: {error}");
    }
    let written = "select count(emails.subject) from lake.main.emails";
    assert_eq!(ask(&store, written).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_not_there_is_told_with_the_nearest() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    for (text, told) in [
        (
            "select lowr(subject) from emails",
            "there is no function `lowr`; did you mean `lower`? There are: lower, ",
        ),
        (
            "select LOWR(subject) from emails",
            "there is no function `lowr`; did you mean `lower`? ",
        ),
        (
            "select 1 from emails having conut(*) > 1",
            "there is no function `conut`; did you mean `count`? ",
        ),
        (
            "select row_nubmer() over (order by date) from emails",
            "there is no function `row_nubmer`; did you mean `row_number`? ",
        ),
        (
            "select * from serach('emails', 'x')",
            "there is no table function `serach`; did you mean `search`? There are: search, ",
        ),
        (
            "select * from emails, lateral as_off('emails', 1)",
            "there is no table function `as_off`; did you mean `as_of`? There are: as_of, ",
        ),
    ] {
        let error = failure(&store, &Query::from(text)).await;
        assert!(matches!(error, QueryError::NoSuch(_)), "{error:?}");
        assert!(error.to_string().starts_with(told), "{text}: {error}");
    }
    // What is there is not told as missing where something else is wrong.
    for text in [
        "select unnest(subject) from emails",
        "select row_number() from emails",
    ] {
        let error = failure(&store, &Query::from(text)).await;
        assert!(matches!(error, QueryError::Engine(_)), "{text}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_of_a_table_function_that_is_not_there_is_told_with_the_nearest() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let photos = View {
        datasets: Some(["photos".to_owned()].into()),
        ..View::default()
    };
    for call in [
        "as_of('emial', 1)",
        "changes('emial', 1)",
        "search('emial', 'x')",
        "text_search('emial', 'x')",
        "vector_search('emial', 'x')",
    ] {
        let query = Query::from(format!("select * from {call}").as_str());
        let error = failure(&store, &query).await.to_string();
        let told = "there is no dataset `emial`; did you mean `emails`? There are: emails, ";
        assert!(error.starts_with(told), "{call}: {error}");
        // What is not in the lake has no past, and is not searched.
        assert!(!error.contains("runs"), "{call}: {error}");
        let some = Query {
            view: photos.clone(),
            ..query
        };
        let error = failure(&store, &some).await.to_string();
        assert_eq!(error, "there is no dataset `emial`; there are: photos", "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_is_missing_or_cut_is_named() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let head = store.catalog().head().await.unwrap().id;
    let live = store.catalog().files_at(&DATASET, head, None).await.unwrap();
    let path = live[0].path.clone();
    let below = path.strip_prefix(store.data()).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let now = Query::from("select subject, body_text from emails");
    let then = Query {
        as_of: Some(AsOf::Snapshot(head)),
        ..now.clone()
    };
    let short = "is cut off or damaged";
    for (left, wrong) in [
        (None, "is missing"),
        (Some(whole.len() / 2), short),
        (Some(whole.len() - 1), short),
        (Some(0), short),
    ] {
        std::fs::remove_file(&path).unwrap();
        if let Some(left) = left {
            std::fs::write(&path, &whole[..left]).unwrap();
        }
        for query in [&now, &then] {
            let error = failure(&store, query).await;
            let lost = QueryError::Lost {
                file: below.display().to_string(),
                how: wrong.to_owned(),
            };
            assert_eq!(error, lost, "{left:?}");
            assert!(error.to_string().contains("`dkc verify`"), "{error}");
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert_eq!(ask(&store, "select count(subject) from emails").await, "1");
    // What is wrong with a query itself is told as before.
    let error = failure(&store, &Query::from("select nothing from emails")).await;
    assert!(matches!(error, QueryError::NoSuch(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_search_reads_what_is_masked_is_told() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let public = |text: &str| Query {
        view: View {
            hidden: Some(Privacy::Private),
            ..View::default()
        },
        ..Query::from(text)
    };
    let error = failure(&store, &public("select * from search('emails', 'x')")).await;
    let told = "`emails` cannot be searched with this token: some of what is read for it is masked";
    assert_eq!(error.to_string(), told);
    let error = failure(&store, &public("select * from search('runs', 'x')")).await;
    assert_eq!(error.to_string(), "`runs` cannot be searched");
    let error = failure(&store, &Query::from("select * from search('email', 'x')")).await;
    assert!(
        error
            .to_string()
            .contains("no dataset `email`; did you mean `emails`?"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_may_be_of_any_year() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    for (condition, count) in [
        ("date < TIMESTAMP '3000-01-01'", 1),
        ("date > TIMESTAMP '3000-01-01 00:00:00'", 0),
        ("date < CAST('3000-01-01' AS TIMESTAMP)", 1),
        ("date < '3000-01-01'::timestamptz", 1),
        ("date > '0001-01-01'", 1),
        ("'0001-01-01' >= date", 0),
        ("date between '1000-01-01' and '9999-12-31'", 1),
        ("date not between '1000-01-01' and '9999-12-31'", 0),
        ("date in ('3000-01-01', '2023-11-14T22:13:20Z')", 1),
        ("date = '2023-11-14T22:13:20Z'", 1),
        ("date < '2023-11-14 22:13:20'", 0),
        ("date < '2023-11-14T22:13:20.000001Z'", 1),
        ("date < DATE '9999-12-31'", 1),
        ("DATE '0001-01-01' >= date", 0),
        ("date between DATE '1000-01-01' and DATE '9999-12-31'", 1),
        ("date in (DATE '3000-01-01', DATE '2023-11-14')", 0),
        ("date >= DATE '2023-11-14'", 1),
        ("date >= DATE '2023-11-15'", 0),
        ("date::date = DATE '2023-11-14'", 1),
        ("date > current_date - interval '1000 years'", 1),
        ("date > now() - interval '1 day'", 0),
        ("date < now()", 1),
        ("date < :then", 1),
        ("date < CAST(:then AS TIMESTAMP WITH TIME ZONE)", 1),
        ("_item in (select _item from emails where date > '0001-01-01')", 1),
    ] {
        let query = Query {
            parameters: [("then".to_owned(), "3000-01-01".into())].into(),
            ..Query::from(format!("select subject from emails where {condition}").as_str())
        };
        let rows = store.reader(limits()).answer(&query).await.unwrap();
        let rows = rows.try_collect::<Vec<_>>().await.unwrap();
        let found: usize = rows.iter().map(|rows| rows.num_rows()).sum();
        assert_eq!(found, count, "{condition}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_any_year_may_stand_beside_a_moment() {
    let data = tempfile::tempdir().unwrap();
    let store = with_one_mail(data.path()).await;
    let (mail, first, last) = (
        "2023-11-14T22:13:20Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T00:00:00Z",
    );
    let both = format!("{mail}\n{last}");
    for (text, answer) in [
        ("select coalesce(date, DATE '9999-12-31') from emails", mail),
        (
            "select coalesce(nullif(date, date), DATE '9999-12-31') from emails",
            last,
        ),
        ("select greatest(date, DATE '9999-12-31') from emails", last),
        ("select greatest(date, '9999-12-31') from emails", last),
        ("select least(DATE '0001-01-01', date) from emails", first),
        ("select nvl2(date, DATE '9999-12-31', date) from emails", last),
        (
            "select case when subject is null then date else DATE '9999-12-31' end from emails",
            last,
        ),
        (
            "select case when subject is null then DATE '9999-12-31' else date end from emails",
            mail,
        ),
        (
            "select case date when DATE '9999-12-31' then 1 else 0 end from emails",
            "0",
        ),
        (
            "select date from emails union all select DATE '9999-12-31' order by 1",
            both.as_str(),
        ),
        (
            "select DATE '9999-12-31' as d union all select date from emails order by d",
            both.as_str(),
        ),
        (
            "select date as d from emails union all by name select DATE '9999-12-31' as d order by d",
            both.as_str(),
        ),
        (
            "select max(d) from (select DATE '9999-12-31' as d union select date from emails)",
            last,
        ),
        // In microseconds.
        (
            "select cast(date - DATE '2023-11-14' as bigint) from emails",
            "80000000000",
        ),
        (
            "select cast(DATE '9999-12-31' - date as bigint) > 0 from emails",
            "true",
        ),
        // What stands above knows the type.
        (
            "select count(*) from (select coalesce(date, DATE '9999-12-31') as d from emails) where d < DATE '9999-12-30'",
            "1",
        ),
        (
            "select max(case when subject is null then DATE '9999-12-31' else date end) as d from emails \
             union all select DATE '9999-12-31' order by d",
            both.as_str(),
        ),
        (
            "select coalesce(date_trunc('day', date)::date, DATE '9999-12-31') from emails",
            "2023-11-14",
        ),
    ] {
        assert_eq!(ask(&store, text).await, answer, "{text}");
    }
}
