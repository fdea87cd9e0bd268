//! What a reader's SQL may do, and what it sees.

use crate::{ask, commit, files, source};
use std::time::Duration;
use store::Store;
use store::query::Limits;

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
    let store = Store::open_writer(data.path()).await.unwrap();
    commit(
        &mut store.committer(&source()).await.unwrap(),
        &[("a", "one")],
        &[],
        1,
    )
    .await;
    let secret = data.path().join("secret.csv");
    std::fs::write(&secret, "a,b\n1,2\n").unwrap();
    let before = files(data.path());
    let secret = secret.display();
    let limits = Limits {
        memory_bytes: 64 << 20,
        time: Duration::from_secs(20),
        threads: 2,
    };
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
        assert!(store.reader(limits).run_user_sql(&sql).await.is_err(), "{sql}");
    }
    let after: Vec<_> = files(data.path());
    assert_eq!(before, after);
    assert_eq!(ask(&store, "select count(*) from emails").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_or_too_much_ends_with_a_reason() {
    use futures::StreamExt;
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    let end = async |sql: &str, limits: Limits| {
        let mut rows = store.reader(limits).run_user_sql(sql).await.unwrap();
        while let Some(batch) = rows.next().await {
            if let Err(error) = batch {
                return error.to_string();
            }
        }
        "done".to_owned()
    };
    let time = Limits {
        memory_bytes: 1 << 30,
        time: Duration::from_millis(200),
        threads: 2,
    };
    let endless = "with recursive n as (select 1 as i union all select i + 1 from n) select count(*) from n";
    let said = end(endless, time).await;
    assert!(said.contains("longer than"), "{said}");
    let memory = Limits {
        memory_bytes: 1 << 20,
        time: Duration::from_secs(60),
        threads: 2,
    };
    let wide = "select a.value, string_agg(b.value, ',') from unnest(range(1, 2000)) a(value), unnest(range(1, 2000)) b(value) group by 1";
    let said = end(
        &wide.replace("b.value, ','", "cast(b.value as varchar), ','"),
        memory,
    )
    .await;
    assert!(
        said.to_lowercase().contains("resources exhausted") || said.contains("memory"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_planned_for_ever_ends_in_time() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open_writer(data.path()).await.unwrap();
    // Each doubles the plan: 2^13 scans, two seconds of planning in one go.
    let tables: String = (1..=13)
        .map(|n| {
            format!(
                ", t{n} as (select * from t{before} union all select * from t{before})",
                before = n - 1
            )
        })
        .collect();
    let sql = format!("with t0 as (select 1 as x){tables} select count(*) from t13");
    let limits = Limits {
        memory_bytes: 64 << 20,
        time: Duration::from_millis(200),
        threads: 2,
    };
    let began = std::time::Instant::now();
    let said = match store.reader(limits).run_user_sql(&sql).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it was planned in {:?}", began.elapsed()),
    };
    assert!(said.contains("took longer"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
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
