//! A place to try dkc in: a configuration, a Maildir, data directories, and other programs that look on.

use schemas::{Dataset, Digest, Home, Kind, datasets};
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The table of a configuration whose store is in the Postgres of [`Lab::on_postgres`].
pub const POSTGRES: &str = "[store]\npostgres = \"env:DKC_POSTGRES\"\n\n";

/// The Maildir that [`Lab::deliver`] fills, as a pipeline.
pub const MAIL: &str = "[[pipeline]]\nname = \"mail\"\nsource = { kind = \"maildir\", path = \"mail\" }\n";

/// Longer, and dkc hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with `dkc.toml` in it, and a data directory.
#[derive(Clone)]
pub struct Lab {
    folder: Arc<TempDir>,
    data: PathBuf,
    environment: Vec<(String, String)>,
}

/// What a process left behind.
#[derive(Debug)]
pub struct Said {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Lab {
    /// A lab with this configuration, and nothing collected.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("dkc.toml"), config).unwrap();
        let data = folder.path().join("data");
        Self {
            folder: Arc::new(folder),
            data,
            environment: Vec::new(),
        }
    }

    /// A lab with this configuration, whose store is in a database of its own.
    pub fn on_postgres(config: &str) -> Self {
        Self::new(&format!("{POSTGRES}{config}")).with("DKC_POSTGRES", &fixtures::postgres::fresh())
    }

    /// The same, with a variable in the environment of every `dkc`.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same sources with another data directory.
    pub fn with_data(&self, name: &str) -> Self {
        Self {
            folder: Arc::clone(&self.folder),
            data: self.path(name),
            environment: self.environment.clone(),
        }
    }

    /// The same sources with a copy of this data directory.
    pub fn copied_to(&self, name: &str) -> Self {
        let copy = self.with_data(name);
        let copied = program("cp")
            .arg("-a")
            .arg(&self.data)
            .arg(&copy.data)
            .status()
            .unwrap();
        assert!(copied.success());
        copy
    }

    /// A path in its folder.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Writes a file in its folder.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Puts mails into a folder of the Maildir: `""` is the inbox, `.Archive` another. Returns the names of
    /// the files without flags.
    pub fn deliver<T: AsRef<[u8]>>(&self, folder: &str, mails: &[T]) -> Vec<String> {
        let directory = self.path("mail").join(folder);
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        let there = fs::read_dir(directory.join("cur")).unwrap().count();
        let name = |n| format!("{}.{n:06}.host", 1_577_836_800 + n);
        let names: Vec<String> = (there..there + mails.len()).map(name).collect();
        for (name, mail) in names.iter().zip(mails) {
            fs::write(directory.join(format!("cur/{name}:2,")), mail).unwrap();
        }
        names
    }

