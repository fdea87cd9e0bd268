//! A real source of every kind, for the tests that every collector must pass (`contracts`): filled, changed, and so
//! large that one run makes more than one snapshot.

use crate::it::git::{commit, git, init};
use crate::it::interrupted::large;
use crate::it::lab::{Lab, mbox, program};
use crate::it::photos::sample;
use fixtures::dovecot::Dovecot;
use serde_json::json;
use std::fs::{self, File};

/// A source of one kind, which lies in the folder of a [`Lab`] or beside it.
pub trait Source {
    /// Its `source` table without `kind`, as it stands between braces.
    fn table(&self) -> String;

    /// Makes it, with some items, and rows for every dataset that the collector fills.
    fn fill(&self, lab: &Lab);

    /// What a person does to it between two runs: something new, changed, moved or copied, and removed; something
    /// else stays as it was.
    fn change(&self, lab: &Lab);

    /// Adds so much that a run over it makes more than one snapshot, with something to do after the first.
    fn swell(&self, lab: &Lab);

    /// Whether originals stay there and nowhere else: once they change, the lake is whole only after the next run.
    fn keeps_originals(&self) -> bool {
        false
    }
}

/// A source of that kind, not filled. Every kind of `collectors::ALL` has its line here.
pub fn of(kind: &str) -> Box<dyn Source> {
    match kind {
        "documents" => Box::new(Documents),
        "git" => Box::new(Git),
        "imap" => Box::new(Imap(Dovecot::start())),
        "maildir" => Box::new(Maildir),
        "mbox" => Box::new(Mbox),
        "photos" => Box::new(Photos),
        _ => panic!(
            "no test has a source of kind `{kind}`: give it a `Source` and a line in cli/tests/it/sources.rs, and it \
             is held to what every collector must keep"
        ),
    }
}

/// A source of that kind, filled, and a lab whose only pipeline collects it.
pub fn filled(kind: &str) -> (Lab, Box<dyn Source>) {
    let source = of(kind);
    let lab = Lab::new(&pipeline(kind, &source.table()));
    source.fill(&lab);
    (lab, source)
}

/// The pipeline of a source, called as its kind is.
pub fn pipeline(kind: &str, table: &str) -> String {
    format!("[[pipeline]]\nname = \"{kind}\"\nsource = {{ kind = \"{kind}\", {table} }}\n")
}

/// Short mails, in conversations of four: each answers the one before. Every third has an attachment.
fn mails(numbers: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let mail = |n: usize| {
        let mut mail = format!(
            "Message-ID: <{n}@test>\nFrom: Ada <ada@test>\nTo: bob@test\nSubject: Number {n}\nDate: Mon, 1 Jan 2024 \
             10:00:{:02} +0000\n",
            n % 60
        );
        if !n.is_multiple_of(4) {
            mail += &format!("In-Reply-To: <{}@test>\n", n - 1);
        }
        if n.is_multiple_of(3) {
            mail += &format!(
                "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee it.\n--b\nContent-Type: \
                 text/csv\nContent-Disposition: attachment; filename={n}.csv\n\n{n},{n}\n--b--\n"
            );
        } else {
            mail += &format!("\nBody {n}.\n");
        }
        mail.into_bytes()
    };
    numbers.map(mail).collect()
}

/// Mails of more than one snapshot, and some after them.
fn many_mails() -> Vec<Vec<u8>> {
    (0..4).map(large).chain(mails(60..68)).collect()
}

struct Documents;

impl Source for Documents {
    fn table(&self) -> String {
        "roots = [\"notes\"]".to_owned()
    }

