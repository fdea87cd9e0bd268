//! The folders whose files may be found and read, and nothing beyond them.
//!
//! - In: `ROOT/relative/path`, as input has it. Out: texts, entries, walks; paths in answers have the same shape.
//! - Files that look like secrets may be named and are never read, nor is anything in the folders of credentials.
//! - All of it waits for disks: call it through [`apart`].
//! - Not here: how a path is kept from leading out (`beneath`), which entries a walk passes over (`walk`),
//!   which names look like secrets (`secrets`).

pub(crate) mod beneath;
mod secrets;
pub(crate) mod walk;

use crate::config::{Config, Root};
use crate::operation::written;
use crate::problem::{Kind, Problem};
use beneath::{Beneath, EntryKind, Links, Named, Pinned};
use jiff::Timestamp;
use rustix::io::Errno;
use secrets::holds_private_key;
use std::fs::Metadata;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use tokio_util::sync::CancellationToken;

pub(crate) use secrets::{NEVER_READ, is_secret, is_secret_folder, is_secret_name};

/// The largest file that is read.
pub(crate) const MOST_BYTES: u64 = 4 << 20;

/// The folders whose files may be found and read.
#[derive(Debug, Clone)]
pub(crate) struct Roots {
    roots: Vec<Root>,
    secret_folders: Vec<PathBuf>,
}

/// A path beneath a root.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// The root.
    root: &'a Root,
    /// The path, relative; the empty one is the root itself.
    path: PathBuf,
    beneath: Beneath,
}

/// The text of a file.
#[derive(Debug)]
pub(crate) struct Text {
    /// The path of the file.
    pub(crate) path: String,
    /// The text.
    pub(crate) text: String,
    /// Whether some bytes were no UTF-8 and became `U+FFFD`.
    pub(crate) is_lossy: bool,
    /// Bytes of the file.
    pub(crate) size_bytes: u64,
    /// When it was changed last.
    pub(crate) modified_at: Option<String>,
}

/// Does work that waits for disks where nothing else waits for it. Its token is cancelled when the answer is wanted no
/// longer.
///
/// # Errors
/// Those of the work.
pub(crate) async fn apart<T, W>(cancel: &CancellationToken, work: W) -> Result<T, Problem>
where
    T: Send + 'static,
    W: FnOnce(&CancellationToken) -> Result<T, Problem> + Send + 'static,
{
    let stop = cancel.child_token();
    // Of a request that ends early this future is dropped, and the work would go on.
    let _guard = stop.clone().drop_guard();
    let task = tokio::task::spawn_blocking(move || work(&stop));
    task.await.map_err(|error| Problem::internal(&error))?
}

impl Roots {
    /// Those that the owner allowed.
    pub(crate) fn of(config: &Config) -> Self {
        // A folder of credentials may be reached by another path than the one that was configured.
        let real = |path: &PathBuf| std::fs::canonicalize(path).ok();
        let folders = &config.secret_folders;
        Self {
            roots: config.roots.clone(),
            secret_folders: folders
                .iter()
                .filter_map(real)
                .chain(folders.iter().cloned())
                .collect(),
        }
    }

