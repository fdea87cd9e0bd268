//! `dkc sql` as a shell, in a real terminal (tmux), and its scripts on a pipe.

use super::lab::{Lab, MAIL, program, said};
use predicates::prelude::predicate;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a terminal does not show by then it never will.
const PATIENCE: Duration = Duration::from_secs(30);

const PROMPT: &str = "dkc> ";

/// A terminal of 80 by 20 in which `dkc sql` runs.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    fn new(lab: &Lab, name: &str, variables: &[&str]) -> Self {
        let terminal = Self {
            socket: lab.path(name),
        };
        let dkc = assert_cmd::cargo::cargo_bin!("dkc").display().to_string();
        let data = lab.data().display().to_string();
        let home = format!("HOME={}", lab.path("").display());
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        let mut line = vec!["env", "-i", "TERM=screen", "LANG=C.UTF-8", &home, &path];
        line.extend(variables);
        // The screen stays when the shell has ended, to be looked at.
        let shell = "\"$0\" --data \"$1\" sql; echo \"ended: $?\"; exec cat";
        line.extend(["sh", "-c", shell, &dkc, &data]);
        let folder = lab.path("").display().to_string();
        let size = ["new-session", "-d", "-x", "80", "-y", "20", "-c", &folder];
        terminal.tmux(&[&["-f", "/dev/null"], &size[..], &line].concat());
        terminal.sees(PROMPT);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux = program("tmux");
        tmux.arg("-S").arg(&self.socket).args(arguments);
        let said = said(tmux);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:#?}");
        said.out
    }

    /// Types letters.
    fn types(&self, text: &str) {
        // A `;` at the end would be tmux's own.
        let text = match text.strip_suffix(';') {
            Some(text) => format!("{text}\\;"),
            None => text.to_owned(),
        };
        self.tmux(&["send-keys", "-l", "--", &text]);
    }

    /// Presses a key, as tmux names it.
    fn presses(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    /// Types a line and waits until it can take the next.
    fn asks(&self, line: &str) -> String {
        self.presses("C-l");
        self.waits(line, |screen| screen.trim() == PROMPT.trim());
        self.types(line);
        self.presses("Enter");
        self.waits(line, |screen| {
            screen.lines().count() > 1 && ends_with_prompt(screen)
        })
    }

    /// Waits until the screen has this text; the screen.
    fn sees(&self, text: &str) -> String {
        self.waits(text, |screen| screen.contains(text.trim_end()))
    }

    fn waits(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            let screen = screen.trim_end();
            if is_there(screen) {
                return screen.to_owned();
            }
            assert!(began.elapsed() < PATIENCE, "no `{what}` on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut tmux = program("tmux");
        tmux.arg("-S").arg(&self.socket).arg("kill-server");
        let _ = said(tmux);
    }
}

fn ends_with_prompt(screen: &str) -> bool {
    screen.lines().last().is_some_and(|line| line == PROMPT.trim())
}

fn lab_of(mails: usize) -> Lab {
    let lab = Lab::new(MAIL);
    let mails: Vec<String> = (0..mails)
        .map(|n| {
            format!("Message-ID: <{n}@b>\r\nFrom: a{n}@example.org\r\nSubject: mail {n:03}\r\n\r\nbody\r\n")
        })
        .collect();
    lab.deliver("", &mails);
    lab.run();
    lab
}

#[test]
fn what_is_typed_is_completed_answered_and_remembered() {
    let lab = lab_of(2);
    let terminal = Terminal::new(&lab, "tmux", &[]);
    terminal.types("SELECT max(subj");
    terminal.presses("Tab");
    terminal.sees("dkc> SELECT max(subject");
    terminal.types(") AS newest");
    terminal.presses("Enter");
    terminal.sees("...>");
    terminal.types("FROM rejects r RIGHT JOIN email");
    terminal.presses("Tab");
    // Two tables begin so, and their words stand beside them.
    terminal.sees("attachment");
    terminal.types("s e ON e.mess");
    terminal.presses("Tab");
    terminal.sees("emails e ON e.message_id");
    terminal.types(" = r.item;");
    terminal.presses("Enter");
    let screen = terminal.sees("│ mail 001");
    assert!(screen.contains("│ newest"), "{screen}");
    terminal.waits("the prompt", ends_with_prompt);
    terminal.presses("C-d");
    terminal.sees("ended: 0");
    let history = lab.data().join("sql-history.txt");
    assert!(
        fs::read_to_string(&history)
            .unwrap()
            .contains("RIGHT JOIN emails e")
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&history).unwrap().permissions());
    assert_eq!(mode & 0o077, 0);
    drop(terminal);
    let again = Terminal::new(&lab, "tmux-2", &["NO_COLOR=1"]);
    again.presses("Up");
    again.sees("dkc> SELECT max(subject) AS newest");
    again.presses("Enter");
    again.sees("│ mail 001");
}

