//! A disk as a trace of system calls leaves it, and what of it a power cut spares.
//!
//! - In: a folder as it is, and an strace log of one process that changed it. Out: the folder as it would be found.
//! - Spared for sure: bytes of a file up to its last fsync, names of a folder up to its last fsync (POSIX gives no
//!   more). What came after may be there too, whole or in part: [`Cut::Some`] chooses.
//! - A call that changes files and that is not known here ends the test: nothing is overlooked.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The calls to trace.
pub const CALLS: &str = "openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,\
    copy_file_range,sendfile,splice,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,\
    mkdir,mkdirat,rmdir,lseek,fsync,fdatasync,sync_file_range,exit_group";

/// Bytes that a disk writes at once or not at all.
const PAGE: usize = 4_096;

/// What a power cut spares of what was not fsynced.
pub enum Cut<'a> {
    /// Nothing of it.
    Least,
    /// What a sequence of random numbers from 0 to 1 says.
    Some(&'a mut dyn FnMut() -> f64),
    /// All of it: as after `kill -9`.
    All,
}

/// A file or a folder.
#[derive(Default)]
struct Node {
    /// Bytes of a file: on disk, and what was done to them since.
    safe: Vec<u8>,
    since: Vec<Change>,
    /// Names in a folder: on disk, and what was done to them since.
    names: BTreeMap<String, usize>,
    renamed: Vec<Naming>,
    is_folder: bool,
}

#[derive(Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone)]
enum Naming {
    Make(String, usize),
    Remove(String),
    /// From, to: at once, as journals keep it.
    Rename(String, String),
}

/// The folder that is watched, and what is below it.
pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    /// Where the next `write` goes, by file descriptor.
    offsets: HashMap<u32, usize>,
    /// Calls that have not returned, by thread.
    begun: HashMap<String, Begun>,
    /// A number that grows with each write to a file of that name.
    writes: BTreeMap<String, u64>,
}

struct Begun {
    call: String,
    /// What an fsync covers: the node, and how many of its changes had returned.
    covers: Option<(usize, usize, usize)>,
}

/// What a line of the log meant to a watcher.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing on this disk.
    None,
    /// A file came into being.
    Made(String),
    /// Something was told: bytes to a terminal or a pipe, or the end of the process.
    Told,
    /// Anything else that changed the disk, or made it lasting.
    Changed,
}

impl Disk {
    /// A folder with nothing in it.
    pub fn empty(root: &Path) -> Self {
        let root = fs::canonicalize(root).unwrap();
        let top = Node {
            is_folder: true,
            ..Node::default()
        };
        Self {
            root,
            nodes: vec![top],
            offsets: HashMap::new(),
            begun: HashMap::new(),
            writes: BTreeMap::new(),
        }
    }

    /// A folder with `inside` in it, which is as `like` is now, all of it on disk.
    pub fn of(root: &Path, inside: &Path, like: &Path) -> Self {
        let mut disk = Self::empty(root);
        let node = disk.load(like);
        let name = inside.file_name().unwrap().to_str().unwrap().to_owned();
        disk.nodes[0].names.insert(name, node);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let mut node = Node {
            is_folder: path.is_dir(),
            ..Node::default()
        };
        if node.is_folder {
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let child = self.load(&entry.path());
                node.names
                    .insert(entry.file_name().to_str().unwrap().to_owned(), child);
            }
        } else {
            node.safe = fs::read(path).unwrap();
        }
        self.add(node)
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// How often a file of that name was written to.
    pub fn writes(&self, name: &str) -> u64 {
        self.writes.get(name).copied().unwrap_or_default()
    }

    /// Reads one line of the log: a call that began, returned, or both.
    pub fn read(&mut self, line: &str) -> Event {
        let Some((thread, call)) = line.split_once(' ') else {
            return Event::None;
        };
        let call = call.trim_start();
        if call.starts_with("+++") || call.starts_with("---") {
            return Event::None;
        }
        // Its beginning was told already, in one piece or in two.
        if call.starts_with("<... exit_group resumed>") {
            return Event::None;
        }
        if let Some(resumed) = call.strip_prefix("<... ") {
            let begun = self
                .begun
                .remove(thread)
                .unwrap_or_else(|| panic!("not begun: {call}"));
            let (_, result) = resumed.rsplit_once(" = ").unwrap_or_else(|| panic!("{call}"));
            return self.end(&begun, result);
        }
        if call.starts_with("exit_group(") {
            return Event::Told;
        }
        let (whole, result) = match call.strip_suffix(" <unfinished ...>") {
            Some(begun) => (begun, None),
            None => {
                let (whole, result) = call.rsplit_once(" = ").unwrap_or_else(|| panic!("{call}"));
                (whole, Some(result))
            }
        };
        let begun = Begun {
            covers: self.covers(whole),
            call: whole.to_owned(),
        };
        match result {
            Some(result) => self.end(&begun, result),
            None => {
                self.begun.insert(thread.to_owned(), begun);
                Event::None
            }
        }
    }

