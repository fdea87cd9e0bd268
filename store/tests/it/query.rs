//! What a reader's SQL may do, and what it sees.

use crate::{ask, commit, files, limits, source, with_one_mail};
use store::Store;
use store::query::Query;

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
