//! Machines, by programs that answer as `gcloud` and `oci` do.

use super::*;
use crate::exec::fake;
use proptest::prelude::*;
use std::path::Path;
use tempfile::TempDir;

const GCLOUD: &str = r#"{
  "canIpForward": false,
  "cpuPlatform": "Intel Broadwell",
  "creationTimestamp": "2024-03-07T02:11:45.123-08:00",
  "deletionProtection": false,
  "id": "1234567890123456789",
  "kind": "compute#instance",
  "lastStartTimestamp": "2026-10-01T00:00:05.000-07:00",
  "machineType": "https://www.googleapis.com/compute/v1/projects/home-1/zones/europe-west1-b/machineTypes/e2-small",
  "metadata": {"kind": "compute#metadata", "items": [{"key": "startup-script", "value": "export SECRET=1"}]},
  "name": "web",
  "status": "STATUS",
  "zone": "https://www.googleapis.com/compute/v1/projects/home-1/zones/europe-west1-b"
}"#;

const OCI: &str = r#"{
  "data": {
"availability-domain": "Uocm:EU-FRANKFURT-1-AD-1",
"compartment-id": "ocid1.tenancy.oc1..aaaa",
"display-name": "db",
"id": "ocid1.instance.oc1.eu-frankfurt-1.aaaa",
"lifecycle-state": "STATUS",
"metadata": {"ssh_authorized_keys": "ssh-ed25519 AAAA"},
"region": "eu-frankfurt-1",
"shape": "VM.Standard.A1.Flex",
"time-created": "2025-02-03T04:05:06.789000+00:00"
  },
  "etag": "abc"
}"#;

/// A program that writes its arguments down and answers with a file, and the configuration of its machine.
fn faked(cloud: Cloud, status: &str) -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let body =
        format!("for word in \"$@\"; do printf '%s\\n' \"$word\"; done >> '{at}/asked'\ncat '{at}/answer'");
    let answer = match cloud {
        Cloud::Gcloud => GCLOUD,
        Cloud::Oci => OCI,
    };
    std::fs::write(folder.path().join("answer"), answer.replace("STATUS", status)).unwrap();
    let machine = Machine {
        name: "web".to_owned(),
        cloud,
        id: "the-id".to_owned(),
        account: Some("-x; true".to_owned()),
        location: Some("zone-1".to_owned()),
        program: Some(fake::program(folder.path(), "cloud", &body)),
    };
    let config = Config {
        machines: vec![machine],
        ..Config::default()
    };
    (folder, config)
}