#[test]
fn ctrl_c_ends_a_query_and_not_the_shell() {
    let lab = lab_of(400);
    let terminal = Terminal::new(&lab, "tmux", &[]);
    terminal.types("SELECT sum(a.size_bytes - d.size_bytes) FROM emails a, emails b, emails c, emails d;");
    terminal.presses("Enter");
    let works = || {
        let workers = workers(&lab);
        workers.iter().any(|pid| ticks(*pid) > 20)
    };
    let began = Instant::now();
    while !works() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    terminal.presses("C-c");
    terminal.sees("interrupted");
    let screen = terminal.asks("SELECT 40 + 2 AS answer;");
    assert!(screen.contains("│ 42"), "{screen}");
    // The one that waits for the next query.
    assert_eq!(workers(&lab).len(), 1);
    assert!(!works());
    terminal.types("SELECT 1 +");
    terminal.sees("SELECT 1 +");
    terminal.presses("C-c");
    // What is typed before the editor has done this is lost with it.
    terminal.waits("the prompt", ends_with_prompt);
    let screen = terminal.asks("SELECT 6 * 7 AS answer;");
    assert!(screen.contains("│ 42"), "{screen}");
    drop(terminal);
    let began = Instant::now();
    while !workers(&lab).is_empty() {
        assert!(began.elapsed() < PATIENCE, "a query outlived its shell");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that answer queries over a lab's data.
fn workers(lab: &Lab) -> Vec<u32> {
    let data = lab.data().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(&data) && line.contains("query-worker")
    })
    .collect()
}

/// Time that a process has computed, in hundredths of a second.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let fields = after_name.split(' ').skip(11).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

#[test]
fn a_long_answer_is_paged_and_a_wide_one_fits() {
    let lab = lab_of(60);
    let terminal = Terminal::new(&lab, "tmux", &[]);
    terminal.types("SELECT subject FROM emails ORDER BY subject;");
    terminal.presses("Enter");
    let first = terminal.waits("less", |screen| screen.ends_with(':'));
    assert!(
        first.contains("mail 000") && !first.contains("mail 059"),
        "{first}"
    );
    terminal.presses("G");
    terminal.sees("mail 059");
    terminal.presses("q");
    terminal.waits("the prompt", ends_with_prompt);
    let wide = terminal.asks("SELECT subject, _item, _run, date, flags FROM emails LIMIT 2;");
    let rows = wide.lines().filter(|line| line.starts_with("│ mail 0"));
    assert_eq!(rows.filter(|line| line.ends_with('│')).count(), 2, "{wide}");
    assert!(wide.contains('…') && wide.contains("shortened"), "{wide}");
    drop(terminal);
    let chosen = Terminal::new(&lab, "tmux-2", &["PAGER=head -n 4 | tail -n 1 | tr m M"]);
    let screen = chosen.asks("SELECT subject FROM emails ORDER BY subject;");
    assert!(
        screen.contains("Mail 000") && !screen.contains("mail 001"),
        "{screen}"
    );
    let unpaged = Terminal::new(&lab, "tmux-3", &["PAGER="]);
    let screen = unpaged.asks("SELECT subject FROM emails ORDER BY subject;");
    assert!(screen.contains("mail 059"), "{screen}");
}