    /// Their names, in the order of the configuration.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().map(|root| root.name.as_str())
    }

    /// That there is no root of a name, with the names that there are.
    pub(crate) fn no_root(&self, name: &str) -> Problem {
        if name.is_empty() {
            let names: Vec<&str> = self.names().collect();
            let begin = format!("a path begins with one of: {}", names.join(", "));
            return Problem::new(Kind::NotFound, begin);
        }
        Problem::not_found("root", name, self.names())
    }

    /// The place that a path means.
    ///
    /// # Errors
    /// [`Problem`] when it begins with no root, or cannot be one beneath it.
    pub(crate) fn place(&self, path: &str) -> Result<Place<'_>, Problem> {
        let (name, rest) = path.split_once('/').unwrap_or((path, ""));
        let Some(root) = self.roots.iter().find(|root| root.name == name) else {
            return Err(self.no_root(name));
        };
        let mut relative = PathBuf::new();
        for part in Path::new(rest).components() {
            match part {
                Component::Normal(part) => relative.push(part),
                Component::CurDir => {}
                _ => {
                    return Err(Problem::unprocessable(
                        "a path begins with the name of a root and goes down from there: no `..`, no second `/`",
                    ));
                }
            }
        }
        let beneath = Beneath::at(&root.path).map_err(|error| {
            tracing::warn!(%error, root = root.name, "a root cannot be opened");
            Problem::new(
                Kind::Unavailable,
                format!("the folder of the root `{}` cannot be opened", root.name),
            )
        })?;
        Ok(Place {
            root,
            path: relative,
            beneath,
        })
    }

    /// The text of a file, if it may be read.
    ///
    /// # Errors
    /// [`Problem`] when it is not there, may hold a secret, is no regular file, too large, or binary.
    pub(crate) fn read(&self, path: &str) -> Result<Text, Problem> {
        let place = self.place(path)?;
        let shown = place.shown();
        if is_secret(&place.path) {
            return Err(secret(&shown));
        }
        let refused = |error: io::Error| refused(&shown, &error);
        let pinned = place.pin()?;
        let about = pinned.about().map_err(refused)?;
        match EntryKind::of(&about) {
            EntryKind::File => {}
            EntryKind::Folder => {
                return Err(Problem::unprocessable(format!(
                    "`{}` is a folder; `list_project` tells what is in it",
                    quoted(&shown)
                )));
            }
            EntryKind::Link | EntryKind::Other => {
                return Err(Problem::unprocessable(format!(
                    "`{}` is no regular file, and only those are read",
                    quoted(&shown)
                )));
            }
        }
        // The name may be that of a link to a secret, and the root may be within a folder of credentials.
        let real = pinned.place().map_err(refused)?;
        if is_secret(&real) || self.secret_folders.iter().any(|folder| real.starts_with(folder)) {
            return Err(secret(&shown));
        }
        let mut bytes = Vec::new();
        let size_bytes = about.len();
        if size_bytes <= MOST_BYTES {
            let file = pinned.open().map_err(refused)?;
            file.take(MOST_BYTES + 1)
                .read_to_end(&mut bytes)
                .map_err(refused)?;
        }
        if size_bytes > MOST_BYTES || bytes.len() as u64 > MOST_BYTES {
            return Err(Problem::new(
                Kind::TooLarge,
                format!(
                    "`{}` has {size_bytes} bytes; files of up to {} MiB are read",
                    quoted(&shown),
                    MOST_BYTES >> 20
                ),
            ));
        }
        if bytes.contains(&0) {
            return Err(Problem::unprocessable(format!(
                "`{}` is binary, {size_bytes} bytes: there is no text in it to read",
                quoted(&shown)
            )));
        }
        let (text, is_lossy) = match String::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), true),
        };
        if holds_private_key(&text) {
            return Err(secret(&shown));
        }
        Ok(Text {
            path: shown,
            text,
            is_lossy,
            size_bytes,
            modified_at: modified_at(&about),
        })
    }
}

impl Place<'_> {
    /// Its path beneath the root.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// It, by the path that goes over no link.
    ///
    /// # Errors
    /// [`Problem`] when nothing is there, or it leads out.
    pub(crate) fn resolved(mut self) -> Result<Self, Problem> {
        self.path = self.real()?;
        Ok(self)
    }

    /// Its path, as answers have it.
    pub(crate) fn shown(&self) -> String {
        self.shown_beneath(&self.path)
    }

    /// The path of something else beneath the root, as answers have it.
    pub(crate) fn shown_beneath(&self, path: &Path) -> String {
        match path.as_os_str().is_empty() {
            true => self.root.name.clone(),
            false => format!("{}/{}", self.root.name, path.to_string_lossy()),
        }
    }

    /// Holds on to what is there. Links that stay beneath the root are followed.
    ///
    /// # Errors
    /// [`Problem`] when nothing is there, or it leads out.
    pub(crate) fn pin(&self) -> Result<Pinned, Problem> {
        let pinned = self.beneath.pin(&self.path, Links::Beneath);
        pinned.map_err(|error| refused(&self.shown(), &error))
    }

    /// Whether it is a folder.
    ///
    /// # Errors
    /// [`Problem`] when nothing is there, or it leads out.
    pub(crate) fn is_folder(&self) -> Result<bool, Problem> {
        let about = self.pin()?.about();
        let about = about.map_err(|error| refused(&self.shown(), &error))?;
        Ok(about.is_dir())
    }

    /// What the system knows of something beneath the root; of a link, not of what it leads to.
    pub(crate) fn about_beneath(&self, path: &Path) -> Option<Metadata> {
        self.beneath.pin(path, Links::Never).ok()?.about().ok()
    }

    /// The names in the folder, in their order, at most so many, and whether there are more.
    ///
    /// # Errors
    /// [`Problem`] when it is not there, or is no folder.
    pub(crate) fn list(&self, most: usize) -> Result<(Vec<Named>, bool), Problem> {
        let listed = self.pin()?.list(most);
        listed.map_err(|error| refused(&self.shown(), &error))
    }

    /// Where it is beneath the root when all links are followed.
    fn real(&self) -> Result<PathBuf, Problem> {
        let refused = |error: io::Error| refused(&self.shown(), &error);
        let (root, own) = (
            self.beneath.place().map_err(refused)?,
            self.pin()?.place().map_err(refused)?,
        );
        match own.strip_prefix(&root) {
            Ok(path) => Ok(path.to_owned()),
            // The folder was moved away in this moment.
            Err(_) => Err(refused(Errno::XDEV.into())),
        }
    }
}

