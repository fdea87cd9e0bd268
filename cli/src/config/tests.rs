//! Mistakes in `dkc.toml`, and what is said of them.

use super::*;
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
    assert_eq!(config.pipelines[0].schedule.as_deref(), Some("@daily"));
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
