//! `gcloud` and `oci`: programs that write down how they are called, and answer as the clouds' own do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;

/// The machines: name, program, id, state in the words of its cloud.
const MACHINES: [(&str, &str, &str, &str); 4] = [
    ("web", "gcloud", "web-1", "TERMINATED"),
    ("app", "gcloud", "app-1", "RUNNING"),
    ("db", "oci", "ocid1.instance.oc1..db", "STOPPED"),
    ("cache", "oci", "ocid1.instance.oc1..cache", "RUNNING"),
];

/// What comes after each word, and after all words, of a call.
const WORD: char = '\u{1f}';
const CALL: char = '\u{1e}';

/// Both programs, and what they were asked.
pub struct Clouds {
    folder: TempDir,
}

impl Clouds {
    /// Makes them.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let body = format!(
            "#!/bin/sh\n\
             {{ printf '%s\\037' \"${{0##*/}}\" \"$@\"; printf '\\036'; }} >> '{at}/asked'\n\
             cat \"{at}/${{4#--instance-id=}}.json\"\n"
        );
        for program in ["gcloud", "oci"] {
            let path = folder.path().join(program);
            fs::write(&path, &body).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (_, program, id, state) in MACHINES {
            let answer = match program {
                "gcloud" => format!(r#"{{"name": "{id}", "status": "{state}"}}"#),
                _ => format!(r#"{{"data": {{"id": "{id}", "lifecycle-state": "{state}"}}}}"#),
            };
            fs::write(folder.path().join(format!("{id}.json")), answer).unwrap();
        }
        Self { folder }
    }

    /// The part of a configuration that allows its machines.
    pub fn table(&self) -> String {
        let tables = MACHINES.map(|(name, program, id, _)| {
            let place = match program {
                "gcloud" => "account = \"home-1\"\nlocation = \"europe-west1-b\"\n",
                _ => "",
            };
            let path = self.folder.path().join(program);
            format!(
                "[serve.machines.{name}]\ncloud = \"{program}\"\nid = \"{id}\"\nprogram = '{}'\n{place}",
                path.display()
            )
        });
        tables.concat()
    }

    /// How the programs were called, in order: the name of each and its arguments.
    pub fn asked(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default();
        let words = |call: &str| -> Vec<String> { call.split_terminator(WORD).map(str::to_owned).collect() };
        text.split_terminator(CALL).map(words).collect()
    }

    /// How often something was done: all calls but those that look.
    pub fn acts(&self) -> usize {
        let looks = Self::looks();
        self.asked().iter().filter(|call| !looks.contains(call)).count()
    }

    /// All calls that only look at a machine, word by word.
    pub fn looks() -> Vec<Vec<String>> {
        let calls = MACHINES.map(|(_, program, id, _)| match program {
            "gcloud" => format!(
                "gcloud compute instances describe {id} --format=json --quiet --project=home-1 --zone=europe-west1-b"
            ),
            _ => format!("oci compute instance get --instance-id={id} --output=json"),
        });
        let words = |call: String| -> Vec<String> { call.split(' ').map(str::to_owned).collect() };
        calls.map(words).to_vec()
    }
}