    /// Moves a file of the Maildir.
    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path("mail").join(from), self.path("mail").join(to)).unwrap();
    }

    /// `dkc` with these arguments, started by `wrapper` if there is one.
    pub fn command<S: AsRef<OsStr>>(&self, wrapper: &[S], arguments: &[&str]) -> Command {
        let dkc = assert_cmd::cargo::cargo_bin!("dkc");
        let mut command = match wrapper.split_first() {
            None => program(dkc),
            Some((first, rest)) => {
                let mut command = program(first);
                command.args(rest).arg(dkc);
                command
            }
        };
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .envs(self.environment.iter().cloned())
            .arg("--data")
            .arg(&self.data)
            .args(arguments);
        command
    }

    /// What `dkc` with these arguments says, started by `wrapper`.
    pub fn said_under<S: AsRef<OsStr>>(&self, wrapper: &[S], arguments: &[&str]) -> Said {
        said(self.command(wrapper, arguments))
    }

    /// What `dkc` with these arguments says.
    pub fn said(&self, arguments: &[&str]) -> Said {
        self.said_under::<&str>(&[], arguments)
    }

    /// Standard output of `dkc` with these arguments, which must end well.
    pub fn output(&self, arguments: &[&str]) -> String {
        let said = self.said(arguments);
        assert_eq!(said.code, Some(0), "dkc {arguments:?}: {said:#?}");
        said.out
    }

    /// The same, as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let out = self.output(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    /// Runs all pipelines; the runs, of which every one must end whole and its counts add up.
    pub fn runs(&self) -> Vec<Value> {
        let runs = self.json(&["run"])["runs"].as_array().unwrap().clone();
        runs.iter().for_each(adds_up);
        runs
    }

    /// Runs the only pipeline.
    pub fn run(&self) -> Value {
        let mut runs = self.runs();
        assert_eq!(runs.len(), 1);
        runs.remove(0)
    }

    /// The rows of a query.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        let out = self.output(&["sql", "-c", query, "--format", "ndjson"]);
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The only value of a query.
    pub fn value(&self, query: &str) -> Value {
        let rows = self.sql(query);
        let values: Vec<&Value> = rows
            .iter()
            .flat_map(|row| row.as_object().unwrap().values())
            .collect();
        assert_eq!(values.len(), 1, "{query}: {rows:?}");
        values[0].clone()
    }

    /// The only value of a query, a number.
    pub fn number(&self, query: &str) -> i64 {
        self.value(query).as_i64().unwrap()
    }

    /// The address of the Postgres that its store is in.
    fn postgres(&self) -> Option<&str> {
        let mut variables = self.environment.iter();
        variables.find_map(|(name, value)| (name == "DKC_POSTGRES").then_some(value.as_str()))
    }

    /// What DuckDB is told to attach: the directory of the lake, or the address of the Postgres that has its catalog.
    fn address(&self) -> String {
        self.postgres()
            .map_or_else(|| self.data.join("lake").display().to_string(), str::to_owned)
    }

    /// The number of the newest snapshot, from the catalog itself.
    pub fn snapshot(&self) -> i64 {
        if let Some(url) = self.postgres() {
            let newest = "SELECT max(snapshot_id) FROM dkc_lake.ducklake_snapshot";
            return fixtures::postgres::ask(url, newest).parse().unwrap();
        }
        let script = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT max(snapshot_id) FROM ducklake_snapshot').fetchone()[0])";
        let mut python = program("python3");
        python
            .arg("-c")
            .arg(script)
            .arg(self.data.join("lake/catalog.sqlite"));
        let said = said(python);
        said.out.trim().parse().unwrap_or_else(|_| panic!("{said:#?}"))
    }

    /// Asserts that `dkc verify` finds nothing.
    pub fn is_whole(&self) {
        let said = self.said(&["verify"]);
        assert_eq!(said.code, Some(0), "{said:#?}");
    }

    /// The data and delete files in the lake's folders.
    pub fn parquet_files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for dataset in lake() {
            let directory = self.data.join("lake/files/main").join(dataset.name);
            files.extend(
                fs::read_dir(directory)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        files.retain(|path| path.extension() == Some(OsStr::new("parquet")));
        files.sort();
        files
    }
}

/// Asserts that every item a run saw was stored, unchanged or rejected.
pub fn adds_up(run: &Value) {
    let counts = ["items_stored", "items_unchanged", "items_rejected"].map(|name| count(run, name));
    assert_eq!(count(run, "items_seen"), counts.iter().sum::<u64>(), "{run:#}");
}

/// A count of a run.
pub fn count(run: &Value, name: &str) -> u64 {
    run[name].as_u64().unwrap_or_else(|| panic!("{name}: {run:#}"))
}

/// Lets a command end, and says what it said.
pub fn said(command: Command) -> Said {
    let output = assert_cmd::Command::from_std(command)
        .timeout(PATIENCE)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// What is found at last.
pub fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Another program.
#[expect(clippy::disallowed_methods, reason = "tests ask other programs")]
pub fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

/// Mails as one mbox, quoted so that nothing is lost (mboxrd).
pub fn mbox<T: AsRef<[u8]>>(mails: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    for mail in mails {
        out.extend(b"From MAILER-DAEMON Wed Jan  1 00:00:00 2020\n");
        for line in mail.as_ref().split_inclusive(|&byte| byte == b'\n') {
            let quotes = line.iter().take_while(|&&byte| byte == b'>').count();
            if line[quotes..].starts_with(b"From ") {
                out.push(b'>');
            }
            out.extend(line);
        }
        out.push(b'\n');
    }
    out
}

/// A number from the environment, such as how often to repeat.
pub fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// The datasets of the lake.
pub fn lake() -> impl Iterator<Item = &'static Dataset> {
    datasets::ALL
        .iter()
        .copied()
        .filter(|dataset| dataset.home == Home::Lake)
}