    fn covers(&self, call: &str) -> Option<(usize, usize, usize)> {
        if !call.starts_with("fsync(") && !call.starts_with("fdatasync(") {
            return None;
        }
        let node = self.find(&first_path(call)?)?;
        Some((node, self.nodes[node].since.len(), self.nodes[node].renamed.len()))
    }

    fn end(&mut self, begun: &Begun, result: &str) -> Event {
        let call = begun.call.as_str();
        let (name, arguments) = call.split_once('(').unwrap_or_else(|| panic!("{call}"));
        if result.starts_with('-') {
            return Event::None;
        }
        let texts = texts(arguments);
        // What search reads is as good as gone: it is made again from the lake.
        let mut paths = texts.iter().map(|text| path_of(text)).chain(first_path(call));
        if paths.any(|path| path.components().any(|part| part.as_os_str() == "vectors")) {
            return Event::None;
        }
        match name {
            "fsync" | "fdatasync" => {
                let Some((node, changes, names)) = begun.covers else {
                    return Event::None;
                };
                self.sync(node, changes, names);
            }
            "openat" => return self.opened(&texts, arguments, result),
            "write" | "pwrite64" => {
                let fd: u32 = number(arguments.split('<').next().unwrap());
                let Some(node) = first_path(call).and_then(|path| self.find(&path)) else {
                    let is_told = name == "write" && matches!(fd, 1 | 2);
                    return if is_told { Event::Told } else { Event::None };
                };
                let written: usize = number(result);
                let at = match name {
                    "write" => {
                        let offset = self.offsets.entry(fd).or_default();
                        *offset += written;
                        *offset - written
                    }
                    _ => number(arguments.trim_end_matches(')').rsplit(", ").next().unwrap()),
                };
                let bytes = texts[0]
                    .get(..written)
                    .unwrap_or_else(|| panic!("cut short: {}", texts[0].len()));
                self.nodes[node].since.push(Change::Write(at, bytes.to_vec()));
                let path = first_path(call).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                *self.writes.entry(name).or_default() += 1;
            }
            "ftruncate" => {
                let Some(node) = first_path(call).and_then(|path| self.find(&path)) else {
                    return Event::None;
                };
                let length = number(arguments.trim_end_matches(')').rsplit(", ").next().unwrap());
                self.nodes[node].since.push(Change::Length(length));
            }
            "mkdir" | "unlink" | "rename" | "renameat2" => {
                let paths: Vec<PathBuf> = texts.iter().map(|text| path_of(text)).collect();
                let Some((folder, from)) = self.place(&paths[0]) else {
                    return Event::None;
                };
                let naming = match name {
                    "mkdir" => {
                        let node = self.add(Node {
                            is_folder: true,
                            ..Node::default()
                        });
                        Naming::Make(from, node)
                    }
                    "unlink" => Naming::Remove(from),
                    _ => {
                        let (other, to) = self.place(&paths[1]).unwrap();
                        assert_eq!(folder, other, "a rename from folder to folder: {call}");
                        Naming::Rename(from, to)
                    }
                };
                self.nodes[folder].renamed.push(naming);
            }
            "lseek" => {
                let is_ours = first_path(call).is_some_and(|path| self.find(&path).is_some());
                let fd = number(arguments.split('<').next().unwrap());
                if is_ours {
                    self.offsets.insert(fd, number(result));
                }
                return Event::None;
            }
            _ => {
                // The working directory stands there whatever the path is.
                let of_fd = first_path(call).filter(|_| !arguments.starts_with("AT_FDCWD"));
                let ours = texts.iter().map(|text| path_of(text)).chain(of_fd);
                let ours: Vec<PathBuf> = ours.filter(|path| path.starts_with(&self.root)).collect();
                assert!(ours.is_empty(), "not known here: {name} of {ours:?}");
                return Event::None;
            }
        }
        Event::Changed
    }

    fn opened(&mut self, texts: &[Vec<u8>], arguments: &str, result: &str) -> Event {
        let path = path_of(&texts[0]);
        let Some((folder, name)) = self.place(&path) else {
            return Event::None;
        };
        assert!(!arguments.contains("O_APPEND"), "not known here: {arguments}");
        let (fd, _) = result.split_once('<').unwrap();
        self.offsets.insert(number(fd), 0);
        if let Some(node) = self.find(&path) {
            if arguments.contains("O_TRUNC") {
                self.nodes[node].since.push(Change::Length(0));
                return Event::Changed;
            }
            return Event::None;
        }
        if !arguments.contains("O_CREAT") {
            // There before, and not watched: the source, the configuration.
            return Event::None;
        }
        let node = self.add(Node::default());
        self.nodes[folder].renamed.push(Naming::Make(name.clone(), node));
        Event::Made(name)
    }