fn asked(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn never() -> CancellationToken {
    CancellationToken::new()
}

#[tokio::test]
async fn gcloud_is_asked_with_the_words_of_the_configuration() {
    let (folder, config) = faked(Cloud::Gcloud, "TERMINATED");
    let seen = look(&config, "web", &never()).await.unwrap();
    let options = ["--format=json", "--quiet", "--project=-x; true", "--zone=zone-1"];
    let words = ["compute", "instances", "describe", "the-id"];
    let described = [words.as_slice(), &options].concat();
    assert_eq!(asked(folder.path()), described);
    assert_eq!(
        (seen.state.as_str(), seen.shape.as_deref()),
        ("stopped", Some("e2-small"))
    );
    assert_eq!(seen.created_at.as_deref(), Some("2024-03-07T10:11:45.123Z"));
    assert!(!serde_json::to_string(&seen).unwrap().contains("SECRET"));

    std::fs::remove_file(folder.path().join("asked")).unwrap();
    change(&config, "web", Change::Start, &never()).await.unwrap();
    let words = ["compute", "instances", "start", "the-id"];
    let started = [words.as_slice(), &options, &["--async"]].concat();
    assert_eq!(asked(folder.path()), [started, described].concat());
}

#[tokio::test]
async fn what_was_done_is_told_though_its_cloud_does_not_tell_how_it_is() {
    let (folder, mut config) = faked(Cloud::Gcloud, "TERMINATED");
    let program = fake::program(folder.path(), "mute", "case \"$*\" in *describe*) exit 1;; esac");
    config.machines[0].program = Some(program);
    let done = change(&config, "web", Change::Start, &never()).await.unwrap();
    assert_eq!(done.state, "unknown");
}

#[tokio::test]
async fn oci_is_asked_with_the_words_of_the_configuration() {
    let (folder, config) = faked(Cloud::Oci, "RUNNING");
    let seen = change(&config, "web", Change::Stop, &never()).await.unwrap();
    let options = ["--output=json", "--profile=-x; true", "--region=zone-1"];
    let stopped = [
        "compute",
        "instance",
        "action",
        "--instance-id=the-id",
        "--action=SOFTSTOP",
    ];
    let got = ["compute", "instance", "get", "--instance-id=the-id"];
    assert_eq!(
        asked(folder.path()),
        [stopped.as_slice(), &options, &got, &options].concat()
    );
    assert_eq!(seen.state, "running");
    assert_eq!(seen.shape.as_deref(), Some("VM.Standard.A1.Flex"));
    assert_eq!(seen.created_at.as_deref(), Some("2025-02-03T04:05:06.789Z"));
}

#[tokio::test]
async fn a_plan_rests_on_the_state_and_refuses_what_is_already_so() {
    let (_folder, config) = faked(Cloud::Gcloud, "TERMINATED");
    let planned = plan(&config, "web", Change::Start, &never()).await.unwrap();
    assert_eq!(planned.summary, "starts the machine `web` (gcloud, zone-1)");
    assert_eq!(planned.state["state"], "stopped");
    assert!(!planned.is_destructive);
    let told = planned.state.to_string();
    assert!(!told.contains("the-id") && !told.contains("zone-1"), "{told}");
    let others: [fn(&mut Machine); 4] = [
        |machine| machine.id = "another".to_owned(),
        |machine| machine.account = None,
        |machine| machine.location = Some("zone-2".to_owned()),
        |machine| {
            let program = machine.program.take().unwrap();
            machine.program = Some(program.parent().unwrap().join(".").join("cloud"));
        },
    ];
    for (at, change) in others.into_iter().enumerate() {
        let mut other = config.clone();
        change(&mut other.machines[0]);
        let other = plan(&other, "web", Change::Start, &never()).await.unwrap();
        assert_ne!(other.state, planned.state, "{at}");
    }
    let refused = plan(&config, "web", Change::Stop, &never()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);
    assert!(refused.detail.contains("is stopped"), "{}", refused.detail);

    let (folder, config) = faked(Cloud::Oci, "RUNNING");
    assert!(
        plan(&config, "web", Change::Stop, &never())
            .await
            .unwrap()
            .is_destructive
    );
    let refused = plan(&config, "web", Change::Start, &never()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Conflict);
    assert!(!asked(folder.path()).iter().any(|word| word == "action"));
}

#[tokio::test]
async fn what_fails_is_told_with_a_next_step_and_without_the_programs_words() {
    let (folder, mut config) = faked(Cloud::Gcloud, "RUNNING");
    let body = "echo 'ERROR: (gcloud.compute.instances.describe) me@example.org' >&2; exit 1";
    config.machines[0].program = Some(fake::program(folder.path(), "failing", body));
    let problem = look(&config, "web", &never()).await.unwrap_err();
    assert_eq!(problem.kind, Kind::Unavailable);
    assert!(problem.detail.contains("gcloud auth list") && !problem.detail.contains("example.org"));
    config.machines[0].program = Some(fake::program(folder.path(), "chatty", "echo 'no JSON'"));
    assert_eq!(
        look(&config, "web", &never()).await.unwrap_err().kind,
        Kind::Unavailable
    );
    config.machines[0].id = "--flags-file=x".to_owned();
    assert_eq!(
        look(&config, "web", &never()).await.unwrap_err().kind,
        Kind::Unprocessable
    );
}

#[test]
fn of_what_a_program_says_the_last_line_is_logged_without_its_credentials() {
    let said = "DEBUG: a long story\nERROR: https://me:hunter2@a.example?access_token=abc refused\n\n";
    let logged = "ERROR: https://***@a.example?access_token=*** refused";
    assert_eq!(last_words(said), logged);
    assert_eq!(last_words(""), "");
}

#[test]
fn states_have_the_same_words_for_all_clouds() {
    let told = [
        (Cloud::Gcloud, "TERMINATED", "stopped"),
        (Cloud::Gcloud, "STAGING", "starting"),
        (Cloud::Gcloud, "SUSPENDED", "suspended"),
        (Cloud::Oci, "STARTING", "starting"),
        (Cloud::Oci, "STOPPED", "stopped"),
        (Cloud::Oci, "TERMINATED", "terminated"),
        (Cloud::Oci, "<b>\u{1b}[31mODD", "b31modd"),
    ];
    for (cloud, said, ours) in told {
        assert_eq!(state(cloud, said), ours, "{said}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn no_name_that_is_not_on_the_list_starts_a_program(name in "\\PC{0,40}|[-a-z.;$/ ]{0,12}|we?b?") {
        prop_assume!(name != "web");
        let (folder, config) = faked(Cloud::Gcloud, "RUNNING");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let looked = look(&config, &name, &never()).await;
            assert_eq!(looked.unwrap_err().kind, Kind::NotFound);
            for wanted in [Change::Start, Change::Stop] {
                assert_eq!(plan(&config, &name, wanted, &never()).await.unwrap_err().kind, Kind::NotFound);
                assert_eq!(change(&config, &name, wanted, &never()).await.unwrap_err().kind, Kind::NotFound);
            }
        });
        prop_assert_eq!(asked(folder.path()), Vec::<String>::new());
    }
}