/// What DuckDB finds in lakes, each at its newest snapshot or an older one; see `lake_facts.py`.
pub fn duckdb(lakes: &[(&Lab, Option<i64>)]) -> Vec<Value> {
    let at = |snapshot: Option<i64>| {
        snapshot
            .map(|snapshot| format!("#{snapshot}"))
            .unwrap_or_default()
    };
    facts(
        "duckdb",
        lakes
            .iter()
            .map(|(lab, snapshot)| format!("{}{}", lab.address(), at(*snapshot))),
    )
}

/// What polars finds in a lake.
pub fn polars(lab: &Lab) -> Value {
    facts("polars", [format!("{}/lake", lab.data.display())]).remove(0)
}

/// The columns of each table of a lake, as DuckDB lists them: type, whether it may be null, comment.
pub fn columns(lab: &Lab) -> Value {
    facts("columns", [lab.address()]).remove(0)
}

fn facts(reader: &str, lakes: impl IntoIterator<Item = String>) -> Vec<Value> {
    let mut python = fixtures::corpus::oracle("lake_facts.py");
    python.arg(reader).args(lakes);
    values(python)
}

/// The JSON values that another program prints, which must end well.
pub fn values(program: Command) -> Vec<Value> {
    let said = said(program);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let values = serde_json::Deserializer::from_str(&said.out).into_iter();
    values.collect::<Result<_, _>>().unwrap()
}

/// Asserts that another run stores nothing.
pub fn rerun_is_quiet(lab: &Lab) {
    let before = lab.snapshot();
    let run = lab.run();
    assert_eq!(
        (count(&run, "items_stored"), lab.snapshot()),
        (0, before),
        "{run:#}"
    );
}

/// What dkc itself answers, in the shape of the facts of others.
pub fn own_facts(lab: &Lab) -> Value {
    let facts = lake().map(|dataset| (dataset.name.to_owned(), own_facts_of(lab, dataset)));
    Value::Object(facts.collect())
}

fn own_facts_of(lab: &Lab, dataset: &Dataset) -> Value {
    let mut wanted = Vec::new();
    for column in dataset.all_columns() {
        let name = column.name;
        let measures: &[(&str, &str)] = match column.kind {
            Kind::Int => &[("min", "min(?)"), ("max", "max(?)"), ("sum", "sum(?)")],
            Kind::Instant => &[
                ("min", "CAST(min(?) AS BIGINT)"),
                ("max", "CAST(max(?) AS BIGINT)"),
            ],
            Kind::Text => &[("min", "min(?)"), ("max", "max(?)")],
            Kind::TextList => &[("sum", "coalesce(sum(array_length(?)), 0)")],
            Kind::Bytes => &[("sum", "sum(octet_length(encode(?, 'hex'))) / 2")],
            Kind::Bool | Kind::Float => &[],
        };
        for (measure, sql) in [("present", "count(?)")].iter().chain(measures) {
            wanted.push((name, *measure, sql.replace('?', &format!("\"{name}\""))));
        }
    }
    let list = |(n, (_, _, sql)): (usize, &(_, _, String))| format!("{sql} AS m{n}");
    let list: Vec<String> = wanted.iter().enumerate().map(list).collect();
    let row = lab
        .sql(&format!(
            "SELECT {}, count(*) AS n FROM {}",
            list.join(", "),
            dataset.name
        ))
        .remove(0);
    let mut columns: Map<String, Value> = Map::new();
    for (n, (name, measure, _)) in wanted.iter().enumerate() {
        let column = columns.entry(*name).or_insert_with(|| json!({}));
        column[*measure] = row[format!("m{n}")].clone();
    }
    json!({ "rows": row["n"], "keys": keys(lab, dataset), "columns": columns })
}

/// SHA-256 of the sorted keys.
fn keys(lab: &Lab, dataset: &Dataset) -> String {
    let names: Vec<String> = dataset.key.iter().map(|name| format!("\"{name}\"")).collect();
    let rows = lab.sql(&format!("SELECT {} FROM {}", names.join(", "), dataset.name));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |row: &Value| {
        dataset
            .key
            .iter()
            .map(|name| text(&row[name]))
            .collect::<Vec<_>>()
            .join("\t")
    };
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.sort();
    Digest::of(lines.join("\n").as_bytes()).to_string()
}

/// Asserts that all that `fewer` says, `more` says too.
pub fn agree(fewer: &Value, more: &Value, whose: &str) {
    match (fewer, more) {
        (Value::Object(fewer), Value::Object(_)) => {
            for (name, value) in fewer {
                agree(value, &more[name], &format!("{whose}: {name}"));
            }
        }
        _ => assert_eq!(fewer, more, "{whose}"),
    }
}
