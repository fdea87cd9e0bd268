//! Mistakes in `dkc.toml`, and what is said of them.

use super::*;
use pipelines::schedule::{CatchUp, Overlap};
use secrecy::ExposeSecret;

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("/etc/dkc/dkc.toml"), "dkc.toml")
}

#[test]
fn an_empty_configuration_has_the_default_limits() {
    let config = parse("").unwrap();
    assert!(config.pipelines.is_empty());
    assert_eq!(
        config.limits,
        Limits {
            threads: None,
            ..Limits::default()
        }
    );
    assert_eq!(
        (config.limits.query_memory_mb, config.limits.query_seconds.get()),
        (None, 60)
    );
}

#[test]
fn a_query_has_a_part_of_the_memory_of_the_machine_or_what_is_said() {
    let memory = |text| parse(text).unwrap().limits.query_memory_bytes();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let kib: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(memory(""), (kib * 1024 / 8).max(512 << 20));
    assert_eq!(memory("[limits]\nquery_memory_mb = 64"), 64 << 20);
}

#[test]
fn limits_and_schedules_are_read() {
    let text = "[limits]\nthreads = 3\n[[pipeline]]\nname = \"a\"\nschedule = \"@daily\"\nsource = { kind = \"maildir\", path = \"a\" }";
    let config = parse(text).unwrap();
    assert_eq!(config.limits.threads.map(NonZeroUsize::get), Some(3));
    assert_eq!(config.pipelines[0].schedule().as_deref(), Some("@daily"));
}

#[test]
fn a_source_may_be_a_table_of_its_own_and_pipelines_an_array() {
    let table = "[[pipeline]]\nname = \"a\"\n[pipeline.source]\nkind = \"maildir\"\npath = \"b\"\n";
    let array = "pipeline = [{ name = \"a\", source.kind = \"maildir\", source.path = \"b\" }]";
    for text in [table, array] {
        let config = parse(text).unwrap();
        assert_eq!(
            config.pipelines[0].source.get("path").unwrap().as_str(),
            Some("/etc/dkc/b")
        );
    }
}

#[test]
fn paths_are_relative_to_the_file_or_the_home_directory() {
    let home = etcetera::home_dir().unwrap();
    for (written, meant) in [
        ("Mail", "/etc/dkc/Mail".to_owned()),
        ("/var/mail", "/var/mail".to_owned()),
        ("~/Mail", home.join("Mail").display().to_string()),
        ("~", home.display().to_string()),
    ] {
        let text =
            format!("[[pipeline]]\nname = \"a\"\nsource = {{ kind = \"maildir\", path = \"{written}\" }}");
        assert_eq!(
            parse(&text).unwrap().pipelines[0]
                .source
                .get("path")
                .unwrap()
                .as_str(),
            Some(meant.as_str())
        );
    }
}

#[test]
fn references_are_told_from_plain_secrets() {
    let parse =
        |text| Reference::parse(text, Path::new("/etc")).map(|reference| reference.map(|of| of.to_string()));
    assert_eq!(parse("env:A"), Some(Ok("`env:A`".to_owned())));
    assert_eq!(parse("file:a"), Some(Ok("`file:/etc/a`".to_owned())));
    assert_eq!(
        parse("keyring:mail/me@host"),
        Some(Ok("`keyring:mail/me@host`".to_owned()))
    );
    for plain in [
        "",
        "hunter2",
        "env:",
        "env:A=B",
        "file:",
        "keyring:mail",
        "keyring:/me",
        "ENV:A",
        "a:b",
    ] {
        assert_eq!(parse(plain), None, "{plain}");
    }
}

#[test]
fn one_line_end_after_a_secret_in_a_file_is_not_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let secret = |bytes: &[u8]| {
        let path = folder.path().join("secret");
        std::fs::write(&path, bytes).unwrap();
        Reference::File(path)
            .resolve()
            .map(|secret| secret.expose_secret().to_owned())
            .map_err(|error| error.to_string())
    };
    assert_eq!(secret(b"a b\n").unwrap(), "a b");
    assert_eq!(secret(b"a\r\n").unwrap(), "a");
    assert_eq!(secret(b"a\n\n").unwrap(), "a\n");
    assert!(secret(b"\n").unwrap_err().contains("is empty"));
    assert!(secret(&[0xff]).unwrap_err().contains("cannot read"));
    assert!(secret(&[b'a'; 70_000]).unwrap_err().contains("64 KiB"));
}