#[test]
fn dot_commands_do_what_others_have_taught() {
    let lab = lab_of(3);
    lab.write(
        "script.sql",
        "SELECT 'from a file' AS said;\n.mode table\nSELECT 5 AS n;\n",
    );
    let terminal = Terminal::new(&lab, "tmux", &["PAGER="]);
    let says = |line: &str, words: &[&str]| {
        let screen = terminal.asks(line);
        let (_, answer) = screen.split_once('\n').unwrap();
        for word in words {
            assert!(answer.contains(word), "{line}: no {word} in\n{screen}");
        }
    };
    says(".tables emai", &["emails ", "email_attachments"]);
    says(".schema runs", &["PRIMARY KEY (run)"]);
    says(".help timer", &[".timer", "on|off"]);
    says(".tables photo_%", &["photo_thumbnails "]);
    says(".schema photo_thumb%", &["PRIMARY KEY (_source, _item)"]);
    says(".schema nothing%", &["no table is like `nothing%`"]);
    says(".mode line", &["dkc>"]);
    says("SELECT 8 AS n;", &["│ row ┆ 1 │", "│ n   ┆ 8 │"]);
    says(".mode duckbox", &["dkc>"]);
    says(".nonsense", &["no command `.nonsense`"]);
    says("SELECT nothing FROM emails;", &["nothing"]);
    says(".mode csv\n", &["dkc>"]);
    says(".mode", &["mode: csv"]);
    says(".mode parquet", &["no mode `parquet`"]);
    says("SELECT count(*) AS n FROM emails;", &["n\n3"]);
    says(".param set from a1@example.org", &["dkc>"]);
    says(".param list", &[":from \"a1@example.org\""]);
    says(
        "SELECT subject FROM emails WHERE from_addr = :from;",
        &["subject\nmail 001"],
    );
    says(".save", &["write .save NAME"]);
    says(
        ".sav x",
        &["the beginning of 2 commands", "write `.save` or `.saved`"],
    );
    says(".run", &["write .run NAME"]);
    says(".save by-sender", &["queries/by-sender.sql"]);
    says(".save by-sender", &["is there already"]);
    says(".saved", &["by-sender"]);
    says(".param clear", &["dkc>"]);
    says(".run by-sender", &["`from` has no value"]);
    says(".param set from a2@example.org", &["dkc>"]);
    says(".run by-sender", &["subject\nmail 002"]);
    says(".read script.sql", &["from a file", "│ 5"]);
    says(".mode json", &["dkc>"]);
    says(".once 'the answer.json'", &["dkc>"]);
    says("SELECT 1 AS n;", &["dkc>"]);
    says("SELECT 2 AS n;", &["[{\"n\":2}]"]);
    says(".once tables.txt", &["dkc>"]);
    says(".tables email_%", &["dkc>"]);
    says(".output out.csv", &["dkc>"]);
    says(".mode csv", &["dkc>"]);
    says("SELECT 3 AS n; SELECT 4 AS n;", &["dkc>"]);
    says(".mode", &["dkc>"]);
    says(".output", &["dkc>"]);
    says(".once data/lake/x", &["is in the data directory"]);
    says(".mode table", &["dkc>"]);
    says("EXPLAIN SELECT 1;", &["physical_plan\n  "]);
    says(".explain off", &["dkc>"]);
    says("EXPLAIN SELECT 1;", &["│ physical_plan"]);
    says(".timer on", &["dkc>"]);
    says("SELECT 7 AS n;", &["│ 7", "Run Time (s): real 0.", "rows 1"]);
    terminal.types(".q");
    terminal.presses("Enter");
    terminal.sees("ended: 0");
    let written = |name: &str| fs::read_to_string(lab.path(name)).unwrap();
    assert_eq!(written("the answer.json"), "[{\"n\":1}]\n");
    assert_eq!(written("out.csv"), "n\n3\nn\n4\nmode: csv\n");
    let tables = written("tables.txt");
    assert!(
        tables.starts_with("email_attachments ") && tables.lines().count() == 1,
        "{tables}"
    );
    let kept = fs::read_to_string(lab.data().join("queries/by-sender.sql")).unwrap();
    assert_eq!(kept, "SELECT subject FROM emails WHERE from_addr = :from;\n");
    lab.is_whole();
}

#[test]
fn a_script_is_done_in_order_up_to_its_first_error() {
    let lab = lab_of(2);
    let script =
        "-- a report\n.mode csv\nSELECT count(*) AS n FROM emails;\nSELECT ';' AS sign; SELECT :a AS a\n;";
    lab.write("report.sql", script);
    let wanted = "n\n2\nsign\n;\na\n5\n";
    assert_eq!(lab.output(&["sql", "-f", "report.sql", "--param", "a=5"]), wanted);
    let piped = |script: &str| {
        assert_cmd::Command::from_std(lab.command::<&str>(&[], &["sql", "--param", "a=5"]))
            .write_stdin(script)
            .assert()
    };
    piped(script).success().stdout(wanted);
    piped(".mode csv\nSELECT 1 AS n; SELECT * FROM nowhere; SELECT 2 AS n;")
        .code(1)
        .stdout("n\n1\n")
        .stderr(predicate::str::contains("nowhere"));
    piped(".mode csv\nSELECT 1 AS n; DROP TABLE emails; SELECT 2 AS n;")
        .code(1)
        .stdout("n\n1\n")
        .stderr(predicate::str::contains("DROP TABLE emails"));
    piped(".mode csv\nSELECT 1 AS n;\n.quit\nSELECT 2 AS n;")
        .success()
        .stdout("n\n1\n");
    piped("\n-- nothing\n").success().stdout("");
    for command in [".output x", ".once x", ".read report.sql", ".save x", ".run x"] {
        piped(command)
            .code(1)
            .stdout("")
            .stderr(predicate::str::contains("a script cannot use"))
            .stderr(predicate::str::contains("line 1 of standard input"));
    }
    lab.write("kept.sql", ".mode csv\nSELECT\n1 AS n;\n.save x\n");
    let said = lab.said(&["sql", "-f", "kept.sql"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), "n\n1\n"), "{said:#?}");
    let told = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        told.contains("line 4 of `kept.sql`") && told.contains("a script cannot use `.save`"),
        "{told}"
    );
    assert!(!lab.path("x").exists());
    assert_eq!(lab.number("SELECT count(*) FROM emails"), 2);
}
