//! What whoever has a token of the role `public` is told of where things lie on the owner's machine: nothing.
//!
//! - A folder has a name that is nowhere else. All that the public may ask is asked, over REST and as an agent does, and the
//!   name is in no answer; then the owner asks, who is told.
//! - Not here: what people wrote (`gateway`), and what secrets hold (`injections`).

use crate::it::gateway::{self, Served};
use crate::it::lab::Lab;
use crate::it::{git, mcp, photos};
use reqwest::{RequestBuilder, Url};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The folder that everything lies in.
const PLACE: &str = "zqhideaway";

/// A lab in which all that is collected, and the data directory, lie in one folder; of each kind something is broken.
fn lab() -> Lab {
    let source = |name: &str, source: &str| format!("[[pipeline]]\nname = \"{name}\"\nsource = {source}\n\n");
    let config = [
        "[serve.queries.all_runs]\nabout = \"All runs\"\nsql = \"SELECT * FROM runs\"\n\n".to_owned(),
        source("mail", "{ kind = \"maildir\", path = \"zqhideaway/mail\" }"),
        source(
            "notes",
            "{ kind = \"documents\", roots = [\"zqhideaway/notes\"] }",
        ),
        source(
            "pictures",
            "{ kind = \"photos\", roots = [\"zqhideaway/pictures\"] }",
        ),
        source(
            "code",
            "{ kind = \"git\", paths = [\"zqhideaway/one\", \"zqhideaway/two\"] }",
        ),
        source("nowhere", "{ kind = \"git\", paths = [\"zqhideaway/nowhere\"] }"),
    ];
    let lab = Lab::new(&config.concat()).with_data("zqhideaway/data");
    let at = |name: &str| format!("{PLACE}/{name}");
    lab.write(at("mail/cur/1577836800.000001.host:2,"), gateway::mail(1));
    lab.write(
        at("notes/plan.md"),
        "# Plan\n\nBuy a boat. See [this](other.md).\n",
    );
    lab.write(at("notes/broken.pdf"), "%PDF-1.7\nnot a page in it\n");
    lab.write(at("pictures/Canon.jpg"), photos::sample("Canon.jpg"));
    lab.write(at("pictures/empty.jpg"), "");
    for name in ["one/shop", "two/shop"] {
        let shop = git::init(&lab, &at(name));
        git::commit(&shop, "main.txt", "one\n");
        let remote = format!("file://{}", lab.path(at("origin.git")).display());
        git::git(&shop, &["remote", "add", "origin", &remote]);
    }
    let linked = lab.path(at("linked")).display().to_string();
    git::git(
        &lab.path(at("one/shop")),
        &["worktree", "add", "--quiet", &linked, "-b", "linked"],
    );
    let odd = git::init(&lab, &at("one/odd"));
    std::fs::write(odd.join(".git/HEAD"), "nonsense").unwrap();
    // Not all goes well.
    let said = lab.said(&["run", "--json"]);
    assert_ne!(said.code, Some(0), "{said:#?}");
    lab
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The request of an operation with an input, as the OpenAPI document tells it.
fn asked(served: &Served, token: &str, document: &Value, operation: &str, input: &Value) -> RequestBuilder {
    let paths = document["paths"].as_object().unwrap().iter();
    let mut routes = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(move |(method, about)| (path, method, about))
    });
    let (path, method, _) = routes
        .find(|(_, _, about)| about["operationId"] == operation)
        .unwrap_or_else(|| panic!("{operation} has no route"));
    let mut rest = input.as_object().unwrap().clone();
    let mut url = Url::parse(&served.url).unwrap();
    {
        let mut segments = url.path_segments_mut().unwrap();
        segments.clear();
        for part in path.trim_start_matches('/').split('/') {
            match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
                Some(name) => segments.push(&text(&rest.remove(name).unwrap())),
                None => segments.push(part),
            };
        }
    }
    if method == "post" {
        return served.client.post(url).bearer_auth(token).json(&rest);
    }
    for (name, value) in &rest {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        for value in &values {
            url.query_pairs_mut().append_pair(name, &text(value));
        }
    }
    served.client.get(url).bearer_auth(token)
}