#[test]
fn an_error_of_a_collector_does_not_repeat_the_secret() {
    assert_eq!(
        secret::hide("bad value `hunter2`", &"hunter2".to_owned().into()),
        "bad value `***`"
    );
}

#[test]
fn what_is_shown_of_a_broken_text_ends_where_a_secret_may_begin() {
    let shown = redact::unparsed("user = \"me\"\npassword = \"\"\"\nhunter2\nx = 1\n");
    assert!(
        shown.starts_with("user = \"me\"\npassword =***") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn the_example_configuration_loads() {
    Config::load(Path::new("../dkc.example.toml")).unwrap();
}

/// All mistakes of a configuration, each with its help.
fn mistakes(text: &str) -> String {
    let error = parse(text).unwrap_err();
    let help = |one: &dyn miette::Diagnostic| one.help().map(|help| help.to_string()).unwrap_or_default();
    let all = error
        .related()
        .into_iter()
        .flatten()
        .map(|one| format!("{one}; {}", help(one)));
    std::iter::once(format!("{error}; {}", help(&*error)))
        .chain(all)
        .collect::<Vec<_>>()
        .join("\n")
}

/// A pipeline over a Maildir, with these keys.
fn pipeline(name: &str, keys: &str) -> String {
    format!("[[pipeline]]\nname = \"{name}\"\n{keys}\nsource = {{ kind = \"maildir\", path = \"mail\" }}\n")
}

#[test]
fn a_pipeline_without_more_words_has_the_plan_of_the_reference() {
    let config = parse(&pipeline("mail", "")).unwrap();
    let plan = config.pipelines[0].plan.clone();
    assert!(plan.when.is_empty() && plan.timeout.is_none() && plan.fresh_within.is_none());
    assert_eq!(
        (plan.catch_up, plan.overlap, plan.retries, plan.priority),
        (CatchUp::One, Overlap::Skip, 4, 0)
    );
    assert_eq!((plan.jitter.as_secs(), plan.window.as_hours()), (0, 7 * 24));
    assert_eq!(config.pipelines[0].budget, Budget::default());
    let Runs {
        at_once,
        per_host,
        keep_days,
    } = config.runs;
    assert_eq!((at_once.get(), per_host.get(), keep_days.get()), (2, 1, 90));
    let Alerts {
        webhook,
        repeat,
        disk_free_percent,
        ntfy,
        smtp,
        dead_man,
    } = config.alerts;
    assert_eq!((repeat.signed().as_hours(), disk_free_percent), (24, 5));
    assert!(webhook.is_none() && ntfy.is_none() && smtp.is_none() && dead_man.is_none());
}

#[test]
fn every_key_of_a_schedule_reaches_the_plan() {
    let keys = "schedule = [\"*/15 * * * *\", \"every 1h 30m\", \"after notes\", \"on change\"]\n\
                time_zone = \"Europe/Madrid\"\njitter = \"90s\"\ncatch_up = \"all\"\ncatch_up_window = \"2 days\"\n\
                overlap = \"replace\"\ntimeout = \"1h 30m\"\nretries = 2\npriority = -7\nfresh_within = \"1 day\"\n\
                most_minutes_per_run = 30\nmost_mb_per_day = 5";
    let config = parse(&(pipeline("mail", keys) + &pipeline("notes", ""))).unwrap();
    let plan = &config.pipelines[0].plan;
    assert_eq!(plan.when.len(), 4);
    assert_eq!(plan.when[2], When::After(SourceName::new("notes").unwrap()));
    assert_eq!(plan.when[3], When::OnChange);
    assert_eq!(plan.zone.iana_name(), Some("Europe/Madrid"));
    assert_eq!(
        (plan.catch_up, plan.overlap, plan.retries, plan.priority),
        (CatchUp::All, Overlap::Replace, 2, -7)
    );
    let timeout = plan.timeout.map(|timeout| timeout.as_secs());
    assert_eq!(
        (plan.jitter.as_secs(), plan.window.as_hours(), timeout),
        (90, 48, Some(5_400))
    );
    assert_eq!(plan.fresh_within.map(|within| within.as_hours()), Some(24));
    let budget = config.pipelines[0].budget;
    assert_eq!(budget.minutes_per_run.map(NonZeroU64::get), Some(30));
    assert_eq!(budget.mb_per_day.map(NonZeroU64::get), Some(5));
    assert_eq!(config.pipelines[0].files(), [Path::new("/etc/dkc/mail")]);
}

#[test]
fn what_is_wrong_with_a_schedule_is_told_with_what_would_be_right() {
    let imap = "[[pipeline]]\nname = \"inbox\"\nschedule = \"on change\"\n\
                source = { kind = \"imap\", host = \"h\", user = \"u\", password = \"env:PW\", ca_file = \"ca.pem\" }";
    for (text, words) in [
        (pipeline("mail", "schedule = \"soon\""), "`soon` is no schedule"),
        (
            pipeline("mail", "schedule = \"61 * * * *\""),
            "`61 * * * *` is no schedule",
        ),
        (
            pipeline("mail", "schedule = \"61 * * * *\""),
            "such as `*/15 * * * *`",
        ),
        (
            pipeline("mail", "schedule = \"every moment\""),
            "`every moment`: this is no length of time",
        ),
        (
            pipeline("mail", "schedule = \"every 2 months\""),
            "`every 2 months`: months and years are not of one length",
        ),
        (
            pipeline("mail", "schedule = 5"),
            "expected a text or a list of texts",
        ),
        (
            pipeline("mail", "schedule = [\"@daily\", 5]"),
            "expected a string",
        ),
        (
            pipeline("mail", "schedule = [\"@daily\", \"@daily\"]"),
            "`@daily` is there twice",
        ),
        (
            pipeline("mail", "schedule = \"after nobody\""),
            "there is no pipeline `nobody`",
        ),
        (
            pipeline("mail", "schedule = \"after mial\""),
            "did you mean `mail`?",
        ),
        (
            pipeline("mail", "schedule = \"after mail\""),
            "`mail` after `mail`, and so on without end",
        ),
        (
            pipeline("mail", "time_zone = \"Europe/Madird\""),
            "did you mean `Europe/Madrid`?",
        ),
        (
            pipeline("mail", "time_zone = \"soon\""),
            "there is no time zone `soon`",
        ),
        (
            pipeline("mail", "timeout = \"0s\""),
            "`timeout`: it is no time at all",
        ),
        (pipeline("mail", "jitter = \"-3s\""), "it must not be negative"),
        (pipeline("mail", "jitter = \"3\""), "write a number and a unit"),
        (pipeline("mail", "catch_up = \"once\""), "unknown variant `once`"),
        (pipeline("mail", "overlap = true"), "`overlap`: "),
        (pipeline("mail", "most_minutes_per_run = 0"), "nonzero"),
        (pipeline("mail", "timeuot = \"1h\""), "did you mean `timeout`?"),
        (imap.to_owned(), "so no change is seen"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(words), "{text}: {told}");
    }
}

#[test]
fn a_model_without_a_name_is_told() {
    for (key, blank) in [
        ("model", ""),
        ("model", " "),
        ("reranker", ""),
        ("reranker", "  "),
    ] {
        let told = mistakes(&format!("[search]\n{key} = \"{blank}\"\n"));
        assert!(told.contains(&format!("`search.{key}`: it is empty")), "{told}");
    }
}

#[test]
fn pipelines_that_follow_each_other_in_a_circle_are_told_once() {
    let after =
        |name: &str, before: &str| pipeline(name, &format!("schedule = [\"@daily\", \"after {before}\"]"));
    let circle = after("a", "b") + &after("b", "c") + &after("c", "a");
    let told = mistakes(&(circle + &after("outside", "a")));
    assert_eq!(told.matches("and so on without end").count(), 1, "{told}");
    assert!(told.contains("`a` after `b` after `c` after `a`"), "{told}");
    // Two ways that meet are none.
    let fork = after("b", "a") + &after("c", "a") + &pipeline("a", "") + &after("d", "b");
    parse(&fork.replace("\"after b\"", "\"after b\", \"after c\"")).unwrap();
}

#[test]
fn all_that_is_wrong_with_a_table_is_told_at_once() {
    let told = mistakes(
        "[runs]\nat_once = 0\nkeep_days = \"many\"\nper_hots = 1\n[alerts]\nrepeat = \"soon\"\nwebhook = \"https://hunter2\"\n",
    );
    for words in [
        "`runs.at_once`",
        "`runs.keep_days`",
        "unknown key `per_hots`",
        "`alerts.repeat`",
        "`alerts.webhook` is a secret",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn what_cannot_be_meant_of_alerts_is_told() {
    let smtp = "[alerts.smtp]\nhost = \"h\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\n";
    for (text, words) in [
        ("[alerts]\ndisk_free_percent = 100".to_owned(), "write 0 to 99"),
        (
            "[alerts]\nrepeat = \"0s\"".to_owned(),
            "`alerts.repeat`: it is no time",
        ),
        (
            "[alerts.ntfy]\ntopic = \"mine\"".to_owned(),
            "`alerts.ntfy.topic` is a secret",
        ),
        (
            "[alerts.ntfy]\ntopic = \"env:T\"\nserver = \"http://ntfy.example.org\"".to_owned(),
            "could be read on the way",
        ),
        (
            "[alerts.ntfy]\nserver = \"https://n.example.org\"".to_owned(),
            "missing field `topic`",
        ),
        (
            "[alerts.dead_man]\nurl = \"https://h.example.org/x\"".to_owned(),
            "is a secret",
        ),
        (
            format!("{smtp}user = \"me\""),
            "a user and a password come together",
        ),
        (
            format!("{smtp}user = \"me\"\npassword = \"env:P\"\ntls = \"none\""),
            "could be read on the way",
        ),
        (smtp.replace("\"a@b.c\"]", "]"), "nobody gets it"),
        (format!("{smtp}ca_file = \"\""), "the path is empty"),
        (format!("{smtp}tls = \"ssl\""), "unknown variant `ssl`"),
    ] {
        let told = mistakes(&text);
        assert!(told.contains(words), "{text}: {told}");
    }
    let settings = format!(
        "{smtp}tls = \"none\"\nca_file = \"ca.pem\"\n[alerts.ntfy]\ntopic = \"env:T\"\nserver = \"https://n/\"\n"
    );
    let alerts = parse(&settings).unwrap().alerts;
    assert_eq!(
        alerts.smtp.unwrap().ca_file.unwrap(),
        Path::new("/etc/dkc/ca.pem")
    );
    assert_eq!(alerts.ntfy.unwrap().server, "https://n");
}

#[test]
fn the_address_of_a_database_is_a_reference_and_is_looked_up_when_it_is_used() {
    let told = mistakes("[store]\npostgres = \"postgres://me:hunter2@h/d\"\nobjects = \"s3://b\"");
    assert!(told.contains("`store.postgres` is a secret"), "{told}");
    assert!(told.contains("`store.objects` is not in this version"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let config = parse(&format!("[store]\npostgres = \"file:{}\"", path.display())).unwrap();
    let missing = config.place(Path::new("/data")).unwrap_err();
    assert!(is_mistake(&missing), "{missing}");
    std::fs::write(&path, "postgres://me:hunter2@h/d\n").unwrap();
    let place = config.place(Path::new("/data")).unwrap();
    assert_eq!(place.data, Path::new("/data"));
    assert_eq!(
        place.postgres.unwrap().expose_secret(),
        "postgres://me:hunter2@h/d"
    );
    assert!(
        parse("")
            .unwrap()
            .place(Path::new("/data"))
            .unwrap()
            .postgres
            .is_none()
    );
}

#[test]
fn the_example_has_the_defaults_where_it_says_so() {
    let example = Config::load(Path::new("../dkc.example.toml")).unwrap();
    let default = parse("").unwrap();
    assert_eq!(example.runs, default.runs);
    assert_eq!(example.alerts.repeat, default.alerts.repeat);
    assert_eq!(example.alerts.disk_free_percent, default.alerts.disk_free_percent);
    let plan = |config: &Config, name: &str| config.pipeline(name).unwrap().plan.clone();
    let shown = plan(&example, "inbox");
    let usual = plan(&parse(&pipeline("inbox", "")).unwrap(), "inbox");
    assert_eq!(
        (
            shown.catch_up,
            shown.overlap,
            shown.window,
            shown.retries,
            shown.priority
        ),
        (
            usual.catch_up,
            usual.overlap,
            usual.window,
            usual.retries,
            usual.priority
        )
    );
}