/// When something was changed last, as answers have it.
pub(crate) fn modified_at(about: &Metadata) -> Option<String> {
    let moment = Timestamp::try_from(about.modified().ok()?).ok()?;
    written(moment.as_microsecond())
}

fn secret(shown: &str) -> Problem {
    Problem::unprocessable(format!(
        "`{}` may hold a secret: such files are named and never read; the owner can open it",
        quoted(shown)
    ))
}

/// Why something at a path cannot be had, without words of the system.
fn refused(shown: &str, error: &io::Error) -> Problem {
    let shown = quoted(shown);
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) => Problem::new(
            Kind::NotFound,
            format!("there is no `{shown}`; `find_file` finds files by name"),
        ),
        Some(Errno::NOTDIR) => Problem::unprocessable(format!(
            "`{shown}` is no folder, or something on the way to it is none"
        )),
        Some(Errno::XDEV) => {
            Problem::unprocessable(format!("`{shown}` leads out of its root, and is not followed"))
        }
        Some(Errno::LOOP) => {
            Problem::unprocessable(format!("`{shown}` goes over links that are not followed"))
        }
        Some(Errno::NAMETOOLONG | Errno::INVAL) => {
            Problem::unprocessable(format!("`{shown}` cannot be a path"))
        }
        Some(Errno::ACCESS | Errno::PERM) => Problem::unprocessable(format!(
            "`{shown}` may not be opened: its permissions do not allow it"
        )),
        Some(Errno::AGAIN) => Problem::new(
            Kind::Unavailable,
            "folders are being moved at this moment; ask again",
        )
        .after(1),
        Some(Errno::NOSYS) => Problem::new(
            Kind::Unavailable,
            "this system cannot keep a path beneath a folder (openat2, Linux 5.6), so no file is read",
        ),
        _ => Problem::internal(error),
    }
}