/// What an operation is asked, where its example is of another lab or does not ask for all.
fn inputs(lab: &Lab, datasets: &[String], tool: &str, example: &Value) -> Vec<Value> {
    let item = |dataset: &str| {
        let rows = lab.sql(&format!("SELECT _item FROM {dataset} ORDER BY 1 LIMIT 1"));
        text(&rows[0]["_item"])
    };
    let each = |input: &dyn Fn(&str) -> Vec<Value>| -> Vec<Value> {
        datasets
            .iter()
            .flat_map(|dataset| input(dataset.as_str()))
            .collect()
    };
    match tool {
        "describe_dataset" => each(&|dataset| vec![json!({ "dataset": dataset })]),
        "read_rows" => each(&|dataset| {
            vec![
                json!({ "dataset": dataset, "limit": 1000 }),
                json!({ "dataset": dataset, "limit": 1, "columns": ["_item", "_source"] }),
            ]
        }),
        "export_dataset" => each(&|dataset| {
            let file = |format: &str| json!({ "file": format!("{dataset}.{format}") });
            vec![file("ndjson"), file("csv")]
        }),
        "get_item" => [
            "emails",
            "documents",
            "photos",
            "git_commits",
            "git_repositories",
            "raw",
        ]
        .map(|dataset| json!({ "dataset": dataset, "item": item(dataset) }))
        .into(),
        "run_sql" => {
            let mut inputs = each(&|dataset| {
                let query = |text: &str| json!({ "query": text.replace("NAME", dataset) });
                vec![
                    query("SELECT * FROM NAME"),
                    query("SELECT * FROM as_of('NAME', 3)"),
                    query("SELECT * FROM changes('NAME', 0)"),
                    query("SELECT * FROM search('NAME', 'boat')"),
                    query("EXPLAIN SELECT * FROM NAME"),
                    query("SELECT nonsense FROM NAME"),
                ]
            });
            inputs.push(json!({ "query": "SELECT * FROM information_schema.columns" }));
            inputs
        }
        "run_query" => vec![json!({ "query": "all_runs" }), json!({ "query": "all" })],
        "get_commit_history" => vec![
            json!({}),
            json!({ "repository": "one/shop" }),
            json!({ "repository": "shop" }),
            json!({ "path": "main.txt" }),
        ],
        "get_email" => vec![json!({ "item": item("emails") })],
        "get_photo_metadata" => vec![json!({ "item": item("photos") })],
        "get_section" => vec![
            json!({ "path": "plan.md", "line": 1 }),
            json!({ "path": "plam.md", "line": 1 }),
        ],
        "list_sections" => vec![json!({}), json!({ "path": "plan.md" }), json!({ "project": "x" })],
        "list_events" => vec![json!({ "after": 0, "wait": 5 })],
        "search_photos" => vec![json!({}), json!({ "album": "pictures" })],
        "search" => vec![
            json!({ "q": "boat" }),
            json!({ "q": "boat", "in": ["documents"] }),
            json!({ "q": "path:plan.md" }),
        ],
        _ => vec![example.clone()],
    }
}