    fn fill(&self, lab: &Lab) {
        for (name, text) in [
            ("a.md", "# One\n\nSee [[b]] and [d](app/d.txt).\n\n## Part\n"),
            ("b.md", "# Two\n"),
            ("app/c.txt", "three"),
            ("app/d.txt", "four"),
            ("app/e.txt", "five"),
            ("app/package.json", r#"{"name": "the-app"}"#),
            ("app/binary.txt", "not\0text"),
            ("same.md", "# Same\n"),
        ] {
            lab.write(format!("notes/{name}"), text);
        }
    }

    fn change(&self, lab: &Lab) {
        let notes = lab.path("notes");
        lab.write("notes/new.md", "# New\n\n![[a]]\n");
        lab.write("notes/app/d.txt", "four and more");
        lab.write("notes/app/package.json", r#"{"name": "new-name"}"#);
        fs::rename(notes.join("a.md"), notes.join("z.md")).unwrap();
        fs::copy(notes.join("b.md"), notes.join("a copy.md")).unwrap();
        fs::remove_file(notes.join("app/c.txt")).unwrap();
    }

    fn swell(&self, lab: &Lab) {
        // It is kept as its original, as its text, and as its only section.
        lab.write("notes/large/1.txt", "a line of a long text\n".repeat(560_000));
        lab.write("notes/large/2.md", "# After it\n");
    }
}

struct Git;

impl Source for Git {
    fn table(&self) -> String {
        "paths = [\"src\"]".to_owned()
    }

    fn fill(&self, lab: &Lab) {
        let tool = init(lab, "src/tool");
        for n in 0..4 {
            commit(&tool, "a.txt", &format!("{n}\n"));
        }
        git(&tool, &["tag", "v1"]);
        git(&tool, &["checkout", "--quiet", "-b", "side"]);
        commit(&tool, "side.txt", "one\n");
        git(&tool, &["checkout", "--quiet", "main"]);
        for name in ["src/gone", "src/same"] {
            commit(&init(lab, name), "a.txt", "a\n");
        }
    }

    fn change(&self, lab: &Lab) {
        let tool = lab.path("src/tool");
        git(&tool, &["mv", "a.txt", "b.txt"]);
        commit(&tool, "c.txt", "c\n");
        git(&tool, &["checkout", "--quiet", "-b", "second", "HEAD~2"]);
        commit(&tool, "d.txt", "d\n");
        git(&tool, &["branch", "--quiet", "-D", "side"]);
        fs::write(tool.join("a.txt"), "not committed\n").unwrap();
        commit(&init(lab, "src/new"), "a.txt", "new\n");
        fs::remove_dir_all(lab.path("src/gone")).unwrap();
    }

    fn swell(&self, lab: &Lab) {
        // More commits than a batch has, of which the first has a long message.
        let mut history = String::new();
        for n in 0..540 {
            let message = match n {
                0 => "Say much\n\n".to_owned() + &"a line of a long message\n".repeat(1_500_000),
                _ => format!("Say {n}\n"),
            };
            let (bytes, time) = (message.len(), 1_700_000_000 + n);
            history += &format!(
                "commit refs/heads/main\ncommitter Ada <ada@test> {time} +0100\ndata {bytes}\n{message}M 100644 \
                 inline n.txt\ndata <<.\n{n}\n.\n"
            );
        }
        lab.write("history", history);
        let imported = program("git")
            .args(["fast-import", "--quiet"])
            .current_dir(init(lab, "src/chatty"))
            .stdin(File::open(lab.path("history")).unwrap())
            .status();
        assert!(imported.unwrap().success());
    }
}

struct Imap(Dovecot);

impl Imap {
    fn deliver(&self, folder: &str, mails: &[Vec<u8>]) {
        self.0.deliver(folder, mails.iter().map(Vec::as_slice));
    }

    fn doveadm(&self, arguments: &str) {
        self.0.doveadm(&arguments.split(' ').collect::<Vec<_>>());
    }
}

impl Source for Imap {
    fn table(&self) -> String {
        let port = self.0.port_plain();
        format!(
            "host = \"127.0.0.1\", port = {port}, user = \"me\", password = \"file:password\", tls = \"none\""
        )
    }

    fn fill(&self, lab: &Lab) {
        lab.write("password", self.0.password());
        self.deliver("INBOX", &mails(0..16));
        self.deliver("Archive", &mails(14..20));
        self.deliver("Same", &mails(20..22));
    }

    fn change(&self, _: &Lab) {
        self.deliver("INBOX", &mails(22..25));
        self.doveadm("flags add -u me \\Flagged mailbox INBOX uid 3");
        self.doveadm("move -u me Archive mailbox INBOX uid 5");
        self.doveadm("copy -u me Archive mailbox INBOX uid 9");
        self.doveadm("expunge -u me mailbox INBOX uid 2");
        self.doveadm("mailbox create -u me Empty");
    }

    fn swell(&self, _: &Lab) {
        self.deliver("Large", &many_mails());
    }
}

struct Maildir;

impl Source for Maildir {
    fn table(&self) -> String {
        "path = \"mail\"".to_owned()
    }

    fn fill(&self, lab: &Lab) {
        lab.deliver("", &mails(0..16));
        lab.deliver(".Archive", &mails(14..20));
        lab.write("mail/cur/empty:2,", "");
    }

    fn change(&self, lab: &Lab) {
        let name = |n: usize| format!("cur/{}.{n:06}.host:2,", 1_577_836_800 + n);
        lab.rename(&name(3), &format!("{}FS", name(3)));
        lab.rename(&name(5), ".Archive/cur/moved.host:2,S");
        fs::copy(
            lab.path("mail").join(name(9)),
            lab.path("mail/.Archive/cur/copied.host:2,"),
        )
        .unwrap();
        fs::remove_file(lab.path("mail").join(name(1))).unwrap();
        lab.write("mail/new/new.host", &mails(20..21)[0]);
        lab.deliver(".Later", &mails(21..23));
    }

    fn swell(&self, lab: &Lab) {
        lab.deliver(".Large", &many_mails());
    }
}

struct Mbox;

impl Source for Mbox {
    fn table(&self) -> String {
        "path = \"boxes\"".to_owned()
    }

    fn fill(&self, lab: &Lab) {
        lab.write("boxes/inbox.mbox", mbox(&mails(0..10)));
        lab.write("boxes/sent.mbox", mbox(&mails(10..16)));
        lab.write("boxes/old/2023.mbox", mbox(&mails(14..20)));
        lab.write("boxes/same.mbox", mbox(&mails(20..22)));
    }

    fn change(&self, lab: &Lab) {
        // Appended to; rewritten, with one removed and one read since; renamed.
        lab.write("boxes/inbox.mbox", mbox(&[mails(0..10), mails(22..24)].concat()));
        let mut sent = mails(10..16);
        sent.remove(3);
        sent[1] = [b"Status: RO\n", &sent[1][..]].concat();
        lab.write("boxes/sent.mbox", mbox(&sent));
        fs::rename(lab.path("boxes/old/2023.mbox"), lab.path("boxes/old/past.mbox")).unwrap();
        lab.write("boxes/new.mbox", mbox(&mails(24..26)));
    }

    fn swell(&self, lab: &Lab) {
        lab.write("boxes/large.mbox", mbox(&many_mails()));
    }
}

struct Photos;

impl Source for Photos {
    fn table(&self) -> String {
        "roots = [\"pictures\"]".to_owned()
    }

    fn fill(&self, lab: &Lab) {
        for name in ["Canon.jpg", "GPS.jpg", "Nikon.jpg", "QuickTime.mov", "Sony.jpg"] {
            lab.write(format!("pictures/{name}"), sample(name));
        }
        lab.write("pictures/Nikon.jpg.json", r#"{"description": "as it was"}"#);
        lab.write("pictures/broken.jpg", "not a photo");
    }

    fn change(&self, lab: &Lab) {
        let pictures = lab.path("pictures");
        fs::create_dir(pictures.join("trip")).unwrap();
        fs::rename(pictures.join("Canon.jpg"), pictures.join("trip/renamed.jpg")).unwrap();
        fs::copy(pictures.join("GPS.jpg"), pictures.join("a copy.jpg")).unwrap();
        fs::remove_file(pictures.join("Sony.jpg")).unwrap();
        lab.write("pictures/Nikon.jpg.json", r#"{"description": "as it is"}"#);
        lab.write("pictures/broken.jpg", sample("Pentax.jpg"));
    }

    fn swell(&self, lab: &Lab) {
        // More photos than a batch has, of which the first have long captions.
        for n in 0..540 {
            // What follows a picture's end is not read, and makes another file of it.
            let photo = [sample("Canon.jpg"), format!("{n}").into_bytes()].concat();
            lab.write(format!("pictures/large/{n:03}.jpg"), photo);
        }
        for n in 0..3 {
            let caption = json!({ "description": format!("caption {n} ").repeat(1_100_000) });
            lab.write(format!("pictures/large/{n:03}.jpg.json"), caption.to_string());
        }
    }

    fn keeps_originals(&self) -> bool {
        true
    }
}