/// A path short enough, and plain enough, to be said back.
fn quoted(path: &str) -> String {
    path.chars().take(300).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn with(secret_folders: &[&str]) -> (TempDir, Roots) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        std::fs::create_dir_all(path.join("notes")).unwrap();
        std::fs::write(path.join("notes/a.txt"), "one\ntwo\n").unwrap();
        std::fs::write(folder.path().join("outside.txt"), "outside").unwrap();
        let config = Config {
            roots: vec![Root {
                name: "home".to_owned(),
                path,
            }],
            secret_folders: secret_folders
                .iter()
                .map(|name| folder.path().join(name))
                .collect(),
            ..Config::default()
        };
        let roots = Roots::of(&config);
        (folder, roots)
    }

    #[test]
    fn a_file_beneath_is_read() {
        let (_folder, roots) = with(&[]);
        for path in ["home/notes/a.txt", "home/./notes//a.txt"] {
            let text = roots.read(path).unwrap();
            assert_eq!(
                (text.path.as_str(), text.text.as_str(), text.size_bytes),
                ("home/notes/a.txt", "one\ntwo\n", 8)
            );
            assert!(text.modified_at.is_some() && !text.is_lossy);
        }
    }

    #[test]
    fn no_path_leads_out() {
        let (folder, roots) = with(&[]);
        let root = folder.path().join("root");
        symlink("../outside.txt", root.join("up")).unwrap();
        symlink(folder.path().join("outside.txt"), root.join("absolute")).unwrap();
        symlink(root.join("notes"), root.join("absolute_within")).unwrap();
        symlink("..", root.join("above")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let absolute = folder.path().join("outside.txt");
        for path in [
            "home/../outside.txt",
            "home/notes/../../outside.txt",
            "home/notes/../notes/a.txt",
            "home//etc/passwd",
            absolute.to_str().unwrap(),
            "/etc/passwd",
            "home/up",
            "home/absolute",
            "home/absolute_within/a.txt",
            "home/above/outside.txt",
            "home/magic/etc/passwd",
            "home/loop",
            "home/notes/a.txt/b",
            "home/a\0b",
            "elsewhere/a.txt",
            "",
        ] {
            let problem = roots.read(path).unwrap_err();
            assert!(
                matches!(problem.kind, Kind::Unprocessable | Kind::NotFound),
                "{path:?}: {problem:?}"
            );
            assert!(
                !problem.detail.contains(folder.path().to_str().unwrap()) || path.starts_with('/'),
                "{problem:?}"
            );
        }
    }

    #[test]
    fn what_a_path_begins_with_is_told() {
        let (_folder, roots) = with(&[]);
        for path in ["", "/etc/passwd"] {
            let problem = roots.read(path).unwrap_err();
            assert_eq!(problem.detail, "a path begins with one of: home", "{path:?}");
        }
        let problem = roots.read("elsewhere/a").unwrap_err();
        assert!(problem.detail.ends_with("there are: home"), "{problem:?}");
        assert!(
            roots
                .read("hom/a")
                .unwrap_err()
                .detail
                .ends_with("did you mean `home`?")
        );
    }

    #[test]
    fn links_that_stay_beneath_are_followed() {
        let (folder, roots) = with(&[]);
        let root = folder.path().join("root");
        symlink("notes/a.txt", root.join("link.txt")).unwrap();
        symlink("notes", root.join("folder")).unwrap();
        assert_eq!(roots.read("home/link.txt").unwrap().text, "one\ntwo\n");
        assert_eq!(roots.read("home/folder/a.txt").unwrap().text, "one\ntwo\n");
    }

    #[test]
    fn links_of_proc_are_not_followed_even_where_proc_is_the_root() {
        let proc = Roots::of(&Config {
            roots: vec![Root {
                name: "proc".to_owned(),
                path: "/proc/self".into(),
            }],
            ..Config::default()
        });
        for path in [
            concat!("proc/ro", "ot/etc/passwd"),
            "proc/cwd/Cargo.toml",
            "proc/exe",
        ] {
            assert_eq!(proc.read(path).unwrap_err().kind, Kind::Unprocessable, "{path}");
        }
    }

    #[test]
    fn a_pipe_is_refused_and_nobody_waits_for_it() {
        let (folder, roots) = with(&[]);
        let pipe = folder.path().join("root/pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(
            roots
                .read("home/pipe")
                .unwrap_err()
                .detail
                .contains("no regular file")
        );
        assert!(
            roots
                .read("home/notes")
                .unwrap_err()
                .detail
                .contains("is a folder")
        );
    }

    #[test]
    fn secrets_are_never_read_by_whatever_name() {
        let (folder, roots) = with(&["vault", "root/kept"]);
        let root = folder.path().join("root");
        for folder in ["kept", ".ssh", "sub/.aws"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let secrets = [
            ".env",
            ".ENV.local",
            "site.pem",
            "ID_RSA",
            "id_ed25519",
            "a.p12",
            "b.kdbx",
            "credentials.json",
            ".netrc",
            ".pgpass",
            "terraform.tfstate",
            "terraform.tfstate.backup",
            "secrets.yaml",
            ".ssh/config",
            "sub/.aws/config",
            "kept/plain.txt",
            "server.pem.bak",
            "key.txt",
        ];
        for name in secrets {
            std::fs::write(root.join(name), "hunter2").unwrap();
        }
        std::fs::write(root.join("key.txt"), "-----BEGIN EC PRIVATE KEY-----\nhunter2\n").unwrap();
        symlink(".env", root.join("innocent.txt")).unwrap();
        symlink("kept", root.join("folder")).unwrap();
        for name in secrets.into_iter().chain(["innocent.txt", "folder/plain.txt"]) {
            let problem = roots.read(&format!("home/{name}")).unwrap_err();
            assert!(
                problem.detail.contains("may hold a secret"),
                "{name}: {problem:?}"
            );
        }
    }

    #[test]
    fn a_root_within_a_folder_of_credentials_is_not_read() {
        let (folder, roots) = with(&[]);
        let link = folder.path().join("link");
        symlink(folder.path(), &link).unwrap();
        assert!(roots.read("home/notes/a.txt").is_ok());
        for secret_folder in [link, folder.path().to_owned()] {
            let roots = Roots::of(&Config {
                roots: roots.roots.clone(),
                secret_folders: vec![secret_folder],
                ..Config::default()
            });
            let problem = roots.read("home/notes/a.txt").unwrap_err();
            assert!(problem.detail.contains("may hold a secret"), "{problem:?}");
        }
    }

    #[test]
    fn what_is_large_or_binary_is_said_to_be() {
        let (folder, roots) = with(&[]);
        let root = folder.path().join("root");
        std::fs::write(root.join("binary"), b"a\0b").unwrap();
        std::fs::write(root.join("latin.txt"), b"caf\xe9").unwrap();
        std::fs::File::create(root.join("large"))
            .unwrap()
            .set_len(MOST_BYTES + 1)
            .unwrap();
        assert!(
            roots
                .read("home/binary")
                .unwrap_err()
                .detail
                .contains("binary, 3 bytes")
        );
        assert_eq!(roots.read("home/large").unwrap_err().kind, Kind::TooLarge);
        let text = roots.read("home/latin.txt").unwrap();
        assert_eq!((text.text.as_str(), text.is_lossy), ("caf\u{fffd}", true));
    }
}