#[tokio::test]
async fn the_public_is_not_told_where_on_the_owners_machine_something_lies() {
    let lab = lab();
    let of = |query: &str| json!(lab.sql(query)).to_string();
    for query in [
        "SELECT path FROM git_repositories",
        "SELECT remote_url FROM git_repositories",
        "SELECT work_trees FROM git_repositories",
        "SELECT path FROM documents",
        "SELECT path FROM photos",
        "SELECT path FROM raw",
        "SELECT location FROM locations",
        "SELECT _item, item, raw FROM rejects",
        "SELECT error FROM runs",
    ] {
        assert!(of(query).contains(PLACE), "{query}: {}", of(query));
    }
    // What tells two repositories apart is not all of their paths.
    assert_eq!(
        of("SELECT repository FROM git_repositories ORDER BY 1"),
        r#"[{"repository":"one/shop"},{"repository":"two/shop"}]"#
    );

    let (served, dev) = Served::start(&lab);
    let public = gateway::token(&lab, "public", &["--role", "public", "--rate", "100000"]);
    let mut heard: Vec<(String, String)> = Vec::new();
    let mut answered = BTreeSet::new();
    let document = gateway::answer(served.get(&public, "/openapi.json").send().await.unwrap())
        .await
        .1;
    let listed = gateway::answer(served.get(&public, "/api/v1/tools").send().await.unwrap())
        .await
        .1;
    let datasets = gateway::answer(served.get(&public, "/api/v1/datasets").send().await.unwrap())
        .await
        .1;
    let datasets: Vec<String> = datasets["datasets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dataset| text(&dataset["name"]))
        .collect();
    assert!(datasets.len() > 10, "{datasets:?}");
    for tool in listed["tools"].as_array().unwrap() {
        let name = text(&tool["name"]);
        assert_eq!(tool["acts"], false, "{name}");
        for input in inputs(&lab, &datasets, &name, &tool["example"]) {
            let response = asked(&served, &public, &document, &name, &input)
                .send()
                .await
                .unwrap();
            let (status, headers) = (response.status(), format!("{:?}", response.headers()));
            if status.is_success() {
                answered.insert(name.clone());
            }
            assert!(
                !status.is_server_error() || status == 503,
                "{name} {input}: {status}"
            );
            let body = String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned();
            heard.push((format!("{name} {input}"), format!("{headers}\n{body}")));
            let call = json!({ "name": name, "arguments": input });
            let called = mcp::request_at(&served, "/mcp?toolsets=all", &public, "tools/call", call);
            let said = mcp::message(called.send().await.unwrap()).await;
            heard.push((format!("the tool {name} {input}"), said.to_string()));
        }
    }
    for name in [
        "describe_dataset",
        "export_dataset",
        "get_commit_history",
        "get_email",
        "get_item",
        "get_photo_metadata",
        "list_events",
        "list_sections",
        "read_rows",
        "run_query",
        "run_sql",
        "search_schema",
    ] {
        assert!(answered.contains(name), "{name}: {answered:?}");
    }
    for path in ["/readyz", "/openapi.json", "/api/v1/no/such", "/metrics"] {
        let response = served.get(&public, path).send().await.unwrap();
        heard.push((path.to_owned(), response.text().await.unwrap()));
    }
    for (list, items) in [
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ] {
        let asked = mcp::request_at(&served, "/mcp?toolsets=all", &public, list, json!({}));
        let said = mcp::message(asked.send().await.unwrap()).await;
        for resource in said["result"][items].as_array().into_iter().flatten() {
            if let Some(uri) = resource["uri"].as_str() {
                let asked = mcp::request(&served, &public, "resources/read", json!({ "uri": uri }));
                let read = mcp::message(asked.send().await.unwrap()).await;
                heard.push((uri.to_owned(), read.to_string()));
            }
        }
        heard.push((list.to_owned(), said.to_string()));
    }
    let folder = lab.path("").display().to_string();
    let folder = folder.trim_end_matches('/');
    let leaks: BTreeMap<&str, &str> = heard
        .iter()
        .filter(|(_, said)| said.contains(PLACE) || said.contains(folder))
        .map(|(whose, said)| (whose.as_str(), said.as_str()))
        .collect();
    assert!(leaks.is_empty(), "{leaks:#?}");

    // Nor is it found out by asking whether it is so.
    for (table, column) in [
        ("git_repositories", "path"),
        ("rejects", "_item"),
        ("rejects", "raw"),
        ("runs", "error"),
    ] {
        let query =
            json!({ "query": format!("SELECT count(*) AS n FROM {table} WHERE {column} LIKE '%hidea%'") });
        for (token, is_told) in [(&public, false), (&dev, true)] {
            let asked = asked(&served, token, &document, "run_sql", &query);
            let (status, counted) = gateway::answer(asked.send().await.unwrap()).await;
            assert_eq!(status, 200, "{query}: {counted}");
            let found = counted["rows"][0]["n"].as_i64().unwrap() > 0;
            assert_eq!(found, is_told, "{query}: {counted}");
        }
    }
    // Rows that only a place tells apart have no pages for the public, and for the owner all of them.
    for dataset in ["rejects", "locations"] {
        let rows = json!({ "dataset": dataset, "limit": 1 });
        let refused = asked(&served, &public, &document, "read_rows", &rows);
        assert_eq!(refused.send().await.unwrap().status(), 403, "{dataset}");
        let all = lab.number(&format!("SELECT count(*) FROM {dataset}"));
        let mut next = format!("/api/v1/datasets/{dataset}/rows?limit=1");
        let mut pages = 0;
        loop {
            let page = gateway::answer(served.get(&dev, &next).send().await.unwrap()).await;
            assert_eq!(page.0, 200, "{next}: {}", page.1);
            pages += 1;
            match page.1["next_url"].as_str() {
                Some(url) => url.clone_into(&mut next),
                None => break,
            }
        }
        assert_eq!(pages, all, "{dataset}");
    }
}