    /// The first changes of a node become lasting.
    fn sync(&mut self, node: usize, changes: usize, names: usize) {
        let node = &mut self.nodes[node];
        // Another thread's fsync of the same file may have taken some of them.
        for change in node.since.drain(..changes.min(node.since.len())) {
            apply(&mut node.safe, &change);
        }
        for naming in node.renamed.drain(..names.min(node.renamed.len())) {
            rename(&mut node.names, naming);
        }
    }

    /// The names of a folder as a program sees them.
    fn names_now(&self, folder: usize) -> BTreeMap<String, usize> {
        let mut names = self.nodes[folder].names.clone();
        self.nodes[folder]
            .renamed
            .iter()
            .for_each(|naming| rename(&mut names, naming.clone()));
        names
    }

    /// The node at a path as a program sees it.
    fn find(&self, path: &Path) -> Option<usize> {
        path.strip_prefix(&self.root)
            .ok()?
            .components()
            .try_fold(0, |node, part| match part {
                Component::Normal(name) => self.names_now(node).get(name.to_str()?).copied(),
                _ => None,
            })
    }

    /// The folder of a path on this disk, and its name there.
    fn place(&self, path: &Path) -> Option<(usize, String)> {
        let folder = self
            .find(path.parent()?)
            .filter(|&node| self.nodes[node].is_folder)?;
        Some((folder, path.file_name()?.to_str()?.to_owned()))
    }

    /// Copies a file, if it is there, as a program sees it.
    pub fn copy(&self, path: &Path, to: &Path) {
        if let Some(node) = self.find(path) {
            self.spare_node(node, to, &mut Cut::All);
        }
    }

    /// Writes what a power cut now would spare to a folder that is not there yet.
    pub fn spare(&self, to: &Path, cut: &mut Cut<'_>) {
        self.spare_node(0, to, cut);
    }

    fn spare_node(&self, at: usize, to: &Path, cut: &mut Cut<'_>) {
        let node = &self.nodes[at];
        if node.is_folder {
            fs::create_dir(to).unwrap();
            let mut names = node.names.clone();
            // Journals keep the order of names.
            let kept = match cut {
                Cut::Least => 0,
                Cut::Some(random) => (random() * (node.renamed.len() + 1) as f64) as usize,
                Cut::All => node.renamed.len(),
            };
            for naming in node.renamed.iter().take(kept) {
                rename(&mut names, naming.clone());
            }
            for (name, child) in names {
                self.spare_node(child, &to.join(name), cut);
            }
            return;
        }
        let mut bytes = node.safe.clone();
        for change in &node.since {
            match (&mut *cut, change) {
                (Cut::Least, _) => {}
                (Cut::All, change) => apply(&mut bytes, change),
                (Cut::Some(random), Change::Length(_)) => {
                    if random() < 0.5 {
                        apply(&mut bytes, change);
                    }
                }
                (Cut::Some(random), Change::Write(at, written)) => {
                    let mut done = 0;
                    while done < written.len() {
                        let end = written.len().min((((at + done) / PAGE) + 1) * PAGE - at);
                        if random() < 0.5 {
                            apply(&mut bytes, &Change::Write(at + done, written[done..end].to_vec()));
                        }
                        done = end;
                    }
                }
            }
        }
        fs::write(to, bytes).unwrap();
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(at, written) => {
            let end = at + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(written);
        }
        Change::Length(length) => bytes.resize(*length, 0),
    }
}

fn rename(names: &mut BTreeMap<String, usize>, naming: Naming) {
    match naming {
        Naming::Make(name, node) => _ = names.insert(name, node),
        Naming::Remove(name) => _ = names.remove(&name),
        Naming::Rename(from, to) => {
            if let Some(node) = names.remove(&from) {
                names.insert(to, node);
            }
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    let digits = text.split(|c: char| !c.is_ascii_digit()).next().unwrap();
    digits.parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// The texts in quotes, of which strace was told to write every byte as `\xHH`.
fn texts(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(bytes_of).collect()
}

/// The path that belongs to the file descriptor that a call begins with.
fn first_path(call: &str) -> Option<PathBuf> {
    let (_, rest) = call.split_once('<')?;
    Some(path_of(&bytes_of(rest.split_once('>')?.0)))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let byte = |pair: &str| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("not hex: {pair}"));
    hex.split("\\x").skip(1).map(byte).collect()
}
